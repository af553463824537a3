"""The paired comparison: against statsmodels and hand-computed values, and the promises a daily reader relies on."""

import math
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from outcomes.domain.comparison import Estimate, estimate, history
from outcomes.domain.confidence_sequence import half_width
from outcomes.domain.daily import DayOfDifferences
from outcomes.domain.series import BY_DAY, BY_WEEK, Cluster, clusters_of
from outcomes.domain.undefined import NO_PAIRS, UndefinedCode
from tests.days import FIRST_DAY, days_of_differences, steady

differences = st.decimals(min_value=-100, max_value=100, places=4, allow_nan=False, allow_infinity=False)
pairs_by_day = st.lists(st.lists(differences, min_size=1, max_size=5), min_size=2, max_size=40)
enough_pairs = st.lists(st.lists(differences, min_size=2, max_size=4), min_size=20, max_size=40)


def of(pairs: Sequence[Sequence[Decimal]]) -> Estimate:
    return estimate(days_of_differences(pairs))


@given(pairs=pairs_by_day)
def test_mean_and_clustered_error_agree_with_statsmodels(pairs: list[list[Decimal]]) -> None:
    found = of(pairs)
    values = np.array([float(pair) for day in pairs for pair in day])
    groups = np.array([number for number, day in enumerate(pairs) for _ in day])
    assert float(found.mean or 0) == pytest.approx(values.mean(), abs=1e-9)
    fitted = sm.OLS(values, np.ones_like(values)).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": True}
    )
    # statsmodels multiplies by (N - 1)/(N - k) too, which is 1 for a mean alone
    expected = float(fitted.bse[0]) if np.isfinite(fitted.bse[0]) else 0.0
    assert (found.standard_error or 0.0) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_with_one_pair_a_day_the_error_is_that_of_a_mean() -> None:
    values = [Decimal(value) for value in (3, -1, 4, 1, -5, 9, 2, -6)]
    assert of([[value] for value in values]).standard_error == pytest.approx(
        np.std([float(value) for value in values], ddof=1) / math.sqrt(8), rel=1e-12
    )


@given(pairs=pairs_by_day)
def test_exchanging_the_engines_turns_every_sign_and_nothing_else(pairs: list[list[Decimal]]) -> None:
    one, other = of(pairs), of([[-pair for pair in day] for day in pairs])
    assert one.mean == (None if other.mean is None else other.mean.copy_negate())
    assert (one.standard_error, one.p_value) == (other.standard_error, other.p_value)
    assert (one.first_clear, one.clear_since) == (other.first_clear, other.clear_since)
    if one.interval and other.interval:
        assert one.interval == (-other.interval[1], -other.interval[0])


@given(pairs=enough_pairs, factor=st.sampled_from([Decimal("1e-8"), Decimal(3), Decimal(10**12)]))
def test_the_unit_does_not_change_the_evidence(pairs: list[list[Decimal]], factor: Decimal) -> None:
    one, scaled = of(pairs), of([[pair * factor for pair in day] for day in pairs])
    assert (one.p_value is None) == (scaled.p_value is None)
    if one.p_value is not None:
        assert scaled.p_value == pytest.approx(one.p_value, rel=1e-9)
        assert scaled.standard_error == pytest.approx((one.standard_error or 0) * float(factor), rel=1e-9)


@given(pairs=enough_pairs, data=st.data())
def test_the_order_of_days_matters_to_the_p_value_alone(pairs: list[list[Decimal]], data: st.DataObject) -> None:
    one, other = of(pairs), of(data.draw(st.permutations(pairs)))
    assert (one.mean, one.standard_error, one.interval) == (other.mean, other.standard_error, other.interval)


@given(pairs=pairs_by_day)
def test_the_p_value_is_a_running_minimum(pairs: list[list[Decimal]]) -> None:
    known = [moment.p_value for moment in history(days_of_differences(pairs * 2)) if moment.p_value is not None]
    assert known == sorted(known, reverse=True)
    assert all(0 < value <= 1 for value in known)


@given(pairs=pairs_by_day)
def test_the_history_is_what_was_seen_on_each_day(pairs: list[list[Decimal]]) -> None:
    days = days_of_differences(pairs)
    for number, moment in enumerate(history(days), start=1):
        then = estimate(days[:number])
        assert (moment.clusters, moment.pairs, moment.error) == (then.clusters, then.pairs, then.standard_error)
        assert (moment.low, moment.high) == (then.interval or (None, None))
        assert moment.p_value == then.p_value
        assert moment.mean == pytest.approx(float(then.mean or 0), rel=1e-12)


@given(pairs=enough_pairs)
def test_the_interval_is_the_mean_and_the_published_half_width(pairs: list[list[Decimal]]) -> None:
    found = of(pairs)
    if found.standard_error is not None and found.interval is not None:
        width = half_width(found.standard_error, clusters=found.clusters, alpha=0.05, horizon=100) or 0
        assert found.interval == pytest.approx((float(found.mean or 0) - width, float(found.mean or 0) + width))
        # p <= 0.05 on some day exactly when the interval has excluded 0 on some day
        assert ((found.p_value or 1) <= 0.05) == (found.first_clear is not None)


@given(value=differences, days=st.integers(2, 40), pairs=st.integers(1, 4))
def test_equal_differences_everywhere_measure_nothing(value: Decimal, days: int, pairs: int) -> None:
    found = of([[value] * pairs] * days)
    assert (found.standard_error, found.interval, found.p_value) == (None, None, None)
    assert found.mean == value
    assert found.undefined
    assert found.undefined.reason == "Every day has the same mean difference; nothing varies."


def test_without_a_pair_everything_is_undefined() -> None:
    assert estimate([]) == Estimate(BY_DAY, 0, 0, 0, None, None, None, None, None, None, NO_PAIRS)


def test_one_day_and_two_days_say_why_there_is_no_interval() -> None:
    one, two = of([[Decimal(1), Decimal(2)]]), of([[Decimal(1)], [Decimal(2)]])
    assert one.undefined
    assert one.undefined.code is UndefinedCode.ONE_CLUSTER
    assert two.undefined
    assert (two.undefined.code, two.standard_error) == (UndefinedCode.UNBOUNDED, 0.5)


def test_before_twenty_days_and_thirty_pairs_there_is_no_p_value_however_clear() -> None:
    assert estimate(steady(19, mean=10, swing=0.1)).p_value is None
    assert of([[Decimal(10 + n % 2)] for n in range(29)]).p_value is None
    assert (of([[Decimal(10 + n % 2)] for n in range(30)]).p_value or 1) < 1e-6


def test_evidence_that_was_clear_once_and_is_no_more_is_told_apart() -> None:
    days = [
        *steady(40, mean=1, swing=0.5),
        *(DayOfDifferences(FIRST_DAY + timedelta(days=n), 2, Decimal(-4)) for n in range(40, 70)),
    ]
    found = estimate(days)
    assert found.first_clear == FIRST_DAY + timedelta(days=19)
    assert found.clear_since is None
    assert (found.p_value or 1) < 0.05
    assert estimate(days[:40]).clear_since == FIRST_DAY + timedelta(days=19)


def test_the_largest_amounts_stay_finite() -> None:
    limit = Decimal("999999999999.99999999")
    found = of([[limit * (-1) ** n, limit / 3, Decimal("0.00000001")] for n in range(40)])
    assert found.interval
    assert all(math.isfinite(end) for end in found.interval)
    certain = of([[limit + Decimal(n % 2) / 10**8] * 2 for n in range(400)])
    assert (certain.p_value or 1) > 0


def test_weeks_are_iso_weeks_and_add_up_to_the_same_mean() -> None:
    days = steady(60, mean=0.3, swing=0.5)
    weeks = clusters_of(days, Cluster.WEEK)
    assert [week.pairs for week in weeks] == [14] * 8 + [8]
    assert weeks[0].day == FIRST_DAY + timedelta(days=6)
    by_day, by_week = estimate(days), estimate(days, BY_WEEK)
    assert (by_week.clusters, by_week.days, by_week.pairs) == (9, 60, by_day.pairs)
    assert by_week.mean == by_day.mean


@given(pairs=st.lists(st.lists(differences, min_size=1, max_size=3), min_size=22, max_size=60))
def test_by_week_the_error_is_clustered_by_week(pairs: list[list[Decimal]]) -> None:
    found = estimate(days_of_differences(pairs), BY_WEEK)
    values = np.array([float(pair) for day in pairs for pair in day])
    groups = np.array([number // 7 for number, day in enumerate(pairs) for _ in day])
    fitted = sm.OLS(values, np.ones_like(values)).fit(cov_type="cluster", cov_kwds={"groups": groups})
    assert (found.standard_error or 0.0) == pytest.approx(float(fitted.bse[0]), rel=1e-6, abs=1e-9)


def test_new_years_days_of_one_iso_week_are_one_cluster() -> None:
    # 2026-12-28 to 2027-01-03 is week 53 of 2026
    first = FIRST_DAY.replace(month=12, day=28)
    days = [DayOfDifferences(first + timedelta(days=n), 1, Decimal(n)) for n in range(8)]
    assert [(week.pairs, week.difference) for week in clusters_of(days, Cluster.WEEK)] == [
        (7, Decimal(21)),
        (1, Decimal(7)),
    ]


def test_the_same_week_of_another_year_is_another_cluster() -> None:
    later = [DayOfDifferences(FIRST_DAY + timedelta(days=n), 1, Decimal(1)) for n in (0, 371)]
    assert later[1].day.isocalendar()[1] == 10
    assert len(clusters_of(later, Cluster.WEEK)) == 2
