"""PURE: the distributions that the statistics need, in the standard library alone and accurate to 10 digits or better."""

from math import erfc, exp, inf, lgamma, log, log1p, pi, sqrt, tan
from statistics import NormalDist

_STANDARD = NormalDist()
_EXPANDED_FROM = 100_000  # degrees of freedom from which Student's t is expanded around the normal distribution
_STIRLING_FROM = 20.0
_PRECISION = 3e-16
_ALMOST_THERE = 1e-9  # one more step of Newton's method squares the error
_TINY = 1e-300
_MOST_STEPS = 10_000


def normal_cdf(value: float) -> float:
    """Return the probability that a standard normal variable is at most ``value``, exact in the lower tail too."""
    return erfc(-value / sqrt(2)) / 2


def normal_quantile(probability: float) -> float:
    """Return the standard normal quantile; ``probability`` strictly between 0 and 1 (Wichura 1988)."""
    return _STANDARD.inv_cdf(probability)


def student_t_quantile(probability: float, freedom: int) -> float:
    """Return the quantile of Student's t; ``probability`` strictly between 0 and 1, ``freedom`` at least 1.

    :raises ValueError: outside these ranges.
    """
    if not (0 < probability < 1 and freedom >= 1):
        raise ValueError(f"no quantile for probability {probability} with {freedom} degrees of freedom")
    if probability < 1 / 2:
        return -_upper_quantile(probability, freedom)
    return _upper_quantile(1 - probability, freedom)


def student_t_upper_tail(value: float, freedom: int) -> float:
    """Return the probability that Student's t is above ``value``, by the incomplete beta function."""
    if value < 0:
        return 1 - student_t_upper_tail(-value, freedom)
    square = value * value
    half = freedom / 2
    # x^a (1-x)^b / B(a, b) with x = freedom / (freedom + t^2), a = freedom / 2, b = 1 / 2
    log_front = _log_gamma_step(half) - log(pi) / 2 - half * log1p(square / freedom)
    inside = square / (freedom + square)
    log_front += log(inside) / 2 if inside else -inf
    if inside < 1.5 / (half + 2.5):
        return 0.5 - exp(log_front) * _continued_fraction(inside, 0.5, half)
    return exp(log_front) * _continued_fraction(freedom / (freedom + square), half, 0.5) / freedom


def log_beta(one: float, other: float) -> float:
    """Return ln B(one, other) for positive arguments, without the loss that differences of large lgamma() values bring.

    Stirling's series with the large parts cancelled beforehand, as Didonato & Morris 1992 do.
    """
    small, large = min(one, other), max(one, other)
    if large < _STIRLING_FROM:
        return lgamma(small) + lgamma(large) - lgamma(small + large)
    share = small / (small + large)
    if small < _STIRLING_FROM:
        difference = _stirling_rest(large) - _stirling_rest(small + large)
        return lgamma(small) + difference - (large - 0.5) * log1p(small / large) - small * log(small + large) + small
    rest = _stirling_rest(small) + _stirling_rest(large) - _stirling_rest(small + large)
    return (small - 0.5) * log(share) + large * log1p(-share) - log(large) / 2 + log(2 * pi) / 2 + rest


def _upper_quantile(tail: float, freedom: int) -> float:
    """Return t with this probability (at most 1/2) above it."""
    if tail == 1 / 2:
        return 0.0
    if freedom == 1:
        return 1 / tan(pi * tail)
    if freedom == 2:  # noqa: PLR2004 - the closed form
        return (1 - 2 * tail) / sqrt(2 * tail * (1 - tail))
    if freedom >= _EXPANDED_FROM:
        return _expanded(-normal_quantile(tail), freedom)
    return _newton(tail, freedom)


def _newton(tail: float, freedom: int) -> float:
    """Solve for the quantile: in logarithms, where a heavy tail is nearly straight, and plainly near the middle."""
    in_logs = tail < 1 / 4
    value = max(_expanded(-normal_quantile(tail), freedom), 0.5) if in_logs else 0.0
    log_density_at_zero = _log_gamma_step(freedom / 2) - log(pi * freedom) / 2
    for _ in range(_MOST_STEPS):
        found = student_t_upper_tail(value, freedom)
        density = exp(log_density_at_zero - (freedom + 1) / 2 * log1p(value * value / freedom))
        before = value
        value = (
            value * exp(log(found / tail) * found / (density * value)) if in_logs else value + (found - tail) / density
        )
        if abs(value - before) <= _ALMOST_THERE * value:
            break
    return value


def _expanded(z: float, freedom: int) -> float:
    """Return the quantile from that of the normal distribution (Fisher & Cornish 1960; Abramowitz & Stegun 26.7.5)."""
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, start=1))


def _log_gamma_step(value: float) -> float:
    """Return ln Γ(value + 1/2) - ln Γ(value)."""
    if value < _STIRLING_FROM:
        return lgamma(value + 0.5) - lgamma(value)
    inverse = 1 / value
    square = inverse * inverse
    series = -1 / 8 + square * (1 / 192 + square * (-1 / 640 + square * (17 / 14336 - square * 31 / 18432)))
    return log(value) / 2 + inverse * series


def _stirling_rest(value: float) -> float:
    """Return ln Γ(value) less Stirling's formula, for 20 and above."""
    inverse = 1 / value
    square = inverse * inverse
    return inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188))))


def _continued_fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of the incomplete beta function, by Lentz's method (Press et al. 2007, 6.4).

    It converges fast for x below (a + 1)/(a + b + 2).
    """
    numerator, denominator = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    value = denominator
    for step in range(1, _MOST_STEPS):
        twice = 2 * step
        for factor in (
            step * (b - step) * x / ((a + twice - 1) * (a + twice)),
            -(a + step) * (a + b + step) * x / ((a + twice) * (a + twice + 1)),
        ):
            denominator = 1 / _not_zero(1 + factor * denominator)
            numerator = _not_zero(1 + factor / numerator)
            change = numerator * denominator
            value *= change
        if abs(change - 1) < _PRECISION:
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
