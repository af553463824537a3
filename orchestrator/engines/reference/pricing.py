"""What an option is worth: Black-Scholes-Merton for European options with a continuous dividend yield."""

from math import erfc, exp, log, sqrt

RATE = 0.02
DIVIDEND_YIELD = 0.015


def black_scholes(
    right: str,
    *,
    spot: float,
    strike: float,
    years: float,
    volatility: float,
    rate: float = RATE,
    dividend_yield: float = DIVIDEND_YIELD,
) -> float:
    """Return the value of one option on one share (Black and Scholes 1973, Merton 1973).

    :param right: CALL or PUT; ``spot`` and ``strike`` above 0, in the same currency; ``years`` to expiration, at least
        0; ``volatility``, ``rate`` and ``dividend_yield`` per year, 0.2 is 20 percent.
    """
    sign = 1 if right == "CALL" else -1
    forward, present_strike = spot * exp(-dividend_yield * years), strike * exp(-rate * years)
    deviation = volatility * sqrt(years)
    if deviation == 0:
        return max(0.0, sign * (forward - present_strike))
    d1 = log(forward / present_strike) / deviation + deviation / 2
    d2 = d1 - deviation
    return max(0.0, sign * (forward * _normal(sign * d1) - present_strike * _normal(sign * d2)))


def _normal(x: float) -> float:
    """Return the standard normal distribution's share below ``x``."""
    return erfc(-x / sqrt(2)) / 2
