"""The sentence that says who recommended, who executed and why: for every state that an experiment can be in."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.vocabulary import Action, CallState, Engine, PermitState
from outcomes.domain.answer import Permission, Side, answer

TERMS = {
    "side": "BUY",
    "quantity": "2",
    "symbol": "SPY",
    "entry_price": "4.35",
    "instrument": {"option_symbol": "SPY260320C00590000"},
}
WHY = "The panel asks for ENGINE_A_PRIMARY."


def side(engine: Engine, said: str, *, text: str = "") -> Side:
    return {
        "open": Side(engine, Action.OPEN, CallState.ANSWERED, TERMS),
        "pass": Side(engine, Action.PASS, CallState.ANSWERED, None, text or "no setup"),
        "failed": Side(engine, None, CallState.FAILED, None, text or "no answer before the deadline"),
        "waiting": Side(engine, None, CallState.SENT),
    }[said]


def told(a: str, b: str, *, executed: Engine | None = Engine.A, permit: Permission | None = None) -> str:
    sides = {Engine.A: side(Engine.A, a), Engine.B: side(Engine.B, b)}
    return answer(executed_engine=executed, reason=WHY, sides=sides, permit=permit)


@pytest.mark.requirement("5.5", "property-20")
@pytest.mark.parametrize(
    ("state", "beginning"),
    [
        (PermitState.EXECUTED, "Engine A recommended BUY 2 SPY260320C00590000 at 4.35 and executed it."),
        (
            PermitState.GRANTED,
            "Still undecided: engine A recommended BUY 2 SPY260320C00590000 at 4.35 and may execute it",
        ),
        (PermitState.ARMED, "Still undecided: engine A recommended"),
        (PermitState.NOT_EXECUTED, "Nobody executed: engine A recommended"),
        (PermitState.VOID, "Nobody executed: engine A recommended"),
        (PermitState.UNKNOWN, "Unknown: engine A recommended"),
    ],
)
def test_every_state_of_a_permit_has_its_sentence(state: PermitState, beginning: str) -> None:
    sentence = told("open", "pass", permit=Permission(state, detail="market closed"))
    assert sentence.startswith(beginning)
    assert sentence.endswith(f"Why this engine: {WHY} Engine B passed (no setup).")
    assert ("(market closed)" in sentence) == (
        state in (PermitState.NOT_EXECUTED, PermitState.VOID, PermitState.UNKNOWN)
    )


@pytest.mark.requirement("5.5")
def test_an_engine_that_may_execute_and_passes_executes_nothing() -> None:
    assert told("pass", "open").startswith("Nobody executed: engine A was to execute, but passed (no setup).")


@pytest.mark.requirement("5.5")
def test_an_engine_that_gives_no_usable_answer_executes_nothing() -> None:
    sentence = told("failed", "open")
    assert sentence.startswith("Nobody executed: engine A was to execute, but gave no usable answer")
    assert "(no answer before the deadline)" in sentence


@pytest.mark.requirement("5.5")
def test_without_an_executed_engine_both_are_told_as_shadows() -> None:
    sentence = told("open", "waiting", executed=None)
    assert sentence == (
        f"Nobody executed, both engines are shadows. Why: {WHY} Engine A recommended BUY 2 SPY260320C00590000 at 4.35, "
        "followed as a shadow trade. Engine B has not answered yet."
    )


@pytest.mark.requirement("5.5")
def test_a_trade_without_a_permit_is_never_left_out() -> None:
    sides = {engine: side(engine, "pass") for engine in Engine}
    sentence = answer(executed_engine=None, reason=WHY, sides=sides, permit=None, unauthorised=[Engine.B])
    assert sentence.endswith("Engine B reported a real trade without a permit; see the incident.")


@pytest.mark.requirement("property-20")
@pytest.mark.parametrize(
    ("a", "b", "executed", "permit"),
    list(
        product(
            ["open", "pass", "failed", "waiting"],
            ["open", "pass", "failed", "waiting"],
            [None, Engine.A, Engine.B],
            [None, *PermitState],
        )
    ),
)
def test_every_combination_names_both_engines_and_the_reason(
    a: str, b: str, executed: Engine | None, permit: PermitState | None
) -> None:
    sentence = told(a, b, executed=executed, permit=Permission(permit) if permit else None)
    assert WHY in sentence
    assert "ngine A" in sentence
    assert "ngine B" in sentence
    assert "None" not in sentence


@given(text=st.text(max_size=1000))
def test_whatever_an_engine_writes_the_sentence_stays_one_short_line(text: str) -> None:
    sides = {engine: side(engine, "pass", text=text) for engine in Engine}
    sentence = answer(executed_engine=Engine.A, reason=WHY, sides=sides, permit=None)
    assert len(sentence) < 700
    assert sentence.splitlines() == [sentence]
