"""What a policy would have earned: by hand on small cases, and against a world whose truth is known."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256

import pytest

from orchestrator.domain.policy import Availability, Revision
from orchestrator.domain.vocabulary import AppMode, Engine, RequestedMode
from outcomes.domain.policy_rules import Asked, KnownBefore, read_policy
from outcomes.domain.policy_value import (
    Circumstances,
    RecordedExperiment,
    by_day,
    chances,
    effective_size,
    value,
)

A, B = Engine.A, Engine.B
SIGNAL = KnownBefore("SPY", "15", "long", datetime(2026, 3, 2, 15, tzinfo=UTC))
HERE = Availability(ok=True, checked_at=None)


def circumstances(mode: str = "ENGINE_A_PRIMARY", *, split: int = 50, **changes: object) -> Circumstances:
    revision = Revision(1, RequestedMode(mode), split, False, 300, AppMode.PAPER)
    found = Circumstances(revision, {A: HERE, B: HERE}, 1.0)
    return replace(found, **changes)  # type: ignore[arg-type]


def recorded(
    *, a: int = 10, b: int = 4, executed: Engine | None = A, real: int | None = 8, **seen: object
) -> RecordedExperiment:
    found = circumstances(**seen)  # type: ignore[arg-type]
    simulated = {A: Decimal(a), B: Decimal(b)}
    return RecordedExperiment(
        date(2026, 3, 2), SIGNAL, found, executed, simulated, None if real is None else Decimal(real)
    )


def test_the_chances_are_those_of_the_live_decision() -> None:
    split = Asked(RequestedMode.SPLIT_CAPITAL, 30)
    assert chances(split, circumstances()) == {A: Decimal("0.3"), B: Decimal("0.7")}
    assert chances(Asked(RequestedMode.ENGINE_B_PRIMARY), circumstances()) == {A: 0, B: 1}
    nobody = {A: 0, B: 0}
    halted = replace(circumstances().revision, trading_halted=True)
    assert chances(split, circumstances(revision=halted)) == nobody
    assert chances(split, circumstances(signal_age_seconds=301.0)) == nobody
    absent = Availability(ok=False, checked_at=None)
    assert chances(split, circumstances(availability={A: absent, B: HERE})) == nobody
    assert chances(split, circumstances(availability={A: HERE, B: absent})) == {A: Decimal("0.3"), B: 0}


def test_the_plug_in_takes_the_simulated_result_of_whoever_would_have_executed() -> None:
    assert value(recorded(), read_policy("ENGINE_B_PRIMARY")).plug_in == 4 - 10
    assert value(recorded(), read_policy("ENGINE_A_PRIMARY")).plug_in == 0
    assert value(recorded(), read_policy("SHADOW_ONLY")).plug_in == -10
    assert value(recorded(), read_policy("SPLIT_CAPITAL:25")).plug_in == Decimal("5.5") - 10
    assert value(recorded(executed=None, real=0, mode="SHADOW_ONLY"), read_policy("ENGINE_A_PRIMARY")).plug_in == 10


def test_the_real_result_corrects_the_simulated_one_with_its_inverse_probability() -> None:
    split = recorded(mode="SPLIT_CAPITAL", split=25, executed=A, real=8)
    found = value(split, read_policy("ENGINE_A_PRIMARY"))
    assert found.weight == 4
    assert found.doubly_robust == 10 + 4 * (8 - 10) - 8
    other = value(split, read_policy("ENGINE_B_PRIMARY"))
    assert (other.weight, other.doubly_robust) == (Decimal(0), Decimal(4 - 8))


def test_what_executes_anyway_keeps_its_real_result() -> None:
    assert value(recorded(), read_policy("ENGINE_A_PRIMARY")).doubly_robust == 0


def test_the_record_cannot_say_what_had_no_chance_or_is_not_known() -> None:
    assert value(recorded(), read_policy("ENGINE_B_PRIMARY")).doubly_robust is None
    assert value(recorded(real=None), read_policy("ENGINE_A_PRIMARY")).doubly_robust is None
    assert value(recorded(), read_policy("SHADOW_ONLY")).doubly_robust == -8


@pytest.mark.parametrize(("policy", "engine"), [("ENGINE_A_PRIMARY", A), ("ENGINE_B_PRIMARY", B)])
def test_the_doubly_robust_mean_finds_the_truth_that_the_plug_in_misses(policy: str, engine: Engine) -> None:
    """A world in which real fills cost engine A 3 and engine B 1 against what was simulated: only real results show it."""
    cost, share, count = {A: 3, B: 1}, 40, 4000
    robust = plug_in = truth = Decimal(0)
    for number in range(count):
        digest = sha256(str(number).encode()).digest()
        simulated = {A: digest[0] - 120, B: digest[1] - 127}
        executed = A if int.from_bytes(digest[2:6]) % 100 < share else B
        noise = digest[6] % 5 - 2
        real = {one: simulated[one] - cost[one] + noise for one in Engine}
        one = recorded(
            a=simulated[A], b=simulated[B], executed=executed, real=real[executed], mode="SPLIT_CAPITAL", split=share
        )
        found = value(one, read_policy(policy))
        assert found.doubly_robust is not None
        robust += found.doubly_robust
        plug_in += found.plug_in
        truth += real[engine] - real[executed]
    assert abs(robust - truth) / count < Decimal("0.1")
    assert abs(plug_in - truth) / count > Decimal("0.5")


def test_differences_add_up_by_day_in_order() -> None:
    days = by_day([(date(2026, 3, 3), Decimal(1)), (date(2026, 3, 2), Decimal(2)), (date(2026, 3, 3), Decimal(-4))])
    assert [(day.day.day, day.pairs, day.difference) for day in days] == [(2, 1, Decimal(2)), (3, 2, Decimal(-3))]


def test_the_effective_size_is_that_of_equal_weights() -> None:
    assert effective_size([Decimal(2)] * 10) == pytest.approx(10)
    assert effective_size([Decimal(3), Decimal(0), Decimal(0)]) == pytest.approx(1)
    assert effective_size([]) == 0
