"""Points in time as text: written in one form, read from ISO 8601."""

from datetime import UTC, datetime
from typing import Any


class UnreadableMoment(ValueError):
    """A time that is missing, has no zone, or is no time at all."""


def moment_string(moment: datetime) -> str:
    """Return ``YYYY-MM-DDTHH:MM:SS.ffffffZ``."""
    in_utc = moment.astimezone(UTC)
    return f"{in_utc.year:04d}-{in_utc:%m-%dT%H:%M:%S.%f}Z"  # %Y would not pad the year


def read_moment(value: Any, *, name: str) -> datetime:
    """Return an ISO 8601 time with a zone as a UTC datetime.

    :raises UnreadableMoment: saying what was found and what is accepted.
    """
    problem = UnreadableMoment(
        f"{name} is {str(value)[:60]!r}; accepted is an ISO 8601 time with a zone, such as 2026-03-02T14:30:00Z"
    )
    if not isinstance(value, str):
        raise problem
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise problem
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise problem from None
