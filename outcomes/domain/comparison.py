"""PURE: is engine A better than engine B, and how sure may we be? A paired comparison that stays honest under daily looks.

Every experiment is one pair: the result of A minus the result of B on one fill basis. Pairs that complete on one day share
that day's market, so days (or weeks), not pairs, count as independent.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from math import exp, sqrt

from outcomes.domain.confidence_sequence import half_width, log_e_value
from outcomes.domain.daily import EXACT, DayOfDifferences
from outcomes.domain.series import BY_DAY, Series, clusters_of
from outcomes.domain.undefined import NO_PAIRS, Undefined, UndefinedCode

LARGEST_LOG = 690.0  # exp() of it is still a finite float


@dataclass(frozen=True, slots=True)
class Moment:
    """The comparison as it stood after the cluster that ended on ``day``: the mean difference per pair, A minus B.

    ``error`` is None while nothing varies; ``low`` and ``high`` are None while the interval is unbounded; ``enough`` says
    whether there were clusters and pairs enough for a verdict; ``p_value`` is the smallest since then, None before.
    """

    day: date
    clusters: int
    pairs: int
    mean: float
    error: float | None
    low: float | None
    high: float | None
    p_value: float | None
    enough: bool

    @property
    def clear(self) -> bool:
        """Whether there was enough for a verdict, and the interval excluded 0."""
        return self.enough and self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean difference per signal, A minus B, in the unit of its days; what is None is undefined, and why stands there.

    ``clear_since`` is the day from which on the interval has excluded 0 without a break, ``first_clear`` the first on
    which it did; both only count days with clusters and pairs enough for a verdict.
    """

    series: Series
    clusters: int
    days: int
    pairs: int
    mean: Decimal | None
    standard_error: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    first_clear: date | None
    clear_since: date | None
    undefined: Undefined | None


def history(days: Sequence[DayOfDifferences], series: Series = BY_DAY) -> list[Moment]:
    """Return the comparison after each cluster; ``days`` are in order, one entry a day, each with at least one pair."""
    return list(_moments(clusters_of(days, series.cluster), series))


def estimate(days: Sequence[DayOfDifferences], series: Series = BY_DAY) -> Estimate:
    """Return the mean difference per signal over ``days`` (in order, one entry a day, each with at least one pair)."""
    moments = history(days, series)
    if not moments:
        return Estimate(series, 0, 0, 0, None, None, None, None, None, None, NO_PAIRS)
    now = moments[-1]
    first_clear, clear_since = _clear(moments)
    return Estimate(
        series=series,
        clusters=now.clusters,
        days=len(days),
        pairs=now.pairs,
        mean=_mean(days),
        standard_error=now.error,
        interval=None if now.low is None or now.high is None else (now.low, now.high),
        p_value=now.p_value,
        first_clear=first_clear,
        clear_since=clear_since,
        undefined=_undefined(now, series),
    )


def _moments(clusters: Sequence[DayOfDifferences], series: Series) -> Iterator[Moment]:
    """Yield the mean and its clustered standard error after each cluster, in one pass over exact sums.

    SE² = G/(G-1) × Σ (S - n D̄)² / N² over clusters, S a cluster's sum and n its number of pairs (Liang & Zeger 1986, with
    the usual factor for few clusters). The sum of squares is taken times N², which keeps it exact, so that no spread at
    all is told from a small one.
    """
    pairs = 0
    total = squares = products = counts = Decimal(0)
    strongest = 0.0
    for number, cluster in enumerate(clusters, start=1):
        size = Decimal(cluster.pairs)
        pairs += cluster.pairs
        total = EXACT.add(total, cluster.difference)
        squares = EXACT.fma(cluster.difference, cluster.difference, squares)
        products = EXACT.fma(size, cluster.difference, products)
        counts = EXACT.fma(size, size, counts)
        mean = float(total) / pairs
        enough = number >= series.fewest_clusters and pairs >= series.fewest_pairs
        spread = _spread(Decimal(pairs), total, squares, products, counts)
        error = sqrt(spread * number / (number - 1)) / pairs**2 if number > 1 and spread > 0 else None
        width = None
        if error is not None:
            width = half_width(error, clusters=number, alpha=series.alpha, horizon=series.horizon)
            if enough:
                evidence = log_e_value((mean / error) ** 2, clusters=number, alpha=series.alpha, horizon=series.horizon)
                strongest = max(strongest, evidence)
        yield Moment(
            day=cluster.day,
            clusters=number,
            pairs=pairs,
            mean=mean,
            error=error,
            low=None if width is None else mean - width,
            high=None if width is None else mean + width,
            p_value=exp(-min(strongest, LARGEST_LOG)) if enough and error is not None else None,
            enough=enough,
        )


def _spread(pairs: Decimal, total: Decimal, squares: Decimal, products: Decimal, counts: Decimal) -> float:
    """Return N² Σ (S - n D̄)² = N² ΣS² - 2 T N ΣnS + T² Σn², exact before it becomes a float."""
    spread = EXACT.multiply(EXACT.multiply(pairs, pairs), squares)
    spread = EXACT.subtract(spread, EXACT.multiply(EXACT.multiply(2 * pairs, total), products))
    return float(EXACT.fma(EXACT.multiply(total, total), counts, spread))


def _mean(days: Sequence[DayOfDifferences]) -> Decimal:
    total = Decimal(0)
    for day in days:
        total = EXACT.add(total, day.difference)
    return EXACT.divide(total, Decimal(sum(day.pairs for day in days)))


def _clear(moments: Sequence[Moment]) -> tuple[date | None, date | None]:
    """Return the first day on which the interval excluded 0, and the day since which it has done so to this day."""
    first = since = None
    for moment in moments:
        since = (since or moment.day) if moment.clear else None
        first = first or since
    return first, since


def _undefined(now: Moment, series: Series) -> Undefined | None:
    noun = series.cluster.noun
    if now.clusters == 1:
        return Undefined(UndefinedCode.ONE_CLUSTER, f"One {noun} alone does not show how {noun}s vary.")
    if now.error is None:
        return Undefined(UndefinedCode.NOTHING_VARIES, f"Every {noun} has the same mean difference; nothing varies.")
    if now.low is None:
        return Undefined(UndefinedCode.UNBOUNDED, f"Too few {noun}s: the interval is still unbounded.")
    return None
