"""The sums of days: however trades are cut into days, the figures are those of all trades."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from outcomes.domain.daily import Curve, DayOfPairs, TradeSums, altogether, in_currency, in_r, wins
from tests.days import FIRST_DAY, curve_of, days_of_trades, sums_of

money = st.decimals(min_value=-(10**6), max_value=10**6, places=8, allow_nan=False, allow_infinity=False)
stretches = st.lists(st.lists(money, max_size=8), max_size=8)


@given(stretches=stretches)
def test_stretches_of_the_curve_compose_into_the_whole_curve(stretches: list[list[Decimal]]) -> None:
    whole = Curve()
    for stretch in stretches:
        whole = whole.then(curve_of(stretch))
    assert whole == curve_of([pnl for stretch in stretches for pnl in stretch])


@given(one=st.lists(money, max_size=6), other=st.lists(money, max_size=6), third=st.lists(money, max_size=6))
def test_how_stretches_are_grouped_does_not_matter(
    one: list[Decimal], other: list[Decimal], third: list[Decimal]
) -> None:
    first, second, last = curve_of(one), curve_of(other), curve_of(third)
    assert first.then(second).then(last) == first.then(second.then(last))


@given(stretches=stretches)
def test_sums_of_days_add_up_to_the_sums_of_all_trades(stretches: list[list[Decimal]]) -> None:
    days = days_of_trades({FIRST_DAY.replace(day=number + 1): pnls for number, pnls in enumerate(stretches)})
    assert altogether(days) == sums_of([pnl for pnls in stretches for pnl in pnls])


def test_without_a_day_the_sums_are_those_of_no_trade() -> None:
    assert altogether([]) == TradeSums() == sums_of([])


def test_only_pairs_with_a_result_in_r_count_in_r() -> None:
    days = [
        DayOfPairs(FIRST_DAY, 3, Decimal(9), 0, Decimal(0), 1, 2, 0, 0, 0),
        DayOfPairs(FIRST_DAY.replace(day=3), 2, Decimal(-4), 1, Decimal("-0.5"), 0, 1, 1, 0, 0),
    ]
    assert [(day.pairs, day.difference) for day in in_r(days)] == [(1, Decimal("-0.5"))]
    assert [(day.pairs, day.difference) for day in in_currency(days)] == [(3, Decimal(9)), (2, Decimal(-4))]
    assert [(day.only_a, day.only_b) for day in wins(days)] == [(1, 2), (0, 1)]
