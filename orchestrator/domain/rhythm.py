"""Is a source silent for longer than its usual rhythm? Compared with the same hours of earlier weeks, or its own pauses."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

WEEK = timedelta(days=7)
WEEKS = (1, 2, 3, 4)
FEWEST_ALERTS = 20  # 20 expected and none came: under 3 in a billion, were they independent
SHORTEST_SILENCE = timedelta(minutes=15)
TIMES_THE_LONGEST_PAUSE = 3


@dataclass(frozen=True, slots=True)
class Silence:
    """Since when a source is silent, and in a sentence why that is unusual."""

    since: datetime
    why: str


def silence(arrivals: Sequence[datetime], *, in_earlier_weeks: Sequence[int], now: datetime) -> Silence | None:
    """Return the unusual silence of a source, None while it is usual.

    Nights and weekends are part of a rhythm, so a silence of up to a week is compared with the same hours of the earlier
    weeks that the source has known: it is unusual when at least 20 alerts came in each. A source that has known no such
    week, or a silence longer than a week, is held against its own pauses: unusual is three times the longest.

    :param arrivals: its newest alerts, in order of time.
    :param in_earlier_weeks: how many came in the same hours one week ago, two weeks ago, …; only weeks that it has known.
    """
    if not arrivals or now - arrivals[-1] < SHORTEST_SILENCE:
        return None
    since = arrivals[-1]
    if in_earlier_weeks and now - since < WEEK:
        if min(in_earlier_weeks) < FEWEST_ALERTS:
            return None
        usual = ", ".join(map(str, in_earlier_weeks))
        return Silence(since, f"In the same hours of earlier weeks it sent {usual} alerts.")
    pauses = [later - earlier for earlier, later in pairwise(arrivals)]
    if len(arrivals) < FEWEST_ALERTS or now - since <= TIMES_THE_LONGEST_PAUSE * max(pauses):
        return None
    return Silence(since, f"Its longest pause among its last {len(arrivals)} alerts was {_minutes(max(pauses))}.")


def _minutes(length: timedelta) -> str:
    minutes = length.total_seconds() / 60
    return f"{minutes:.0f} min" if minutes >= 1 else f"{length.total_seconds():.0f} s"
