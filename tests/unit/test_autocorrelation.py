"""Whether days resemble the day before: against statsmodels, and the advice that follows."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.tsa.stattools import acf

from outcomes.domain.autocorrelation import autocorrelation
from outcomes.domain.series import BY_WEEK
from outcomes.domain.undefined import Undefined, UndefinedCode
from tests.days import days_of_differences

whole = st.integers(-1000, 1000).map(Decimal)


@given(pairs=st.lists(st.lists(whole, min_size=1, max_size=3), min_size=20, max_size=60))
def test_it_is_the_autocorrelation_of_the_daily_sums(pairs: list[list[Decimal]]) -> None:
    found = autocorrelation(days_of_differences(pairs))
    sums = np.array([float(sum(day)) for day in pairs])
    if sums.max() == sums.min():
        assert isinstance(found.lag_1, Undefined)
        return
    assert found.lag_1 == pytest.approx(acf(sums, nlags=1, fft=False)[1], rel=1e-9, abs=1e-12)
    assert found.threshold == pytest.approx(1.96 / len(sums) ** 0.5, rel=1e-4)


def test_days_that_resemble_the_day_before_call_for_weeks_in_the_next_series() -> None:
    streaks = days_of_differences([[Decimal(1 if n // 8 % 2 else -1)] for n in range(64)])
    found = autocorrelation(streaks)
    assert found.advice
    assert "option by ISO week: start the next series with it" in found.advice


@pytest.mark.parametrize("sign", [-1, 0])
def test_days_that_alternate_or_are_unrelated_call_for_nothing(sign: int) -> None:
    generator = np.random.default_rng(3)
    values = [(-1) ** n for n in range(64)] if sign else generator.integers(-50, 50, 64).tolist()
    assert autocorrelation(days_of_differences([[Decimal(value)] for value in values])).advice is None


def test_too_few_days_and_equal_days_have_none() -> None:
    few = autocorrelation(days_of_differences([[Decimal(n)] for n in range(19)]))
    assert isinstance(few.lag_1, Undefined)
    assert few.lag_1.code is UndefinedCode.TOO_FEW_DAYS
    equal = autocorrelation(days_of_differences([[Decimal("0.1")]] * 30))
    assert isinstance(equal.lag_1, Undefined)
    assert equal.lag_1.code is UndefinedCode.NOTHING_VARIES


def test_a_small_wave_on_a_large_sum_keeps_its_digits() -> None:
    large = [[Decimal(10) ** 12 + Decimal(1 if n // 8 % 2 else -1) / 10**8] for n in range(64)]
    small = [[Decimal(1 if n // 8 % 2 else -1)] for n in range(64)]
    assert autocorrelation(days_of_differences(large)).lag_1 == pytest.approx(
        autocorrelation(days_of_differences(small)).lag_1
    )


def test_by_week_it_is_about_weeks() -> None:
    days = days_of_differences([[Decimal(n % 7)] for n in range(7 * 19)])
    found = autocorrelation(days, BY_WEEK)
    assert isinstance(found.lag_1, Undefined)
    assert found.lag_1.reason == "19 of the 20 weeks that it needs."
