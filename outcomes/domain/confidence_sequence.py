"""PURE: an interval for a mean that holds at all times at once, so that it may be read every morning.

A t-mixture: the likelihood ratio of "the mean is somewhere, normally spread around 0 in units of the deviation" to "it is 0",
which under no difference exceeds 1/alpha at any time with probability alpha at most (Robbins 1970; Lai 1976; with the
variance estimated: Lindon, Ham, Tingley & Bojinov 2022). The observations are sums of clusters: days or weeks.
"""

from functools import cache
from math import log, sqrt


@cache
def mixture_scale(*, alpha: float, horizon: int) -> float:
    """Return rho² that makes the interval tightest near ``horizon`` clusters (Waudby-Smith et al. 2021)."""
    return (-2 * log(alpha) + log(1 - 2 * log(alpha))) / horizon


def half_width(standard_error: float, *, clusters: int, alpha: float, horizon: int) -> float | None:
    """Return half the width of the interval after ``clusters`` (at least 1), None while it is unbounded.

    R = 1 + G rho², nu = G - 1, w = (√R / alpha)^(2/(nu + 1)): SE √(nu (w - 1)/(1 - w/R)), unbounded when w ≥ R.
    """
    freedom = clusters - 1
    growth = 1 + clusters * mixture_scale(alpha=alpha, horizon=horizon)
    reach = (sqrt(growth) / alpha) ** (2 / (freedom + 1))
    if freedom < 1 or reach >= growth:
        return None
    return standard_error * sqrt(freedom * (reach - 1) / (1 - reach / growth))


def log_e_value(t_squared: float, *, clusters: int, alpha: float, horizon: int) -> float:
    """Return the logarithm of the evidence against a mean of 0 after ``clusters`` (at least 2); t = mean / standard error.

    It reaches ln(1/alpha) exactly where the interval of ``half_width`` ends at 0.
    """
    freedom = clusters - 1
    growth = 1 + clusters * mixture_scale(alpha=alpha, horizon=horizon)
    ratio = (1 + t_squared / freedom) / (1 + t_squared / (freedom * growth))
    return (freedom + 1) / 2 * log(ratio) - log(growth) / 2
