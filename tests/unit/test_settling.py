"""What an operator types: a fill that can be recorded, or a sentence per field, whatever it is."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.amounts import LIMIT
from orchestrator.domain.execution import Fill
from orchestrator.domain.settling import LONGEST_REASON, UnusableInput, read_fill_told, read_reason

RECEIVED = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
NOW = RECEIVED + timedelta(hours=1)
GOOD = {"price": "4.35", "quantity": "2", "time": "2026-03-02T14:30:05", "fees": "", "reference": "IB-1"}
FIELDS = sorted(GOOD)


def read(told: dict[str, str]) -> Fill:
    return read_fill_told(told, received_at=RECEIVED, margin=timedelta(seconds=5), at=NOW)


def test_a_fill_is_read_to_the_last_digit() -> None:
    assert read(GOOD | {"price": " 4.35000001 ", "fees": "-0.10"}) == Fill(
        external_id="IB-1",
        entry_price=Decimal("4.35000001"),
        entry_time=RECEIVED + timedelta(seconds=5),
        quantity=Decimal(2),
        fees=Decimal("-0.10"),
    )


@pytest.mark.parametrize("time", ["2026-03-02T15:30:05+01:00", "2026-03-02 14:30:05", "2026-03-02T14:30:05Z"])
def test_a_time_without_a_zone_is_utc(time: str) -> None:
    assert read(GOOD | {"time": time}).entry_time == RECEIVED + timedelta(seconds=5)


@pytest.mark.parametrize(("seconds", "is_accepted"), [(-6, False), (-5, True), (0, True), (3600, True), (3601, False)])
def test_a_time_lies_between_the_signal_less_what_clocks_differ_by_and_now(seconds: int, is_accepted: bool) -> None:
    told = GOOD | {"time": (RECEIVED + timedelta(seconds=seconds)).isoformat()}
    if is_accepted:
        assert read(told).entry_time == RECEIVED + timedelta(seconds=seconds)
    else:
        with pytest.raises(UnusableInput):
            read(told)


@given(told=st.dictionaries(st.sampled_from(FIELDS), st.text() | st.sampled_from(["NaN", "1e400", "-1", "0", "1_0"])))
def test_whatever_is_typed_is_a_fill_or_a_sentence_for_each_field(told: dict[str, str]) -> None:
    problems: dict[str, str] = {}
    try:
        fill = read(GOOD | told)
    except UnusableInput as error:
        problems = error.problems
    if problems:
        assert set(problems) <= set(told)
        assert all(sentence.endswith(".") and sentence[0].isupper() for sentence in problems.values())
        return
    assert 0 <= fill.entry_price < LIMIT
    assert 0 < fill.quantity < LIMIT
    assert -LIMIT < fill.fees < LIMIT
    assert RECEIVED - timedelta(seconds=5) <= fill.entry_time <= NOW
    assert fill.external_id


@pytest.mark.parametrize("reason", ["", "    ", "ok", "x" * (LONGEST_REASON + 1), "with a \x00 in it"])
def test_there_is_no_settling_without_a_reason(reason: str) -> None:
    with pytest.raises(UnusableInput) as refused:
        read_reason({"reason": reason})
    assert list(refused.value.problems) == ["reason"]
