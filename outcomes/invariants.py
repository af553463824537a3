"""Proving the invariants: every rule asked of one snapshot of the database, while workers run."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import DataError, connection, transaction

from orchestrator.queue import LONGEST_BACK_OFF_SECONDS
from outcomes.invariant_rules import RULES, Rule
from outcomes.snapshot import one_snapshot
from webhooks.alerts import UnreadableAlert, read_payload
from webhooks.canonical import signal_hash
from webhooks.models import Signal

MOST_SHOWN = 20
BATCH = 2000
SIGNAL_HASHES = "signal_hash recomputes from the stored body, and raw_payload says the same"


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant: how many rows break it, and the first of them, at most ``MOST_SHOWN``."""

    invariant: str
    count: int
    rows: tuple[dict[str, Any], ...]


def violations() -> list[Violation]:
    """Return the invariants that do not hold, each with its rows; empty when all do."""
    return [result for _, result in check_invariants() if result is not None]


def check_invariants() -> Iterator[tuple[str, Violation | None]]:
    """Yield the name of every invariant with its violation, or None where it holds; all see the same snapshot."""
    with one_snapshot():
        yield SIGNAL_HASHES, _broken_signal_hashes()
        for rule in RULES:
            yield rule.name, _broken(rule)


def a_worker_is_alive() -> bool:
    """Tell whether a worker gave a sign of life within a lease; without one, what waits cannot be judged."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM worker_heartbeats"
            " WHERE stopped_at IS NULL AND beat_at > now() - make_interval(secs => %s))",
            [settings.LEASE_SECONDS],
        )
        return bool(cursor.fetchone()[0])


def _broken(rule: Rule) -> Violation | None:
    try:
        rows = _rows(rule)
    except DataError as error:  # a row so broken that it cannot even be compared
        return Violation(rule.name, 1, ({"error": str(error).strip()},))
    if not rows:
        return None
    count = rows[0].pop("violations")
    for row in rows[1:]:
        del row["violations"]
    return Violation(rule.name, count, tuple(rows))


def _rows(rule: Rule) -> list[dict[str, Any]]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"SELECT broken.*, count(*) OVER () AS violations FROM ({rule.query}) AS broken LIMIT {MOST_SHOWN}",  # noqa: S608 - constants
            {"grace": settings.LEASE_SECONDS + LONGEST_BACK_OFF_SECONDS},
        )
        assert cursor.description is not None  # noqa: S101 - it was a SELECT
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _broken_signal_hashes() -> Violation | None:
    """Canonical JSON is Python's, so this one is computed here, in batches."""
    rows: list[dict[str, Any]] = []
    count = 0
    for signal in Signal.objects.order_by("signal_id").iterator(chunk_size=BATCH):
        problem = _problem_of(signal)
        if problem:
            count += 1
            if len(rows) < MOST_SHOWN:
                rows.append({"signal_id": signal.signal_id, "signal_hash": signal.signal_hash, "recomputed": problem})
    return Violation(SIGNAL_HASHES, count, tuple(rows)) if count else None


def _problem_of(signal: Signal) -> str:
    try:
        payload = read_payload(signal.raw_body)
    except UnreadableAlert as error:
        return f"raw_body cannot be read: {error}"
    again = signal_hash(
        direction=signal.direction,
        payload=payload,
        source=signal.source,
        symbol=signal.symbol,
        timeframe=signal.timeframe,
        timestamp=signal.timestamp,
    )
    if again != signal.signal_hash:
        return again
    return "" if payload == signal.raw_payload else "raw_payload differs from raw_body"
