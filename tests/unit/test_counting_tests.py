"""The tests that count: who wins more often, and whether the variant fits its share."""

import math
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from orchestrator.domain.vocabulary import Engine
from outcomes.domain.assignment_check import AssignmentCode, assignment_check, log_beta_binomial
from outcomes.domain.daily import DayOfAssignments, DayOfWins
from outcomes.domain.discordant import wins_more_often
from tests.days import FIRST_DAY


def exact_evidence(b: int, c: int) -> Fraction:
    """Return B(b + 1, c + 1) / 0.5^(b + c) in whole numbers: 2^n / ((n + 1) C(n, b))."""
    return Fraction(2 ** (b + c), (b + c + 1) * math.comb(b + c, b))


@given(only_a=st.integers(0, 400), only_b=st.integers(0, 400))
def test_the_evidence_for_winning_more_often_is_exact(only_a: int, only_b: int) -> None:
    found = wins_more_often([DayOfWins(FIRST_DAY, only_a, only_b)])
    assert found.e_value == pytest.approx(float(exact_evidence(only_a, only_b)), rel=1e-9)
    assert found.p_value == pytest.approx(min(1, 1 / found.e_value), rel=1e-9)


@given(only_a=st.integers(0, 300), only_b=st.integers(0, 300))
def test_it_never_claims_more_than_the_exact_test_of_one_look(only_a: int, only_b: int) -> None:
    once = mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue if only_a + only_b else 1.0
    assert wins_more_often([DayOfWins(FIRST_DAY, only_a, only_b)]).p_value >= once * (1 - 1e-9)


@given(tries=st.integers(1, 60))
def test_under_equal_chances_the_evidence_is_a_fair_bet(tries: int) -> None:
    assert sum(exact_evidence(b, tries - b) * Fraction(math.comb(tries, b), 2**tries) for b in range(tries + 1)) == 1


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


def test_evidence_once_reached_is_kept_and_the_present_one_shown() -> None:
    days = [DayOfWins(FIRST_DAY, 30, 5), DayOfWins(FIRST_DAY + timedelta(days=1), 0, 25)]
    found = wins_more_often(days)
    assert found.p_value == wins_more_often(days[:1]).p_value
    assert found.e_value < 1


def test_enormous_counts_stay_finite() -> None:
    found = wins_more_often([DayOfWins(FIRST_DAY, 5_000_000, 0)])
    assert math.isfinite(found.e_value)
    assert found.p_value > 0
    even = wins_more_often([DayOfWins(FIRST_DAY, 2_500_000, 2_500_000)])
    assert even.e_value == pytest.approx(math.sqrt(math.pi / (2 * 5_000_000)), rel=1e-6)


def of_share(share: int, *counts: tuple[int, int]) -> list[DayOfAssignments]:
    return [DayOfAssignments(FIRST_DAY + timedelta(days=n), share, a, b) for n, (a, b) in enumerate(counts)]


@pytest.mark.parametrize(
    ("counts", "concentration", "published"),
    [
        # The reference values that GrowthBook's tests hold its sequential test for sample ratio mismatch to, which is
        # Lindon & Malek's with a Dirichlet prior of this concentration around the intended shares.
        ((800, 200), 10_000, 8.126155715401769e-08),
        ((800, 200), 100, 2.253273013435552e-75),
        ((1100, 900), 10_000, 0.20685901461423034),
        ((1800, 1200), 10_000, 1.099173293697608e-06),
        ((2600, 1400), 10_000, 5.115536116778213e-23),
        ((1600, 1600), 10_000, 1.0),
    ],
)
def test_the_evidence_against_a_share_is_the_published_one(
    counts: tuple[int, int], concentration: int, published: float
) -> None:
    found = log_beta_binomial(*counts, share=0.5, prior=(concentration / 2, concentration / 2))
    assert min(1.0, math.exp(-found)) == pytest.approx(published, rel=1e-9)


@given(a=st.integers(0, 300), b=st.integers(0, 300), share=st.integers(1, 99))
def test_the_evidence_agrees_with_the_beta_binomial_of_scipy(a: int, b: int, share: int) -> None:
    expected = stats.betabinom.logpmf(a, a + b, 1, 1) - stats.binom.logpmf(a, a + b, share / 100)
    assert log_beta_binomial(a, b, share=share / 100) == pytest.approx(expected, rel=1e-9, abs=1e-8)


@given(tries=st.integers(1, 60), share=st.integers(1, 99))
def test_under_the_policy_the_evidence_is_a_fair_bet(tries: int, share: int) -> None:
    chance = Fraction(share, 100)
    expected = sum(
        math.exp(log_beta_binomial(a, tries - a, share=share / 100))
        * float(math.comb(tries, a) * chance**a * (1 - chance) ** (tries - a))
        for a in range(tries + 1)
    )
    assert expected == pytest.approx(1, rel=1e-9)


def test_expectations_are_summed_over_policy_versions() -> None:
    found = assignment_check([*of_share(20, (22, 78)), *of_share(80, (41, 9))])
    assert (found.code, found.variant_a, found.variant_b) == (AssignmentCode.FITS, 63, 87)
    assert (found.expected_a, found.expected_b) == (60.0, 90.0)


def test_faults_that_cancel_in_the_sum_are_found_all_the_same() -> None:
    # 50 of 100 where 20 were due and 50 of 100 where 80 were: altogether 100 of 100 expected.
    found = assignment_check([*of_share(20, (50, 50)), *of_share(80, (50, 50))])
    assert found.variant_a == found.expected_a == 100
    assert found.code is AssignmentCode.ALARM


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ([(7, 8)], AssignmentCode.TOO_FEW),
        ([(15, 0)], AssignmentCode.TOO_FEW),
        ([(8, 8)], AssignmentCode.FITS),
        ([(16, 0)], AssignmentCode.ALARM),
        ([(60, 40)], AssignmentCode.FITS),
        ([(75, 25)], AssignmentCode.ALARM),
        ([(75, 25), (25, 75)], AssignmentCode.ALARM),
    ],
)
def test_it_alarms_below_one_percent_and_with_eight_expected_for_each(
    counts: list[tuple[int, int]], code: AssignmentCode
) -> None:
    assert assignment_check(of_share(50, *counts)).code is code


@pytest.mark.parametrize("share", [0, 100])
def test_a_share_of_nothing_or_everything_is_an_invariant_and_not_a_test(share: int) -> None:
    right, wrong = ((0, 40), (1, 39)) if share == 0 else ((40, 0), (39, 1))
    kept = assignment_check(of_share(share, right))
    assert (kept.code, kept.certain, kept.p_value) == (AssignmentCode.INVARIANT_ONLY, 40, None)
    broken = assignment_check([*of_share(share, wrong), *of_share(50, (50, 50))])
    assert (broken.code, broken.misassigned) == (AssignmentCode.BROKEN, 1)


def test_a_day_that_ends_with_a_certain_share_is_looked_at_too() -> None:
    days = [
        *of_share(50, (90, 10)),
        DayOfAssignments(FIRST_DAY, 100, 5, 0),
        DayOfAssignments(FIRST_DAY + timedelta(days=1), 50, 10, 90),
    ]
    assert assignment_check(days).code is AssignmentCode.ALARM


def test_without_an_experiment_nothing_was_left_to_chance() -> None:
    assert assignment_check([]).code is AssignmentCode.INVARIANT_ONLY
