"""The any-time-valid interval: the published formulas, written another way, and the limits that they must have."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outcomes.domain.confidence_sequence import half_width, log_e_value, mixture_scale

ALPHA, HORIZON = 0.05, 100


def width(clusters: int, *, alpha: float = ALPHA, horizon: int = HORIZON) -> float | None:
    return half_width(1.0, clusters=clusters, alpha=alpha, horizon=horizon)


def test_the_scale_of_the_mixture_is_the_published_formula() -> None:
    # Waudby-Smith et al. 2021: -2 ln 0.05 = 5.991465, ln(1 + 5.991465) = 1.944689
    assert mixture_scale(alpha=0.05, horizon=100) == pytest.approx((5.9914645 + 1.9446903) / 100, rel=1e-6)


def test_the_half_width_after_fifty_days_is_the_one_computed_by_hand() -> None:
    # R = 1 + 50 * 0.0793616 = 4.96808, nu = 49, w = (2.22892 / 0.05)^(2/50) = 44.5784^0.04 = 1.16403
    # sqrt(49 * 0.16403 / (1 - 1.16403 / 4.96808)) = sqrt(8.0375 / 0.76570) = 3.2399
    assert width(50) == pytest.approx(3.2399, abs=2e-4)
    assert half_width(2.0, clusters=50, alpha=ALPHA, horizon=HORIZON) == pytest.approx(2 * 3.2399, abs=4e-4)


@given(clusters=st.integers(2, 5000), alpha=st.floats(0.001, 0.5), horizon=st.integers(5, 1000))
def test_it_is_the_radius_that_the_authors_of_the_linear_model_publish(
    clusters: int, alpha: float, horizon: int
) -> None:
    # Lindon et al. 2022 write it with g = 1/rho² and T = g/(g + n):
    # √(nu (1 - (T α²)^(1/(nu+1))) / ((T α²)^(1/(nu+1)) - T)), infinite when the denominator is not above 0
    g, nu = 1 / mixture_scale(alpha=alpha, horizon=horizon), clusters - 1
    share = g / (g + clusters)
    power = (share * alpha**2) ** (1 / (nu + 1))
    found = width(clusters, alpha=alpha, horizon=horizon)
    if power - share <= 1e-12:
        assert found is None or found > 1e4
    else:
        assert found == pytest.approx(math.sqrt(nu * (1 - power) / (power - share)), rel=1e-6)


@given(clusters=st.integers(20_000, 10**6))
def test_with_many_clusters_it_is_the_normal_mixture_of_robbins(clusters: int) -> None:
    # With the variance known: √((1 + G rho²)/(G rho²) ln((1 + G rho²)/α²)), Robbins 1970
    scale = clusters * mixture_scale(alpha=ALPHA, horizon=HORIZON)
    assert width(clusters) == pytest.approx(math.sqrt((1 + scale) / scale * math.log((1 + scale) / ALPHA**2)), rel=1e-2)


def test_it_is_tightest_for_its_size_near_the_horizon() -> None:
    # Tuned elsewhere, the interval at day 100 of a long series is wider (known variance: the minimum is at the horizon).
    at_100 = {horizon: width(100, horizon=horizon) or math.inf for horizon in (20, 50, 100, 200, 1000)}
    assert min(at_100, key=at_100.__getitem__) in {50, 100}
    assert at_100[100] < at_100[1000]
    assert at_100[100] < at_100[20]


@given(alpha=st.sampled_from([0.01, 0.05, 0.1]))
def test_it_is_unbounded_at_first_and_bounded_for_good_from_some_day_on(alpha: float) -> None:
    bounded = [width(clusters, alpha=alpha) is not None for clusters in range(1, 400)]
    assert not any(bounded[:2])
    assert bounded == sorted(bounded)
    assert bounded[19]


@given(clusters=st.integers(6, 2000), alpha=st.sampled_from([0.01, 0.05, 0.1]))
def test_the_evidence_reaches_one_in_alpha_exactly_at_the_edge_of_the_interval(clusters: int, alpha: float) -> None:
    found = width(clusters, alpha=alpha)
    if found is not None:
        evidence = log_e_value(found**2, clusters=clusters, alpha=alpha, horizon=HORIZON)
        assert evidence == pytest.approx(-math.log(alpha), rel=1e-6)


def test_the_evidence_is_a_fair_bet_on_normal_differences() -> None:
    # Under no difference its expectation is 1 whatever the number of clusters: integrated over Student's t with nu freedom.
    for clusters in (5, 20, 60):
        nu = clusters - 1
        density = [
            (
                t,
                math.exp(math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2))
                / math.sqrt(nu * math.pi)
                * (1 + t * t / nu) ** (-(nu + 1) / 2),
            )
            for t in (step / 100 for step in range(-20_000, 20_001))
        ]
        expected = (
            sum(math.exp(log_e_value(t * t, clusters=clusters, alpha=ALPHA, horizon=HORIZON)) * p for t, p in density)
            / 100
        )
        assert expected == pytest.approx(1.0, abs=0.02 if clusters == 5 else 1e-3)
