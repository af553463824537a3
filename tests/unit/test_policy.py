"""The execution policy: every row of its table, the precedence of the rows, and what must hold for every decision."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.panel import EXECUTION_MODES
from orchestrator.domain.policy import Availability, Decision, Revision, decide, decide_again, decision_inputs
from orchestrator.domain.vocabulary import AppMode, Engine, ExecutionMode, ReasonCode, RequestedMode, ShadowEngine

A, B = Engine.A, Engine.B
AT = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
UP, DOWN = Availability(ok=True, checked_at=AT), Availability(ok=False, checked_at=AT)
NOBODY = (ExecutionMode.SHADOW_ONLY, None, ShadowEngine.BOTH)


def revision(mode: str = "AUTO", **overrides: Any) -> Revision:
    fields: dict[str, Any] = {
        "number": 7,
        "split_percentage": 50,
        "trading_halted": False,
        "max_signal_age_seconds": 300,
        "app_mode": AppMode.PAPER,
    }
    return Revision(execution_mode=RequestedMode(mode), **(fields | overrides))


def decided(asked: Revision, variant: Engine = A, *, a: bool = True, b: bool = True, age: float = 1.0) -> Decision:
    return decide(asked, variant, {A: UP if a else DOWN, B: UP if b else DOWN}, age)


def outcome(decision: Decision) -> tuple[ExecutionMode, Engine | None, ShadowEngine, ReasonCode]:
    return decision.execution_mode, decision.executed_engine, decision.shadow_engine, decision.reason_code


LIVE = {"app_mode": AppMode.LIVE}
A_FIRST = (ExecutionMode.ENGINE_A_PRIMARY, A, ShadowEngine.B)
B_FIRST = (ExecutionMode.ENGINE_B_PRIMARY, B, ShadowEngine.A)

ROWS: list[tuple[str, Revision, dict[str, Any], tuple[Any, ...]]] = [
    ("1 halted", revision(trading_halted=True), {}, (*NOBODY, "HALTED")),
    ("1 halted, explicit mode", revision("ENGINE_B_PRIMARY", trading_halted=True), {}, (*NOBODY, "HALTED")),
    ("2 stale", revision(), {"age": 300.001}, (*NOBODY, "STALE_SIGNAL")),
    ("2 equal is not older", revision(), {"age": 300.0}, (*A_FIRST, "PAPER_ENGINE_A")),
    ("2 an engine's clock ahead of the database", revision(), {"age": -2.0}, (*A_FIRST, "PAPER_ENGINE_A")),
    *(
        (f"3 A is down, {mode}", revision(mode), {"a": False}, (*NOBODY, "ENGINE_A_UNAVAILABLE"))
        for mode in EXECUTION_MODES
    ),
    ("4 shadow only", revision("SHADOW_ONLY"), {}, (*NOBODY, "CONFIGURED")),
    ("4 shadow only, B is down", revision("SHADOW_ONLY"), {"b": False}, (*NOBODY, "CONFIGURED")),
    ("5 auto on paper", revision(), {}, (*A_FIRST, "PAPER_ENGINE_A")),
    ("5 auto on paper, B is down", revision(), {"b": False}, (*A_FIRST, "PAPER_ENGINE_A")),
    ("5 auto on paper, variant B", revision(), {"variant": B}, (*A_FIRST, "PAPER_ENGINE_A")),
    ("6 auto live", revision(**LIVE), {}, (*NOBODY, "LIVE_NEEDS_EXPLICIT_MODE")),
    ("7 B first and down", revision("ENGINE_B_PRIMARY"), {"b": False}, (*NOBODY, "ENGINE_B_UNAVAILABLE")),
    (
        "7 split, assigned to B, B is down",
        revision("SPLIT_CAPITAL"),
        {"variant": B, "b": False},
        (*NOBODY, "ENGINE_B_UNAVAILABLE"),
    ),
    ("8 A first", revision("ENGINE_A_PRIMARY"), {}, (*A_FIRST, "CONFIGURED")),
    ("8 A first, live", revision("ENGINE_A_PRIMARY", **LIVE), {"variant": B}, (*A_FIRST, "CONFIGURED")),
    ("8 A first, B is down", revision("ENGINE_A_PRIMARY"), {"b": False}, (*A_FIRST, "CONFIGURED")),
    ("8 B first", revision("ENGINE_B_PRIMARY"), {}, (*B_FIRST, "CONFIGURED")),
    ("8 B first, live", revision("ENGINE_B_PRIMARY", **LIVE), {}, (*B_FIRST, "CONFIGURED")),
    ("9 split, A", revision("SPLIT_CAPITAL"), {}, (ExecutionMode.SPLIT_CAPITAL, A, ShadowEngine.B, "SPLIT")),
    (
        "9 split, A, B is down",
        revision("SPLIT_CAPITAL"),
        {"b": False},
        (ExecutionMode.SPLIT_CAPITAL, A, ShadowEngine.B, "SPLIT"),
    ),
    (
        "9 split, B, live",
        revision("SPLIT_CAPITAL", **LIVE),
        {"variant": B},
        (ExecutionMode.SPLIT_CAPITAL, B, ShadowEngine.A, "SPLIT"),
    ),
]


@pytest.mark.requirement("3.1", "3.2", "3.3", "3.4", "12.3")
@pytest.mark.parametrize(
    ("asked", "circumstances", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_every_row_of_the_table(asked: Revision, circumstances: dict[str, Any], expected: tuple[Any, ...]) -> None:
    decision = decided(asked, **circumstances)
    assert outcome(decision) == expected
    assert decision.reason.endswith(".")


@pytest.mark.requirement("3.3")
def test_an_earlier_rule_wins_over_every_later_one() -> None:
    worst = revision("ENGINE_B_PRIMARY", trading_halted=True, **LIVE)
    assert decided(worst, a=False, b=False, age=1e9).reason_code == "HALTED"
    not_halted = revision("ENGINE_B_PRIMARY", **LIVE)
    assert decided(not_halted, a=False, b=False, age=1e9).reason_code == "STALE_SIGNAL"
    assert decided(not_halted, a=False, b=False).reason_code == "ENGINE_A_UNAVAILABLE"
    assert decided(revision("SHADOW_ONLY", **LIVE), b=False).reason_code == "CONFIGURED"
    assert decided(revision("AUTO", **LIVE), b=False).reason_code == "LIVE_NEEDS_EXPLICIT_MODE"
    assert decided(not_halted, b=False).reason_code == "ENGINE_B_UNAVAILABLE"


@pytest.mark.requirement("12.3")
def test_the_panel_offers_the_modes_that_the_policy_knows() -> None:
    assert list(RequestedMode) == list(EXECUTION_MODES)
    assert {*ExecutionMode, "AUTO"} == set(RequestedMode)


revisions = st.builds(
    Revision,
    number=st.integers(min_value=1, max_value=10**6),
    execution_mode=st.sampled_from(RequestedMode),
    split_percentage=st.integers(min_value=0, max_value=100),
    trading_halted=st.booleans(),
    max_signal_age_seconds=st.integers(min_value=1, max_value=86_400),
    app_mode=st.sampled_from(AppMode),
)
engines = st.sampled_from(Engine)
facts = st.builds(Availability, ok=st.booleans(), checked_at=st.none() | st.datetimes(timezones=st.just(UTC)))
availabilities = st.fixed_dictionaries({A: facts, B: facts})
ages = st.floats(min_value=-60, max_value=200_000)
cases = st.tuples(revisions, engines, availabilities, ages)
Case = tuple[Revision, Engine, Mapping[Engine, Availability], float]


@pytest.mark.requirement("3.5", "property-12")
@given(case=cases)
def test_at_most_one_engine_executes_and_the_other_is_its_shadow(case: Case) -> None:
    decision = decide(*case)
    if decision.executed_engine is None:
        assert decision.shadow_engine is ShadowEngine.BOTH
    else:
        assert decision.shadow_engine.value == decision.executed_engine.other.value


@pytest.mark.requirement("3.4", "property-11")
@given(case=cases)
def test_shadow_only_executes_nobody_and_every_other_mode_somebody(case: Case) -> None:
    decision = decide(*case)
    assert (decision.executed_engine is None) is (decision.execution_mode is ExecutionMode.SHADOW_ONLY)


@pytest.mark.requirement("3.2", "property-10")
@given(case=cases)
def test_engine_a_primary_executes_a_with_b_as_shadow(case: Case) -> None:
    decision = decide(*case)
    if decision.execution_mode is ExecutionMode.ENGINE_A_PRIMARY:
        assert (decision.executed_engine, decision.shadow_engine) == (A, ShadowEngine.B)


@pytest.mark.requirement("3.1", "property-10")
@given(case=cases)
def test_auto_on_paper_with_engine_a_is_engine_a_primary(case: Case) -> None:
    asked, variant, availability, _ = case
    auto = Revision(
        **asdict(asked) | {"execution_mode": RequestedMode.AUTO, "app_mode": AppMode.PAPER, "trading_halted": False}
    )
    decision = decide(auto, variant, dict(availability) | {A: UP}, 0.0)
    assert outcome(decision) == (*A_FIRST, ReasonCode.PAPER_ENGINE_A)


@pytest.mark.requirement("3.3")
@given(case=cases)
def test_without_engine_a_nothing_real_happens(case: Case) -> None:
    asked, variant, availability, age = case
    assert decide(asked, variant, dict(availability) | {A: DOWN}, age).execution_mode is ExecutionMode.SHADOW_ONLY


@pytest.mark.requirement("3.3")
@given(case=cases)
def test_an_unavailable_engine_never_executes(case: Case) -> None:
    executed = decide(*case).executed_engine
    assert executed is None or case[2][executed].ok


@pytest.mark.requirement("12.4", "property-33")
@given(case=cases)
def test_split_capital_executes_the_variant(case: Case) -> None:
    decision = decide(*case)
    if decision.execution_mode is ExecutionMode.SPLIT_CAPITAL:
        assert case[0].execution_mode is RequestedMode.SPLIT_CAPITAL
        assert decision.executed_engine is case[1]


@pytest.mark.requirement("12.4", "property-33")
@given(case=cases)
def test_split_capital_with_everything_in_order_is_split_capital(case: Case) -> None:
    asked, variant, _, _ = case
    fields = asdict(asked) | {"execution_mode": RequestedMode.SPLIT_CAPITAL, "trading_halted": False}
    decision = decide(Revision(**fields), variant, {A: UP, B: UP}, 0.0)
    assert decision.execution_mode is ExecutionMode.SPLIT_CAPITAL
    assert decision.executed_engine is variant


@pytest.mark.requirement("6.1")
@given(case=cases)
def test_stored_inputs_lead_to_the_same_decision_again(case: Case) -> None:
    asked, variant, availability, age = case
    row = asdict(asked) | {"id": "0192f0a0-0000-7000-8000-000000000001", "changed_by": "cli"}
    stored = json.loads(json.dumps(decision_inputs(row, variant, availability, age)))
    assert decide_again(stored) == decide(asked, variant, availability, age)


@pytest.mark.requirement("6.1")
def test_inputs_hold_everything_that_the_decision_saw() -> None:
    stored = decision_inputs(asdict(revision()), A, {A: UP, B: Availability(ok=False, checked_at=None)}, 1.5)
    assert stored == {
        "revision": {
            "number": 7,
            "execution_mode": "AUTO",
            "split_percentage": 50,
            "trading_halted": False,
            "max_signal_age_seconds": 300,
            "app_mode": "PAPER",
        },
        "variant": "A",
        "availability": {
            "A": {"ok": True, "checked_at": "2026-03-02T14:30:00+00:00"},
            "B": {"ok": False, "checked_at": None},
        },
        "signal_age_seconds": 1.5,
    }


def test_inputs_that_are_not_inputs_are_refused() -> None:
    whole = decision_inputs(asdict(revision()), A, {A: UP, B: UP}, 1.0)
    for broken in ({}, whole | {"variant": "C"}, whole | {"availability": {}}, whole | {"revision": {}}):
        with pytest.raises((KeyError, ValueError)):
            decide_again(broken)


@pytest.mark.requirement("3.6")
def test_the_policy_version_names_the_rules_and_the_revision() -> None:
    assert revision(number=12).policy_version == "v1.0-r12"


def test_the_grid_of_all_modes_is_decided() -> None:
    for mode, app_mode, halted, a, b, variant in product(
        RequestedMode, AppMode, (False, True), (False, True), (False, True), Engine
    ):
        decision = decided(revision(mode, app_mode=app_mode, trading_halted=halted), variant, a=a, b=b)
        executes = (
            not halted
            and a
            and (
                (mode == "AUTO" and app_mode == "PAPER")
                or mode == "ENGINE_A_PRIMARY"
                or (mode == "ENGINE_B_PRIMARY" and b)
                or (mode == "SPLIT_CAPITAL" and (variant is A or b))
            )
        )
        assert (decision.executed_engine is not None) is executes
