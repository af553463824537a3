"""Which days must be looked at trade by trade for the largest fall to come out exactly."""

from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from outcomes.domain.curves import Bounds, days_to_look_at, ends_only
from outcomes.domain.daily import Curve

FIRST = date(2026, 3, 2)
TRADES = st.lists(st.tuples(st.integers(0, 8), st.sampled_from("xyz"), st.integers(-50, 50)), max_size=40)


def one_by_one(pnls: list[int]) -> Curve:
    curve = Curve()
    for pnl in pnls:
        amount = Decimal(pnl)
        curve = curve.then(Curve(amount, max(amount, Decimal(0)), min(amount, Decimal(0)), max(-amount, Decimal(0))))
    return curve


def days_of(trades: list[tuple[int, str, int]]) -> list[tuple[Bounds, Curve]]:
    """Return each day as it is known from its slices' curves, with the curve that it really has."""
    days = []
    for number, found in groupby(sorted(trades, key=lambda trade: trade[0]), key=lambda trade: trade[0]):
        of_day = list(found)
        true = one_by_one([pnl for _, _, pnl in of_day])
        parts = [
            one_by_one([pnl for _, name, pnl in of_day if name == part]) for part in {name for _, name, _ in of_day}
        ]
        known = Curve(
            true.total,
            sum((part.peak for part in parts), Decimal(0)),
            sum((part.trough for part in parts), Decimal(0)),
            max(part.drawdown for part in parts),
        )
        days.append((Bounds(FIRST + timedelta(days=number), known, is_exact=len(parts) == 1), true))
    return days


@given(trades=TRADES)
def test_the_largest_fall_is_that_of_the_trades_one_by_one(trades: list[tuple[int, str, int]]) -> None:
    days = days_of(trades)
    looked_at = set(days_to_look_at([bounds for bounds, _ in days]))
    whole = Curve()
    for bounds, true in days:
        if bounds.is_exact or bounds.day in looked_at:
            assert bounds.is_exact is False or bounds.curve == true
            whole = whole.then(true)
        else:
            whole = whole.then(ends_only(true.total))
    expected = one_by_one([pnl for _, _, pnl in sorted(trades, key=lambda trade: trade[0])])
    assert (whole.total, whole.drawdown) == (expected.total, expected.drawdown)


def test_a_day_that_cannot_hold_an_end_of_the_largest_fall_is_left_alone() -> None:
    """A thousand lost on the second day; what alternates on the others is too small to matter."""
    small = [(day, part, pnl) for day in (0, 2, 3) for part, pnl in (("x", 5), ("y", -5))]
    days = days_of([*small, (0, "x", 500), (1, "x", -1000), (2, "x", 300)])
    assert days_to_look_at([bounds for bounds, _ in days]) == [FIRST, FIRST + timedelta(days=2)]
