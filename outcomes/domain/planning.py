"""PURE: how much longer it takes to see a difference, if the days to come are like those so far."""

from dataclasses import dataclass
from math import ceil, sqrt

from outcomes.domain.comparison import Estimate
from outcomes.domain.confidence_sequence import half_width
from outcomes.domain.distributions import normal_quantile
from outcomes.domain.series import Series

MOST_CLUSTERS = 100_000


@dataclass(frozen=True, slots=True)
class Needed:
    """What is missing, in clusters (days or weeks on which a pair completes) and in complete pairs.

    ``..._for_a_verdict``: before any verdict is given. ``..._for_the_difference``: before a true difference of
    ``smallest_difference`` is seen with probability ``power``; None while the spread is not known, or when no lifetime
    would suffice.
    """

    clusters_for_a_verdict: int
    pairs_for_a_verdict: int
    smallest_difference: float
    power: float
    clusters_for_the_difference: int | None
    pairs_for_the_difference: int | None


def needed(found: Estimate) -> Needed:
    """Return what ``found``, an estimate in R, still lacks."""
    series = found.series
    clusters = max(0, series.fewest_clusters - found.clusters)
    pairs = max(0, series.fewest_pairs - found.pairs)
    more = more_pairs = None
    if found.standard_error is not None:
        whole = clusters_to_see(found.standard_error * sqrt(found.clusters), series)
        if whole is not None:
            more = max(whole - found.clusters, clusters)
            more_pairs = max(ceil(more * found.pairs / found.clusters), pairs)
    return Needed(clusters, pairs, series.smallest_difference, series.power, more, more_pairs)


def clusters_to_see(deviation: float, series: Series) -> int | None:
    """Return after how many clusters a true difference of ``series.smallest_difference`` is seen.

    It is seen when the interval, off its mark by as much as ``series.power`` allows, excludes 0: half width + z SE is at most
    the difference, SE = ``deviation`` / √G. None when that takes more than 100,000 clusters.
    """

    def seen(clusters: int) -> bool:
        error = deviation / sqrt(clusters)
        width = half_width(error, clusters=clusters, alpha=series.alpha, horizon=series.horizon)
        return width is not None and width + normal_quantile(series.power) * error <= series.smallest_difference

    if not seen(MOST_CLUSTERS):
        return None
    low, high = 1, MOST_CLUSTERS
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if seen(middle) else (middle + 1, high)
    return low
