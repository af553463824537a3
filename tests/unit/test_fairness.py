"""The rules of the certificate, one by one: each holds, is broken, or cannot be judged yet."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from orchestrator.domain.vocabulary import Engine
from outcomes.domain import fairness
from outcomes.domain.fairness import Exit, Fill, Finding, Question

A, B = Engine.A, Engine.B
HASH, OTHER = "a" * 64, "b" * 64
AT = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
ASKED = Question(sent_hash=HASH, echo=HASH, answered_at=AT)
INPUT = {
    "schema": "engine-input/1",
    "experiment_id": "",
    "signal": dict.fromkeys(fairness.INPUT_MEMBERS["signal"], ""),
    "market_context": dict.fromkeys(fairness.INPUT_MEMBERS["market_context"], ""),
}
FILL = Fill(Decimal("4.35"), Decimal(2), Decimal("4.35"), Decimal(2))
LEFT = Exit(AT, {"underlying_price": "590"})


@pytest.mark.parametrize(
    ("finding", "holds"),
    [
        (fairness.same_input(HASH, {A: ASKED, B: ASKED}), True),
        (fairness.same_input(HASH, {A: ASKED, B: replace(ASKED, sent_hash=OTHER)}), False),
        (fairness.same_input(HASH, {A: ASKED}), False),
        (fairness.echoed(HASH, {A: ASKED, B: ASKED}), True),
        (fairness.echoed(HASH, {A: ASKED, B: replace(ASKED, echo=None)}), None),
        (fairness.echoed(HASH, {A: ASKED}), None),
        (fairness.echoed(HASH, {A: replace(ASKED, echo=OTHER), B: replace(ASKED, echo=None)}), False),
        (fairness.blind(INPUT), True),
        (fairness.blind(INPUT | {"schema": "engine-input/2"}), False),
        (fairness.blind(INPUT | {"execution_mode": "SPLIT_CAPITAL"}), False),
        (fairness.blind(INPUT | {"signal": INPUT["signal"] | {"variant": "A"}}), False),  # type: ignore[operator]
        (fairness.decided_first(AT, {A: ASKED, B: ASKED}), True),
        (fairness.decided_first(AT, {A: replace(ASKED, answered_at=None)}), None),
        (fairness.decided_first(AT + timedelta(seconds=1), {A: ASKED, B: ASKED}), False),
        (fairness.nothing_from_the_future(None, AT), True),
        (fairness.nothing_from_the_future(AT, AT), True),
        (fairness.nothing_from_the_future(AT + timedelta(microseconds=1), AT), False),
        (fairness.recomputes([]), True),
        (fairness.recomputes(["decision"]), False),
        (fairness.one_executor(A, [A]), True),
        (fairness.one_executor(None, []), True),
        (fairness.one_executor(A, [A, A]), False),
        (fairness.one_executor(A, [B]), False),
        (fairness.one_executor(None, [B]), False),
        (fairness.one_fill_basis({A: FILL, B: FILL}, []), True),
        (fairness.one_fill_basis({A: FILL}, [B]), True),
        (fairness.one_fill_basis({A: FILL}, []), None),
        (fairness.one_fill_basis({A: replace(FILL, entry_price=Decimal("4.40"))}, [B]), False),
        (fairness.one_fill_basis({A: replace(FILL, quantity=Decimal(1))}, [B]), False),
        (fairness.same_exit({A: LEFT, B: LEFT}, [A, B]), True),
        (fairness.same_exit({}, []), True),
        (fairness.same_exit({A: LEFT}, [A, B]), None),
        (fairness.same_exit({A: LEFT, B: Exit(AT + timedelta(seconds=1), LEFT.market_conditions)}, [A, B]), False),
        (fairness.same_exit({A: LEFT, B: Exit(AT, {"underlying_price": "591"})}, [A, B]), False),
    ],
)
def test_each_rule_is_judged(finding: Finding, holds: bool | None) -> None:
    assert finding.holds is holds
    assert finding.detail.endswith(".")


@pytest.mark.parametrize(
    ("held", "fair"), [([True, True], True), ([True, None], None), ([None, False], False), ([True, False], False)]
)
def test_one_broken_rule_is_unfair_and_one_open_rule_is_undecided(held: list[bool | None], fair: bool | None) -> None:
    assert fairness.is_fair([Finding("rule", holds, ".") for holds in held]) is fair
