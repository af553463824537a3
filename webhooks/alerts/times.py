"""The time an alert carries: ISO 8601 or an epoch, always read as a moment in UTC."""

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

from webhooks.alerts.problems import Unreadable, shown
from webhooks.alerts.values import JsonValue

ACCEPTED = (
    "ISO 8601 with or without a zone (UTC when without), or an epoch in seconds, milliseconds or microseconds; "
    "from 2000 to at most a minute ahead"
)
EXAMPLE = '"time": "{{timenow}}", which gives 2026-03-02T14:30:00Z'
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
FARTHEST_ZONE = timedelta(hours=15)
MINUTES_PER_HOUR = 60
FARTHEST_AHEAD = timedelta(minutes=1)

_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH = re.compile(r"[0-9]{1,19}(\.[0-9]{1,20})?")
# What a whole number of this many digits counts, for the years 2001 to 2286: 10 seconds, 13 milli-, 16 microseconds.
_MICROSECONDS_PER_UNIT = ((10**11, 1_000_000), (10**14, 1_000), (10**17, 1))
_ISO = re.compile(
    r"([0-9]{4})[-./]?([0-9]{2})[-./]?([0-9]{2})"  # 2026.03.02 is MetaTrader's
    r"(?:[Tt ]([0-9]{2}):?([0-9]{2})(?::?([0-9]{2})(?:[.,]([0-9]{1,9}))?)?"
    r"\s*(?:([Zz]|UTC|GMT)|([+-])([0-9]{2}):?([0-9]{2})?)?)?"
)


def read_time(value: JsonValue, *, received_at: datetime) -> datetime:
    """Return the moment a value names, in UTC, to the microsecond.

    :raises Unreadable: when it names none, or one before 2000 or more than a minute after ``received_at``.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Unreadable("wrong_type", f"{shown(value)} is not a time.")
    text = str(value).strip()
    moment = _from_epoch(text) if _EPOCH.fullmatch(text) else _from_iso(text)
    if moment is None:
        raise Unreadable("unknown_time", f"{shown(value)} is not a time.")
    if moment < EARLIEST:
        raise Unreadable("out_of_range", f"{shown(value)} lies before the year 2000.")
    if moment > received_at + FARTHEST_AHEAD:
        raise Unreadable(
            "in_the_future",
            f"{shown(value)} lies more than a minute ahead of the time of receipt, {received_at:%FT%TZ}.",
        )
    return moment


def _from_epoch(text: str) -> datetime | None:
    count = Decimal(text)
    for below, microseconds in _MICROSECONDS_PER_UNIT:
        if count < below:
            return _EPOCH_START + timedelta(microseconds=int(count * microseconds))
    return None


def _from_iso(text: str) -> datetime | None:
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    microsecond = int((match[7] or "").ljust(6, "0")[:6])
    try:
        zone = _zone(sign=match[9], hours=match[10], minutes=match[11])
        return datetime(year, month, day, hour, minute, second, microsecond, tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _zone(*, sign: str | None, hours: str | None, minutes: str | None) -> timezone:
    if sign is None:
        return UTC
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    if offset > FARTHEST_ZONE or int(minutes or 0) >= MINUTES_PER_HOUR:
        raise ValueError("no such zone")
    return timezone(offset if sign == "+" else -offset)
