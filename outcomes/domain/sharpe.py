"""PURE: Sharpe ratios from exact sums, how far they may be off, and how long a record would have to be."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import sqrt

from outcomes.domain.daily import EXACT, Curve, DayOfTrades, TradeSums
from outcomes.domain.distributions import normal_cdf, normal_quantile
from outcomes.domain.moments import kurtosis, mean, skewness, spread_undefined, standard_deviation
from outcomes.domain.trading_days import number_of_days
from outcomes.domain.undefined import (
    ALL_EQUAL,
    NO_ERROR,
    NO_LOSSES,
    NO_TRADES,
    NOT_ABOVE_ZERO,
    ONE_TRADE,
    Undefined,
    UndefinedCode,
)

DAYS_PER_YEAR = 252
RISK_FREE_RATE = 0
FEWEST_DAYS = 20
CONFIDENCE = 0.95
NOISE = Decimal("1e-150")  # what is left of terms that cancel in 250 digits


@dataclass(frozen=True, slots=True)
class SharpeRatio:
    """Mean / standard deviation (ddof 1) of one series, and the standard error of that; both without unit."""

    value: float
    standard_error: float


def sharpe_ratio(sums: TradeSums) -> SharpeRatio | Undefined:
    """Return the Sharpe ratio per trade, risk-free rate 0, not annualised (Sharpe 1994).

    Its standard error allows for skew and fat tails: √((1 - γ₃ SR + (γ₄ - 1)/4 SR²)/(n - 1)) (Mertens 2002, Opdyke 2007).
    """
    undefined = spread_undefined(sums)
    if undefined:
        return undefined
    return _of(sums)


def annualised_sharpe_ratio(days: Sequence[DayOfTrades]) -> SharpeRatio | Undefined:
    """Return the Sharpe ratio of the daily P&L times √252; ``days`` in order, those without a trade count 0.

    Which days count is the rule of ``trading_days``. Both figures are annualised (Lo 2002, for independent days).
    """
    if not days:
        return NO_TRADES
    number = number_of_days([day.day for day in days])
    if number < FEWEST_DAYS:
        return Undefined(
            UndefinedCode.TOO_FEW_DAYS, f"{number} of the {FEWEST_DAYS} days that an annualised figure needs."
        )
    daily = _daily_sums(days, number)
    if daily.lowest == daily.highest:
        return ALL_EQUAL
    per_day = _of(daily)
    return SharpeRatio(per_day.value * sqrt(DAYS_PER_YEAR), per_day.standard_error * sqrt(DAYS_PER_YEAR))


def sortino_ratio(sums: TradeSums) -> float | Undefined:
    """Return mean / downside deviation per trade, target 0, not annualised.

    The downside deviation is √(Σ min(P&L, 0)² / n) over all n trades, the winning ones too (Sortino & Price 1994).
    """
    if sums.trades == 0:
        return NO_TRADES
    if not sums.losses:
        return NO_LOSSES
    if sums.trades == 1:
        return ONE_TRADE
    return float(EXACT.divide(mean(sums), EXACT.sqrt(EXACT.divide(sums.downside_squares, Decimal(sums.trades)))))


def standard_error(*, ratio: Decimal, skew: Decimal, kurt: Decimal, observations: int) -> float:
    """Return √((1 - γ₃ SR + (γ₄ - 1)/4 SR²)/(n - 1)), γ₄ not in excess (Mertens 2002, Opdyke 2007); ``observations`` ≥ 2.

    For samples of two values the terms cancel, so they are added exactly; the sum is never below 0 since γ₄ ≥ 1 + γ₃².
    """
    tails = EXACT.divide(EXACT.subtract(kurt, Decimal(1)), Decimal(4))
    variance = EXACT.fma(EXACT.multiply(ratio, ratio), tails, Decimal(1))
    variance = EXACT.subtract(variance, EXACT.multiply(skew, ratio))
    if variance <= NOISE:
        return 0.0
    return float(EXACT.sqrt(EXACT.divide(variance, Decimal(observations - 1))))


def probabilistic_sharpe_ratio(sharpe: SharpeRatio | Undefined, *, benchmark: float = 0.0) -> float | Undefined:
    """Return the probability that the true ratio is above ``benchmark``: Φ((SR - SR*) / SE) (Bailey & López de Prado 2012)."""
    if isinstance(sharpe, Undefined):
        return sharpe
    if not sharpe.standard_error:
        return NO_ERROR
    return normal_cdf((sharpe.value - benchmark) / sharpe.standard_error)


def minimum_track_record(
    sharpe: SharpeRatio | Undefined, *, observations: int, benchmark: float = 0.0, confidence: float = CONFIDENCE
) -> float | Undefined:
    """Return how many observations would show, one-sided at ``confidence``, that the true ratio is above ``benchmark``.

    1 + (1 - γ₃ SR + (γ₄ - 1)/4 SR²) (z / (SR - SR*))² (Bailey & López de Prado 2012), with the ratio and the shape that the
    ``observations`` so far have.
    """
    if isinstance(sharpe, Undefined):
        return sharpe
    if sharpe.value <= benchmark:
        return NOT_ABOVE_ZERO
    errors = sharpe.standard_error * normal_quantile(confidence) / (sharpe.value - benchmark)
    return 1 + (observations - 1) * errors**2


def _of(sums: TradeSums) -> SharpeRatio:
    """Return the ratio and its error for at least two results that are not all equal."""
    ratio = EXACT.divide(mean(sums), standard_deviation(sums))
    error = standard_error(ratio=ratio, skew=skewness(sums), kurt=kurtosis(sums), observations=sums.trades)
    return SharpeRatio(float(ratio), error)


def _daily_sums(days: Sequence[DayOfTrades], number: int) -> TradeSums:
    """Return the sums of the daily totals as if each day were one trade; days without a trade add only to the number."""
    totals = [day.sums.total for day in days] + ([Decimal(0)] if number > len(days) else [])
    powers = [Decimal(0)] * 3
    for total in totals:
        square = EXACT.multiply(total, total)
        terms = square, EXACT.multiply(square, total), EXACT.multiply(square, square)
        powers = [EXACT.add(power, term) for power, term in zip(powers, terms, strict=True)]
    whole = Decimal(0)
    for total in totals:
        whole = EXACT.add(whole, total)
    return TradeSums(
        trades=number,
        squares=powers[0],
        cubes=powers[1],
        fourths=powers[2],
        lowest=min(totals),
        highest=max(totals),
        curve=Curve(total=whole),
    )
