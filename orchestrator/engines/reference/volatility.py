"""How much a price is assumed to move, from the little that an engine has seen; flat for the life of a contract."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from math import log, pi, sqrt

from orchestrator.engines.reference.alerts import SeenPrice

ASSUMED = 0.20
LOWEST, HIGHEST = 0.10, 1.00
TRADING_DAYS = 252
FEWEST_RETURNS = 4
YEAR = timedelta(days=365)


def volatility_from_range(atr: Decimal | None, price: Decimal) -> float:
    """Return the yearly volatility that an average true range of a *daily* bar implies; 0.20 without one.

    The expected range of a Brownian day is sqrt(8 / pi) standard deviations (Parkinson 1980).
    """
    if atr is None or atr <= 0:
        return ASSUMED
    return _within_reason(float(atr / price) / sqrt(8 / pi) * sqrt(TRADING_DAYS))


def volatility_from_history(seen: Sequence[SeenPrice]) -> float:
    """Return the yearly volatility of the prices seen; 0.20 with fewer than four returns.

    Each squared log return is spread over the time it took, whatever that was.
    """
    variances = [
        log(float(now.price / before.price)) ** 2 / ((now.at - before.at) / YEAR)
        for before, now in pairwise(seen)
        if now.at > before.at
    ]
    if len(variances) < FEWEST_RETURNS:
        return ASSUMED
    return _within_reason(sqrt(sum(variances) / len(variances)))


def _within_reason(volatility: float) -> float:
    return round(min(HIGHEST, max(LOWEST, volatility)), 4)
