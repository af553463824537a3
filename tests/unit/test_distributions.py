"""The distributions: against scipy, and against integers where scipy itself is off."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from outcomes.domain.distributions import (
    log_beta,
    normal_cdf,
    normal_quantile,
    student_t_quantile,
    student_t_upper_tail,
)

FREEDOM = (1, 2, 3, 4, 5, 7, 10, 19, 29, 30, 99, 365, 1000, 20_000, 99_999, 100_000, 10**6, 5 * 10**6, 10**9)
PROBABILITIES = (0.501, 0.55, 0.6, 0.74, 0.75, 0.76, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9995, 0.999999, 1 - 1e-9)


@pytest.mark.parametrize("freedom", FREEDOM)
def test_quantiles_of_student_agree_with_scipy(freedom: int) -> None:
    for probability in PROBABILITIES:
        expected = stats.t.ppf(probability, freedom)
        assert student_t_quantile(probability, freedom) == pytest.approx(expected, rel=1e-9)
        assert student_t_quantile(1 - probability, freedom) == pytest.approx(
            stats.t.ppf(1 - probability, freedom), rel=1e-9
        )


@given(value=st.floats(-60, 60), freedom=st.integers(1, 5000))
def test_tails_of_student_agree_with_scipy(value: float, freedom: int) -> None:
    assert student_t_upper_tail(value, freedom) == pytest.approx(stats.t.sf(value, freedom), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("freedom", [38, 39, 40, 41, 42, 60, 1000])
def test_where_stirlings_series_takes_over_no_digit_is_lost(freedom: int) -> None:
    for value in (0.3, 1.0, 2.5, 6.0, 30.0):
        assert student_t_upper_tail(value, freedom) == pytest.approx(stats.t.sf(value, freedom), rel=1e-12)


@given(probability=st.floats(1e-12, 0.999999), freedom=st.integers(1, 99_999))
def test_a_quantile_has_the_probability_that_was_asked_for(probability: float, freedom: int) -> None:
    assert 1 - student_t_upper_tail(student_t_quantile(probability, freedom), freedom) == pytest.approx(
        probability, abs=1e-12
    )


def test_near_the_middle_a_quantile_is_the_distance_over_the_density() -> None:
    # With 4 degrees of freedom the density at 0 is exactly 3/8; scipy 1.17 is off by 4e-5 here.
    assert student_t_quantile(0.5 + 1e-6, 4) == pytest.approx(1e-6 / 0.375, rel=1e-9)
    assert student_t_quantile(0.5, 7) == 0


@pytest.mark.parametrize(("probability", "freedom"), [(0, 5), (1, 5), (-0.1, 5), (0.9, 0), (math.nan, 3)])
def test_a_senseless_quantile_is_refused(probability: float, freedom: int) -> None:
    with pytest.raises(ValueError, match="no quantile"):
        student_t_quantile(probability, freedom)


@given(value=st.floats(-37, 37))
def test_the_normal_distribution_agrees_with_scipy(value: float) -> None:
    assert normal_cdf(value) == pytest.approx(stats.norm.cdf(value), rel=1e-9)
    if 1e-12 < normal_cdf(value) < 1 - 1e-12:
        assert normal_quantile(normal_cdf(value)) == pytest.approx(value, rel=1e-4, abs=1e-9)


@given(one=st.integers(1, 3000), other=st.integers(1, 3000))
def test_the_beta_function_of_integers_is_exact(one: int, other: int) -> None:
    # 1 / B(m, n) = n C(m + n - 1, n)
    exact = Fraction(1, other * math.comb(one + other - 1, other))
    expected = math.log(exact.numerator) - math.log(exact.denominator)
    assert log_beta(one, other) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(one=st.floats(0.01, 1e7), other=st.floats(0.01, 1e7))
def test_the_beta_function_agrees_with_scipy(one: float, other: float) -> None:
    assert log_beta(one, other) == pytest.approx(special.betaln(one, other), rel=1e-9, abs=1e-7)
