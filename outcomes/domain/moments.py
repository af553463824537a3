"""PURE: mean, spread and shape of the P&L per trade from exact sums; nothing is rounded before the last division."""

from decimal import Decimal

from outcomes.domain.daily import EXACT, TradeSums
from outcomes.domain.undefined import ALL_EQUAL, NO_TRADES, ONE_TRADE, Undefined


def spread_undefined(sums: TradeSums) -> Undefined | None:
    """Return why the results have no spread, None when they have one.

    "All equal" is asked of the extremes: a computed deviation of equal numbers need not come out as exactly 0.
    """
    if sums.trades == 0:
        return NO_TRADES
    if sums.trades == 1:
        return ONE_TRADE
    return ALL_EQUAL if sums.lowest == sums.highest else None


def mean(sums: TradeSums) -> Decimal:
    """Return the average P&L of at least one trade, in currency."""
    return EXACT.divide(sums.total, Decimal(sums.trades))


def standard_deviation(sums: TradeSums) -> Decimal:
    """Return the standard deviation (ddof 1) of at least two trades that are not all equal, in currency."""
    trades = Decimal(sums.trades)
    return EXACT.sqrt(EXACT.divide(_second(sums), EXACT.multiply(trades, trades - 1)))


def skewness(sums: TradeSums) -> Decimal:
    """Return γ₃ = m₃ / m₂^(3/2) of at least two trades that are not all equal, m the central moments of the sample."""
    trades, second = Decimal(sums.trades), _second(sums)
    third = EXACT.multiply(EXACT.multiply(trades, trades), sums.cubes)
    third = EXACT.subtract(third, EXACT.multiply(EXACT.multiply(3 * trades, sums.total), sums.squares))
    third = EXACT.add(third, EXACT.multiply(Decimal(2), EXACT.power(sums.total, 3)))
    return EXACT.divide(third, EXACT.multiply(second, EXACT.sqrt(second)))


def kurtosis(sums: TradeSums) -> Decimal:
    """Return γ₄ = m₄ / m₂² of at least two trades that are not all equal; not in excess, so 3 for a normal distribution."""
    trades, second = Decimal(sums.trades), _second(sums)
    square = EXACT.multiply(sums.total, sums.total)
    fourth = EXACT.multiply(EXACT.power(trades, 3), sums.fourths)
    fourth = EXACT.subtract(fourth, EXACT.multiply(EXACT.multiply(4 * trades * trades, sums.total), sums.cubes))
    fourth = EXACT.add(fourth, EXACT.multiply(EXACT.multiply(6 * trades, square), sums.squares))
    fourth = EXACT.subtract(fourth, EXACT.multiply(Decimal(3), EXACT.multiply(square, square)))
    return EXACT.divide(fourth, EXACT.multiply(second, second))


def _second(sums: TradeSums) -> Decimal:
    """Return n² m₂ = n Σx² - (Σx)², exactly."""
    return EXACT.subtract(EXACT.multiply(Decimal(sums.trades), sums.squares), EXACT.multiply(sums.total, sums.total))
