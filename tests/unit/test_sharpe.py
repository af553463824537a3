"""Sharpe ratios: the examples of the papers that the formulas come from, and the daily series."""

import math
from datetime import date, timedelta
from decimal import Decimal

import empyrical
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from outcomes.domain.sharpe import (
    SharpeRatio,
    annualised_sharpe_ratio,
    minimum_track_record,
    probabilistic_sharpe_ratio,
    standard_error,
)
from outcomes.domain.trading_days import number_of_days, weekdays_between
from outcomes.domain.undefined import NO_ERROR, NOT_ABOVE_ZERO, Undefined, UndefinedCode
from tests.days import FIRST_DAY, days_of_trades

NORMAL = (0.0, 3.0)


def estimated(ratio: float, *, shape: tuple[float, float], observations: int) -> SharpeRatio:
    skew, kurt = (Decimal(value) for value in shape)
    return SharpeRatio(ratio, standard_error(ratio=Decimal(ratio), skew=skew, kurt=kurt, observations=observations))


@pytest.mark.parametrize(
    ("shape", "published"),
    [
        # Bailey & López de Prado 2012, 2 years of monthly returns, Sharpe ratio 0.458 (1.59 a year)
        (NORMAL, 0.982),
        ((-2.448, 10.164), 0.913),
    ],
)
def test_the_probabilistic_sharpe_ratio_of_the_paper(shape: tuple[float, float], published: float) -> None:
    found = probabilistic_sharpe_ratio(estimated(0.458, shape=shape, observations=24))
    assert found == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize(
    ("per_year", "shape", "published"),
    [
        # The same paper: years that a Sharpe ratio of 2 a year needs to be shown above 1, daily, weekly and monthly
        (250, NORMAL, 2.73),
        (52, NORMAL, 2.83),
        (12, NORMAL, 3.24),
        (12, (-0.72, 5.78), 4.99),
    ],
)
def test_the_minimum_track_record_length_of_the_paper(
    per_year: int, shape: tuple[float, float], published: float
) -> None:
    sharpe = estimated(2 / math.sqrt(per_year), shape=shape, observations=60)
    found = minimum_track_record(sharpe, observations=60, benchmark=1 / math.sqrt(per_year))
    assert isinstance(found, float)
    assert found / per_year == pytest.approx(published, abs=5e-3)


def test_with_the_minimum_track_record_the_probability_is_the_confidence() -> None:
    now = estimated(0.15, shape=(-1.1, 7.0), observations=50)
    needed = minimum_track_record(now, observations=50)
    assert isinstance(needed, float)
    later = SharpeRatio(0.15, now.standard_error * math.sqrt(49 / (needed - 1)))
    assert probabilistic_sharpe_ratio(later) == pytest.approx(0.95, rel=1e-9)


def test_for_normal_results_the_error_is_that_of_lo() -> None:
    # Lo 2002: √((1 + SR²/2)/n); here with n - 1
    found = standard_error(ratio=Decimal("0.5"), skew=Decimal(0), kurt=Decimal(3), observations=101)
    assert found == pytest.approx(math.sqrt((1 + 0.125) / 100), rel=1e-12)


def test_a_two_valued_shape_may_leave_no_error() -> None:
    # γ₄ = 1 + γ₃² and SR = 2/γ₃ make the terms cancel
    found = estimated(1.0, shape=(2.0, 5.0), observations=10)
    assert found.standard_error == 0
    assert probabilistic_sharpe_ratio(found) is NO_ERROR


@pytest.mark.parametrize("ratio", [0.0, -0.3])
def test_no_record_is_long_enough_for_a_ratio_that_is_not_above_zero(ratio: float) -> None:
    assert minimum_track_record(SharpeRatio(ratio, 0.1), observations=9) is NOT_ABOVE_ZERO


@given(first=st.dates(date(1990, 1, 1), date(2035, 12, 31)), days=st.integers(0, 2000))
def test_weekdays_are_counted_as_pandas_counts_business_days(first: date, days: int) -> None:
    last = first + timedelta(days=days)
    assert weekdays_between(first, last) == len(pd.bdate_range(first, last))


def test_weekend_days_count_only_with_a_trade() -> None:
    friday = date(2026, 3, 6)
    assert number_of_days([friday, friday + timedelta(days=3)]) == 2
    assert number_of_days([friday, friday + timedelta(days=1), friday + timedelta(days=3)]) == 3
    assert number_of_days([friday + timedelta(days=1)]) == 1


@given(pnls=st.dictionaries(st.integers(0, 80), st.integers(-500, 500), min_size=2, max_size=50))
def test_the_annualised_ratio_agrees_with_pandas_and_empyrical_on_the_daily_series(pnls: dict[int, int]) -> None:
    days = {FIRST_DAY + timedelta(days=number): Decimal(pnl) for number, pnl in pnls.items()}
    found = annualised_sharpe_ratio(days_of_trades({day: [pnl] for day, pnl in days.items()}))
    calendar = pd.bdate_range(min(days), max(days)).union(pd.DatetimeIndex(sorted(days)))
    series = pd.Series({pd.Timestamp(day): float(pnl) for day, pnl in days.items()}).reindex(calendar, fill_value=0.0)
    if len(series) < 20:
        assert isinstance(found, Undefined)
        assert found.code is UndefinedCode.TOO_FEW_DAYS
        return
    if series.max() == series.min():
        assert isinstance(found, Undefined)
        assert found.code is UndefinedCode.ALL_EQUAL
        return
    assert isinstance(found, SharpeRatio)
    assert found.value == pytest.approx(empyrical.sharpe_ratio(series, period="daily"), rel=1e-9, abs=1e-12)
    per_day, skew, kurt = found.value / math.sqrt(252), stats.skew(series), stats.kurtosis(series, fisher=False)
    variance = max(1 - skew * per_day + (kurt - 1) / 4 * per_day**2, 0) / (len(series) - 1)
    assert found.standard_error == pytest.approx(math.sqrt(252 * variance), rel=1e-6, abs=1e-7)


def test_days_without_a_trade_lower_the_annualised_ratio() -> None:
    busy = {
        FIRST_DAY + timedelta(days=7 * (number // 5) + number % 5): [Decimal(10 + number % 3)] for number in range(20)
    }
    found = annualised_sharpe_ratio(days_of_trades(busy))
    last = max(busy)
    quiet = annualised_sharpe_ratio(days_of_trades({**busy, last + timedelta(days=140): [Decimal(11)]}))
    assert isinstance(found, SharpeRatio)
    assert isinstance(quiet, SharpeRatio)
    assert quiet.value < found.value / 5
