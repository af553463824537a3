"""PURE: what is fixed when an experiment series starts, before its first pair is seen, and never changed by looking at it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from outcomes.domain.daily import EXACT, NOTHING, DayOfDifferences


class Cluster(StrEnum):
    """What counts as one independent observation: all pairs of a day of completion, or of an ISO week (both UTC)."""

    DAY = "DAY"
    WEEK = "WEEK"

    @property
    def noun(self) -> str:
        return self.value.lower()


@dataclass(frozen=True, slots=True)
class Series:
    """The rules of one comparison. Another series, such as one after an engine has changed, starts with a later ``from``.

    ``horizon`` is the number of clusters near which the interval is tightest; it holds at all others too.
    ``smallest_difference`` is the smallest difference per signal that is worth knowing, in R, and ``power`` the probability
    of seeing it that the projection asks for.
    """

    cluster: Cluster = Cluster.DAY
    alpha: float = 0.05
    horizon: int = 100
    fewest_clusters: int = 20
    fewest_pairs: int = 30
    smallest_difference: float = 0.1
    power: float = 0.8

    @property
    def horizon_days(self) -> int:
        """Trading days: five to a week."""
        return self.horizon if self.cluster is Cluster.DAY else 5 * self.horizon


BY_DAY = Series()
# A hundred trading days are twenty weeks; the sums of fewer than twenty clusters do not show how they vary, days or weeks.
BY_WEEK = Series(cluster=Cluster.WEEK, horizon=20)
SERIES = {series.cluster: series for series in (BY_DAY, BY_WEEK)}


def clusters_of(days: Sequence[DayOfDifferences], cluster: Cluster) -> Sequence[DayOfDifferences]:
    """Return the days added up to clusters, each under its last day; ``days`` are in order."""
    if cluster is Cluster.DAY:
        return days
    weeks = []
    for _, of_week in groupby(days, key=lambda day: day.day.isocalendar()[:2]):
        members = list(of_week)
        difference = NOTHING
        for member in members:
            difference = EXACT.add(difference, member.difference)
        weeks.append(DayOfDifferences(members[-1].day, sum(member.pairs for member in members), difference))
    return weeks
