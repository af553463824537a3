"""PURE: does a day resemble the day before? If so, days are not independent, and the interval by days is too narrow."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from math import sqrt

from outcomes.domain.daily import EXACT, DayOfDifferences
from outcomes.domain.series import BY_DAY, Cluster, Series, clusters_of
from outcomes.domain.undefined import Undefined, UndefinedCode

Z = 1.959963984540054  # 95 %, two-sided


@dataclass(frozen=True, slots=True)
class Autocorrelation:
    """The lag-1 autocorrelation of the sums of clusters, -1 to 1.

    ``threshold`` is what independent clusters stay within 95 times in 100; ``advice`` is None while nothing speaks against the
    chosen cluster.
    """

    lag_1: float | Undefined
    threshold: float | None
    advice: str | None


def autocorrelation(days: Sequence[DayOfDifferences], series: Series = BY_DAY) -> Autocorrelation:
    """Return Σ (S_t - S̄)(S_t+1 - S̄) / Σ (S_t - S̄)² over successive clusters with pairs; ``days`` are in order.

    Independent clusters stay within ±1.96/√G (Bartlett 1946). Only a positive value makes the interval too narrow.
    """
    sums = [cluster.difference for cluster in clusters_of(days, series.cluster)]
    noun = series.cluster.noun
    if len(sums) < series.fewest_clusters:
        reason = f"{len(sums)} of the {series.fewest_clusters} {noun}s that it needs."
        return Autocorrelation(Undefined(UndefinedCode.TOO_FEW_DAYS, reason), None, None)
    number, total = Decimal(len(sums)), Decimal(0)
    for value in sums:
        total = EXACT.add(total, value)
    around = [float(EXACT.subtract(EXACT.multiply(number, value), total)) for value in sums]
    largest = max(abs(value) for value in around)
    if not largest:
        reason = f"Every {noun} has the same sum; nothing varies."
        return Autocorrelation(Undefined(UndefinedCode.NOTHING_VARIES, reason), None, None)
    around = [value / largest for value in around]
    products = sum(one * following for one, following in pairwise(around))
    lag_1 = products / sum(value * value for value in around)
    threshold = Z / sqrt(len(sums))
    return Autocorrelation(lag_1, threshold, _advice(series.cluster) if lag_1 > threshold else None)


def _advice(cluster: Cluster) -> str:
    if cluster is Cluster.DAY:
        return (
            "Days resemble the day before, so the interval by days is too narrow and its verdict too bold. The honest choice is "
            "the option by ISO week: start the next series with it. To change it for this one would be choosing after looking."
        )
    return "Weeks resemble the week before, so even the interval by weeks is too narrow; take its verdict with caution."
