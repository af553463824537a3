"""The statements that store what came: a signal once, a rejection once. Each may be repeated, and changes nothing then."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings

from config.keys import new_key
from webhooks.alerts.problems import Problem
from webhooks.alerts.reading import Alert
from webhooks.canonical import canonical, signal_hash, utc_text
from webhooks.lines import LOCK_MILLISECONDS, Cursor
from webhooks.models import AlertSource, TimestampOrigin
from webhooks.sources import VERSION

LONGEST_CONTENT_TYPE = 200
LONGEST_ADDRESS = 45


class SourceChanged(Exception):
    """The source is not as it was when the alert was read: read it again with what it is now."""


@dataclass(frozen=True, slots=True)
class NewSignal:
    """A row of signals before it is stored. ``received_at`` None: the database's clock says.

    Without a time of its own, ``timestamp`` and ``received_at`` are both the moment of receipt, fixed before the first
    attempt to store it: so every attempt has the same hash.
    """

    signal_id: UUID
    source: str
    symbol: str
    exchange: str | None
    direction: str
    timeframe: str
    timestamp: datetime
    has_own_time: bool
    signal_hash: str
    payload: str
    raw_body: str
    received_at: datetime | None
    window_seconds: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewRejection:
    """A row of rejected_alerts before it is stored."""

    rejected_alert_id: UUID
    source: str
    code: str
    body: str
    content_type: str
    problems: tuple[dict[str, Any], ...]
    received_at: datetime | None = None
    sent_from: str = ""


@dataclass(frozen=True, slots=True)
class StoredSignal:
    """The signal that an alert became; ``duplicate`` when an earlier request had stored it."""

    signal_id: UUID
    signal_hash: str
    duplicate: bool


def new_signal(alert: Alert, *, source: AlertSource, raw_body: str, at: datetime) -> NewSignal:
    """Return the row for an alert that was received ``at``."""
    timestamp = at if alert.timestamp is None else alert.timestamp
    return NewSignal(
        signal_id=new_key(),
        source=source.name,
        symbol=alert.symbol,
        exchange=alert.exchange,
        direction=alert.direction.value,
        timeframe=alert.timeframe,
        timestamp=timestamp,
        has_own_time=alert.timestamp is not None,
        signal_hash=signal_hash(
            direction=alert.direction.value,
            payload=alert.payload,
            source=source.name,
            symbol=alert.symbol,
            timeframe=alert.timeframe,
            timestamp=timestamp,
        ),
        payload=canonical(alert.payload),
        raw_body=raw_body,
        received_at=None if alert.timestamp else at,
        window_seconds=source.dedupe_window_seconds,
        notes=alert.notes,
    )


def new_rejection(
    problems: Sequence[Problem], *, source: AlertSource, body: str, content_type: str, code: str, sent_from: str = ""
) -> NewRejection:
    """Return the row for a request that is no signal; ``body`` carries no secrets any more."""
    return NewRejection(
        rejected_alert_id=new_key(),
        source=source.name,
        code=code,
        body=body[: settings.WEBHOOK_MAX_BODY_BYTES],
        content_type=storable(content_type)[:LONGEST_CONTENT_TYPE],
        problems=tuple(problem.as_json() for problem in problems),
        sent_from=storable(sent_from)[:LONGEST_ADDRESS],
    )


def storable(text: str) -> str:
    """Return a text as PostgreSQL can keep it: NUL and halves of characters spelled out."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


_COLUMNS = (
    "signal_id, source, symbol, exchange, direction, timeframe, timestamp, timestamp_origin, signal_hash, raw_payload, "
    "raw_body, notes, received_at"
)
# Sorted by the hash: two batches with the same alerts wait for each other and never both at once.
_STORE = """
    WITH given AS (
        SELECT * FROM json_to_recordset(%s::json) AS given (
            signal_id uuid, source text, symbol text, exchange text, direction text, timeframe text,
            timestamp timestamptz, timestamp_origin text, signal_hash text, raw_payload text, raw_body text, notes jsonb,
            received_at timestamptz, source_id uuid, version text)
    ), allowed AS MATERIALIZED (
        {allowed}
    ), made AS (
        INSERT INTO signals ({columns})
        SELECT signal_id, source, symbol, exchange, direction, timeframe, timestamp, timestamp_origin, signal_hash,
               raw_payload::jsonb, raw_body, notes, coalesce(received_at, statement_timestamp())
          FROM allowed ORDER BY signal_hash
        ON CONFLICT (signal_hash) DO NOTHING
        RETURNING signal_id
    )
    SELECT allowed.signal_id, made.signal_id IS NOT NULL FROM allowed LEFT JOIN made USING (signal_id)
"""
_OF_KNOWN_SOURCES = f"""
    SELECT given.* FROM given
      JOIN (SELECT s.id, {VERSION} AS version FROM alert_sources AS s WHERE s.enabled) AS known
        ON known.id = given.source_id AND known.version = given.version
"""  # noqa: S608 - a constant
STORE_CHECKED = _STORE.format(columns=_COLUMNS, allowed=_OF_KNOWN_SOURCES)
STORE_ANYHOW = _STORE.format(columns=_COLUMNS, allowed="SELECT * FROM given")


@dataclass(frozen=True, slots=True)
class Check:
    """The source and the version of it that an alert was read by."""

    source_id: UUID
    version: str


def store_signals(
    cursor: Cursor, rows: Sequence[NewSignal], checks: Sequence[Check] | None = None
) -> list[StoredSignal | None]:
    """Store rows that have their hash, in one statement, and say for each what it is; None: its source has changed.

    Insert first and look only when the signal is there already: two requests at once cannot both be the first.

    :param checks: one for each row; without them the sources are not looked at.
    """
    cursor.execute(STORE_CHECKED if checks else STORE_ANYHOW, [_as_json(rows, checks)])
    made: dict[UUID, bool] = dict(cursor.fetchall())
    known = [row.signal_hash for row in rows if made.get(row.signal_id) is False]
    earlier: dict[str, UUID] = {}
    if known:
        # A second statement: its snapshot sees the row whose commit the insert has waited for.
        cursor.execute("SELECT signal_hash, signal_id FROM signals WHERE signal_hash = ANY(%s)", [known])
        earlier = dict(cursor.fetchall())
    return [_outcome(row, made.get(row.signal_id), earlier) for row in rows]


def store_without_own_time(cursor: Cursor, row: NewSignal, check: Check | None = None) -> StoredSignal | None:
    """Store an alert at its time of receipt, or find the one of which it is a re-delivery. Needs a transaction.

    1. Two deliveries of one body arrive at once; neither sees a signal of the other.
    2. Both would take the time of receipt, two different moments, and so become two signals.
    3. Hence the lock on the body: the second waits for the commit of the first, and its look, a new statement, sees it.

    The window reaches both ways, because one that waited in the spool may be stored after one that came later.
    """
    cursor.execute(
        "SELECT set_config('lock_timeout', %s, true), pg_advisory_xact_lock(%s)",
        [f"{LOCK_MILLISECONDS}ms", lock_key(row.source, row.raw_body)],
    )
    cursor.execute(
        """
        SELECT signal_id, signal_hash FROM signals
        WHERE timestamp_origin = 'received' AND md5(raw_body) = md5(%s) AND raw_body = %s AND source = %s
            AND received_at > %s::timestamptz - make_interval(secs => %s)
            AND received_at < %s::timestamptz + make_interval(secs => %s)
        ORDER BY received_at DESC, signal_id DESC LIMIT 1
        """,
        [
            row.raw_body,
            row.raw_body,
            row.source,
            row.received_at,
            row.window_seconds,
            row.received_at,
            row.window_seconds,
        ],
    )
    if earlier := cursor.fetchone():
        return StoredSignal(signal_id=earlier[0], signal_hash=earlier[1], duplicate=True)
    return store_signals(cursor, [row], [check] if check else None)[0]


def store_rejection(cursor: Cursor, row: NewRejection, check: Check | None = None) -> None:
    """Store a rejection, once however often it is tried.

    :raises SourceChanged: when the source is no longer what ``check`` says.
    """
    condition = f"WHERE EXISTS (SELECT FROM alert_sources AS s WHERE s.id = %s AND s.enabled AND {VERSION} = %s)"
    cursor.execute(
        f"""
        INSERT INTO rejected_alerts (id, source, code, body, content_type, sent_from, errors, received_at)
        SELECT %s::uuid, %s, %s, %s, %s, %s, %s::jsonb, coalesce(%s::timestamptz, statement_timestamp())
        {condition if check else ""}
        ON CONFLICT (id) DO NOTHING
        RETURNING id
        """,
        [
            row.rejected_alert_id,
            row.source,
            row.code,
            row.body,
            row.content_type,
            row.sent_from,
            json.dumps(row.problems),
            row.received_at,
            *((check.source_id, check.version) if check else ()),
        ],
    )
    if cursor.fetchone() is None and check:
        raise SourceChanged


def lock_key(source: str, raw_body: str) -> int:
    """Return the key of the lock under which one body of one source is stored."""
    digest = hashlib.sha256(f"{source}\n{raw_body}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def _as_json(rows: Sequence[NewSignal], checks: Sequence[Check] | None) -> str:
    """Return all rows as one value: a statement with one parameter costs less than one with an array for each column."""
    given = [
        {
            "signal_id": str(row.signal_id),
            "source": row.source,
            "symbol": row.symbol,
            "exchange": row.exchange,
            "direction": row.direction,
            "timeframe": row.timeframe,
            "timestamp": utc_text(row.timestamp),
            "timestamp_origin": (TimestampOrigin.PAYLOAD if row.has_own_time else TimestampOrigin.RECEIVED).value,
            "signal_hash": row.signal_hash,
            "raw_payload": row.payload,
            "raw_body": row.raw_body,
            "notes": row.notes,
            "received_at": utc_text(row.received_at) if row.received_at else None,
        }
        for row in rows
    ]
    for one, check in zip(given, checks or (), strict=False):
        one |= {"source_id": str(check.source_id), "version": check.version}
    return json.dumps(given, ensure_ascii=False)


def _outcome(row: NewSignal, is_made: bool | None, earlier: dict[str, UUID]) -> StoredSignal | None:
    if is_made is None:
        return None
    if is_made:
        return StoredSignal(row.signal_id, row.signal_hash, duplicate=False)
    return StoredSignal(earlier[row.signal_hash], row.signal_hash, duplicate=True)
