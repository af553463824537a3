"""The period of a report in whole days and what is left at its ends: sums are kept by day, moments are exact."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from outcomes.filters import ReportFilters

A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Period:
    """``first`` to ``last`` are the whole days (UTC), None without an end; ``stretches`` what begins or ends within a day.

    Both ends of a stretch are included. Where there is no whole day, ``last`` lies before ``first``.
    """

    first: date | None
    last: date | None
    stretches: tuple[tuple[datetime, datetime], ...]

    def values(self) -> dict[str, object]:
        """Return the period as the values of a query."""
        return {
            "first": self.first,
            "last": self.last,
            "starts": [starts for starts, _ in self.stretches],
            "ends": [ends for _, ends in self.stretches],
        }


def period_of(filters: ReportFilters) -> Period:
    """Take a period apart; a time has microseconds, so a day ends at 23:59:59.999999."""
    since, until = filters.since, filters.until
    first, last = since and since.date(), until and until.date()
    begins_within = since is not None and since.time() != time.min
    ends_within = until is not None and until.time() != time.max
    if since and until and since.date() == until.date() and (begins_within or ends_within):
        return Period(first, since.date() - A_DAY, ((since, until),))
    stretches = []
    if since and begins_within:
        stretches.append((since, datetime.combine(since.date(), time.max, tzinfo=UTC)))
        first = since.date() + A_DAY
    if until and ends_within:
        stretches.append((datetime.combine(until.date(), time.min, tzinfo=UTC), until))
        last = until.date() - A_DAY
    return Period(first, last, tuple(stretches))
