"""The paired comparison: against statsmodels, scipy and hand-computed values, and the promises a daily reader relies on."""

import math
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln

from orchestrator.domain.vocabulary import Engine
from outcomes.domain.comparison import (
    DayOfPairs,
    DayOfWins,
    Estimate,
    VerdictCode,
    estimate,
    half_width,
    log_e_value,
    mixture_scale,
    verdict,
    wins_more_often,
)

FIRST_DAY = date(2026, 3, 2)

differences = st.decimals(min_value=-100, max_value=100, places=4, allow_nan=False, allow_infinity=False)
pairs_by_day = st.lists(st.lists(differences, min_size=1, max_size=5), min_size=2, max_size=40)


def days_of(pairs: list[list[Decimal]]) -> list[DayOfPairs]:
    return [
        DayOfPairs(FIRST_DAY + timedelta(days=number), len(day), sum(day, Decimal(0)))
        for number, day in enumerate(pairs)
    ]


def steady(days: int, *, mean: float, swing: float) -> list[DayOfPairs]:
    """Return days of two pairs each whose difference swings around ``mean``."""
    return [
        DayOfPairs(FIRST_DAY + timedelta(days=n), 2, 2 * Decimal(str(mean + (swing if n % 2 else -swing))))
        for n in range(days)
    ]


def test_the_scale_of_the_mixture_is_the_published_formula() -> None:
    # -2 ln 0.05 = 5.991465, ln(1 + 5.991465) = 1.944689
    assert mixture_scale(alpha=0.05, horizon_days=100) == pytest.approx((5.9914645 + 1.9446903) / 100, rel=1e-6)


def test_the_half_width_after_fifty_days_is_the_one_computed_by_hand() -> None:
    # R = 1 + 50 * 0.0793616 = 4.96808, nu = 49, w = (2.22892 / 0.05)^(2/50) = 44.5784^0.04 = 1.16403
    # sqrt(49 * 0.16403 / (1 - 1.16403 / 4.96808)) = sqrt(8.0375 / 0.76570) = 3.2399
    assert half_width(1.0, days=50) == pytest.approx(3.2399, abs=2e-4)
    assert half_width(2.0, days=50) == pytest.approx(2 * 3.2399, abs=4e-4)


def test_the_interval_is_unbounded_while_there_are_too_few_days() -> None:
    assert half_width(1.0, days=2) is None
    found = estimate(days_of([[Decimal(1)], [Decimal(2)]]))
    assert (found.interval, found.reason) == (None, "Too few days: the interval is still unbounded.")


@given(days=st.integers(6, 2000), alpha=st.sampled_from([0.01, 0.05, 0.1]))
def test_the_evidence_reaches_one_in_alpha_exactly_at_the_edge_of_the_interval(days: int, alpha: float) -> None:
    width = half_width(1.0, days=days, alpha=alpha)
    if width is not None:
        assert log_e_value(width**2, days=days, alpha=alpha) == pytest.approx(-math.log(alpha), rel=1e-6)


@given(pairs=pairs_by_day)
def test_mean_and_clustered_error_agree_with_statsmodels(pairs: list[list[Decimal]]) -> None:
    found = estimate(days_of(pairs))
    values = np.array([float(pair) for day in pairs for pair in day])
    groups = np.array([number for number, day in enumerate(pairs) for _ in day])
    assert float(found.mean or 0) == pytest.approx(values.mean(), abs=1e-9)
    fitted = sm.OLS(values, np.ones_like(values)).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": True}
    )
    expected = float(fitted.bse[0]) if np.isfinite(fitted.bse[0]) else 0.0
    assert (found.standard_error or 0.0) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(pairs=pairs_by_day)
def test_exchanging_the_engines_turns_every_sign_and_nothing_else(pairs: list[list[Decimal]]) -> None:
    one, other = estimate(days_of(pairs)), estimate(days_of([[-pair for pair in day] for day in pairs]))
    assert one.mean == (None if other.mean is None else other.mean.copy_negate())
    assert (one.standard_error, one.p_value) == (other.standard_error, other.p_value)
    if one.interval and other.interval:
        assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]))


@given(pairs=pairs_by_day, more=st.integers(2, 1000))
def test_the_unit_of_money_does_not_change_the_evidence(pairs: list[list[Decimal]], more: int) -> None:
    one = estimate(days_of(pairs))
    scaled = estimate(days_of([[pair * more for pair in day] for day in pairs]))
    assert (one.p_value is None) == (scaled.p_value is None)
    if one.p_value is not None and scaled.p_value is not None:
        assert scaled.p_value == pytest.approx(one.p_value, rel=1e-9)


@given(pairs=pairs_by_day)
def test_the_p_value_only_falls_as_days_are_added(pairs: list[list[Decimal]]) -> None:
    days = days_of(pairs)
    values = [estimate(days[: number + 1]).p_value for number in range(len(days))]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=True)
    assert all(0 <= value <= 1 for value in known)


@given(value=differences, days=st.integers(2, 40), pairs=st.integers(1, 4))
def test_equal_differences_everywhere_measure_nothing(value: Decimal, days: int, pairs: int) -> None:
    found = estimate(days_of([[value] * pairs] * days))
    assert (found.standard_error, found.interval, found.p_value) == (None, None, None)
    assert found.mean == value
    assert found.reason == "Every day has the same mean difference; nothing varies."


def test_without_a_pair_everything_is_undefined_and_it_is_too_early() -> None:
    found = estimate([])
    assert found == Estimate(0, 0, None, None, None, None, "No pair is complete yet.")
    assert verdict(found, unit="R").code is VerdictCode.TOO_EARLY


@pytest.mark.parametrize(
    ("days", "pairs", "days_needed", "pairs_needed", "missing"),
    [
        (19, 2, 1, 0, "1 day to go"),
        (20, 1, 0, 10, "10 pairs to go"),
        (12, 2, 8, 6, "8 days and 6 pairs to go"),
    ],
)
def test_before_twenty_days_and_thirty_pairs_it_is_too_early_however_clear(
    days: int, pairs: int, days_needed: int, pairs_needed: int, missing: str
) -> None:
    clear = [DayOfPairs(FIRST_DAY + timedelta(days=n), pairs, pairs * (10 + Decimal(n % 2) / 100)) for n in range(days)]
    found = verdict(estimate(clear), unit="R")
    assert (found.code, found.days_needed, found.pairs_needed) == (VerdictCode.TOO_EARLY, days_needed, pairs_needed)
    assert found.sentence.endswith(f"so {missing}.")
    assert estimate(clear).p_value is None


@pytest.mark.parametrize(
    ("mean", "code", "beginning"),
    [
        (1.0, VerdictCode.A_BETTER, "Engine A is better: per signal engine A earned +1 R"),
        (-1.0, VerdictCode.B_BETTER, "Engine B is better: per signal engine A earned -1 R"),
        (0.01, VerdictCode.NOT_CLEAR, "No clear difference yet: per signal engine A earned +0.01 R"),
    ],
)
def test_the_verdict_follows_from_where_zero_lies(mean: float, code: VerdictCode, beginning: str) -> None:
    found = verdict(estimate(steady(40, mean=mean, swing=0.5)), unit="R")
    assert found.code is code
    assert found.sentence.startswith(beginning)


def test_equal_differences_are_said_not_to_be_measurable() -> None:
    found = verdict(estimate(days_of([[Decimal(0)] * 2] * 30)), unit="R")
    assert found.code is VerdictCode.NOT_MEASURABLE


def test_looking_every_day_at_equal_engines_rarely_alarms() -> None:
    generator = np.random.default_rng(7)
    alarms = 0
    for _ in range(400):
        noise = generator.standard_t(df=5, size=(120, 2)).round(6)
        days = [
            DayOfPairs(FIRST_DAY + timedelta(days=n), 2, Decimal(str(round(float(a + b), 6))))
            for n, (a, b) in enumerate(noise)
        ]
        p_value = estimate(days).p_value
        alarms += p_value is not None and p_value <= 0.05
    assert alarms / 400 <= 0.06


@given(only_a=st.integers(0, 500), only_b=st.integers(0, 500))
def test_the_evidence_for_winning_more_often_agrees_with_scipy(only_a: int, only_b: int) -> None:
    found = wins_more_often([DayOfWins(FIRST_DAY, only_a, only_b)])
    expected = betaln(only_a + 1, only_b + 1) + (only_a + only_b) * math.log(2)
    assert math.log(found.e_value) == pytest.approx(min(expected, 690.0), abs=1e-6)
    assert 0 <= found.p_value <= 1


def test_three_wins_to_none_are_the_evidence_computed_by_hand() -> None:
    # B(4, 1) / 0.5^3 = (3! 0! / 4!) * 8 = 2
    found = wins_more_often([DayOfWins(FIRST_DAY, 3, 0)])
    assert found.e_value == pytest.approx(2.0)
    assert found.p_value == pytest.approx(0.5)
    assert found.engine is None


def test_who_wins_more_often_is_named_when_the_evidence_suffices() -> None:
    assert wins_more_often([DayOfWins(FIRST_DAY, 30, 5)]).engine is Engine.A
    assert wins_more_often([DayOfWins(FIRST_DAY, 5, 30)]).engine is Engine.B
    assert wins_more_often([]).p_value == 1.0


def test_enormous_counts_stay_finite() -> None:
    found = wins_more_often([DayOfWins(FIRST_DAY, 5_000_000, 0)])
    assert math.isfinite(found.e_value)
    assert found.p_value > 0
