"""The headline: one sentence, what is still needed, and never a verdict too early."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outcomes.domain.comparison import estimate
from outcomes.domain.confidence_sequence import half_width
from outcomes.domain.daily import DayOfDifferences
from outcomes.domain.distributions import normal_quantile
from outcomes.domain.planning import clusters_to_see, needed
from outcomes.domain.series import BY_DAY, BY_WEEK
from outcomes.domain.verdict import VerdictCode, verdict
from tests.days import FIRST_DAY, days_of_differences, steady


@pytest.mark.parametrize(
    ("days", "pairs", "days_needed", "pairs_needed", "missing"),
    [
        (19, 2, 1, 0, "so 1 day to go."),
        (20, 1, 0, 10, "so 10 complete pairs to go."),
        (12, 2, 8, 6, "so 8 days and 6 complete pairs to go."),
    ],
)
def test_before_twenty_days_and_thirty_pairs_it_is_too_early_however_clear(
    days: int, pairs: int, days_needed: int, pairs_needed: int, missing: str
) -> None:
    clear = days_of_differences([[10 + Decimal(n % 2) / 100] * pairs for n in range(days)])
    found = verdict(estimate(clear), unit="R")
    assert found.code is VerdictCode.TOO_EARLY
    assert (found.needed.clusters_for_a_verdict, found.needed.pairs_for_a_verdict) == (days_needed, pairs_needed)
    assert missing in found.sentence


def test_too_early_says_how_many_days_and_signals_the_smallest_difference_takes() -> None:
    # sd of a day's mean is 0.513 after 10 days of 2 pairs: the sentence projects that spread and pace.
    found = estimate(steady(10, mean=0.0, swing=0.5))
    missing = needed(found)
    whole = clusters_to_see((found.standard_error or 0) * 10**0.5, BY_DAY)
    assert whole is not None
    assert (missing.clusters_for_the_difference, missing.pairs_for_the_difference) == (whole - 10, 2 * (whole - 10))
    assert verdict(found, unit="R").sentence.endswith(
        f"At today's spread and pace, seeing a difference of 0.1 R per signal (80 % of the time) takes about {whole - 10} more "
        f"days and {2 * (whole - 10)} more signals."
    )


def test_without_a_pair_it_is_too_early_and_nothing_is_projected() -> None:
    found = verdict(estimate([]), unit="R")
    assert found.sentence == (
        "Too early to say: 0 complete pairs on 0 days so far; a first verdict needs 30 on 20 days, so 20 days and 30 complete "
        "pairs to go."
    )
    assert found.needed.clusters_for_the_difference is None


@given(deviation=st.floats(0.02, 3), difference=st.floats(0.05, 1))
def test_the_projection_is_the_first_day_on_which_the_difference_is_seen(deviation: float, difference: float) -> None:
    series = replace(BY_DAY, smallest_difference=difference)
    found = clusters_to_see(deviation, series)
    assert found is not None

    def reach(clusters: int) -> float:
        error = deviation / clusters**0.5
        width = half_width(error, clusters=clusters, alpha=series.alpha, horizon=series.horizon)
        return float("inf") if width is None else width + normal_quantile(0.8) * error

    assert reach(found) <= difference < reach(found - 1)


def test_what_no_lifetime_would_show_is_said_so() -> None:
    assert clusters_to_see(1000.0, BY_DAY) is None
    found = verdict(estimate(steady(40, mean=0, swing=1000)), unit="R")
    assert found.sentence.endswith("a difference of 0.1 R per signal could not be seen in any useful time.")


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
    assert "with 95 % confidence, however often one looks" in found.sentence


def test_a_verdict_that_was_clear_once_and_is_no_more_says_so() -> None:
    later = [DayOfDifferences(FIRST_DAY + timedelta(days=n), 2, Decimal(-4)) for n in range(40, 70)]
    found = verdict(estimate([*steady(40, mean=1, swing=0.5), *later]), unit="R")
    assert found.code is VerdictCode.NOT_CLEAR
    assert "On 2026-03-21 it had been clear and no longer is" in found.sentence


def test_equal_differences_are_said_not_to_be_measurable() -> None:
    found = verdict(estimate(days_of_differences([[Decimal(0)] * 2] * 30)), unit="R")
    assert found.code is VerdictCode.NOT_MEASURABLE
    assert found.sentence == "Not measurable: Every day has the same mean difference; nothing varies."


def test_by_week_a_verdict_needs_twenty_weeks() -> None:
    found = verdict(estimate(steady(7 * 19, mean=1, swing=0.5), BY_WEEK), unit="R")
    assert found.code is VerdictCode.TOO_EARLY
    assert "on 19 weeks so far; a first verdict needs 30 on 20 weeks, so 1 week to go." in found.sentence
    assert verdict(estimate(steady(7 * 20, mean=1, swing=0.5), BY_WEEK), unit="R").code is VerdictCode.A_BETTER
