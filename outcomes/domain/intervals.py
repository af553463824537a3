"""PURE: how far a share and an average may be off: ordinary 95 % intervals, meant for one look at independent results."""

from decimal import Decimal
from math import sqrt

from outcomes.domain.daily import EXACT, TradeSums
from outcomes.domain.distributions import normal_quantile, student_t_quantile
from outcomes.domain.moments import mean, spread_undefined, standard_deviation
from outcomes.domain.undefined import Undefined

CONFIDENCE = 0.95


def wilson_interval(*, hits: int, tries: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the interval of a share, inside 0 to 1 (Wilson 1927); ``tries`` at least 1."""
    z = normal_quantile((1 + confidence) / 2)
    share = hits / tries
    shrunk = z * z / tries
    centre = share + shrunk / 2
    width = z * sqrt((share * (1 - share) + shrunk / 4) / tries)
    low, high = (centre - width) / (1 + shrunk), (centre + width) / (1 + shrunk)
    # Exactly 0 and 1 by the formula, but not by floating-point numbers.
    return 0.0 if hits == 0 else max(low, 0.0), 1.0 if hits == tries else min(high, 1.0)


def average_interval(sums: TradeSums, *, confidence: float = CONFIDENCE) -> tuple[Decimal, Decimal] | Undefined:
    """Return the interval of the average P&L in currency: mean ± t(n - 1) × sd / √n (Student 1908)."""
    undefined = spread_undefined(sums)
    if undefined:
        return undefined
    factor = Decimal(student_t_quantile((1 + confidence) / 2, sums.trades - 1))
    error = EXACT.divide(standard_deviation(sums), EXACT.sqrt(Decimal(sums.trades)))
    width, centre = EXACT.multiply(factor, error), mean(sums)
    return EXACT.subtract(centre, width), EXACT.add(centre, width)
