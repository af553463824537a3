"""Sending events to the orchestrator: each again and again under one message id until it is acknowledged.

202 and 200 acknowledge. 400, 404 and the like are the orchestrator's last word and are recorded. A refused signature is
tried a few times, for clocks and secrets get repaired. Everything else (no connection, time-outs, 408, 429, 5xx,
redirects) is tried for ever with a growing pause.
"""

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx2
import structlog

from orchestrator.domain.moments import moment_string
from orchestrator.engines.reference.ledger import Ledger
from orchestrator.engines.signing import sign

log = structlog.get_logger(__name__)

BATCH = 100
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0
SIGNATURE_ATTEMPTS = 5
TIMEOUT_SECONDS = 5.0
ANSWERED_FOR_GOOD = range(400, 500)
TRIED_AGAIN = frozenset({401, 403, 408, 425, 429})


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an engine's events go and the secret that signs them."""

    url: str
    secret: str


def send_due_events(ledger: Ledger, destination: Destination, client: httpx2.Client, *, at: datetime) -> int:
    """Send the events that are due, oldest first, and return how many were tried.

    The first one that finds nobody there ends the round: the others would find nobody either.
    """
    due = _due(ledger, at=at)
    for number, event in enumerate(due, start=1):
        status, error = _post(destination, client, event, at=at)
        _record_attempt(ledger, event, status=status, error=error, at=at)
        if status is None:
            return number
    return len(due)


def pause_after(attempts: int) -> float:
    """Return the seconds until the next attempt: a quarter, doubling, at most ten."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempts - 1, 10))


def settled_state(status: int | None, *, attempts: int) -> str:
    """Return what an answer makes of an event: ACKNOWLEDGED, REFUSED, or PENDING for another attempt."""
    if status in {200, 202}:
        return "ACKNOWLEDGED"
    if status in {401, 403} and attempts >= SIGNATURE_ATTEMPTS:
        return "REFUSED"
    return "REFUSED" if status in ANSWERED_FOR_GOOD and status not in TRIED_AGAIN else "PENDING"


def _due(ledger: Ledger, *, at: datetime) -> list[sqlite3.Row]:
    with ledger.transaction() as tx:
        return tx.execute(
            "SELECT message_id, type, body, attempts FROM events WHERE state = 'PENDING' AND next_attempt_at <= ?"
            " ORDER BY next_attempt_at, rowid LIMIT ?",
            (moment_string(at), BATCH),
        ).fetchall()


def _post(
    destination: Destination, client: httpx2.Client, event: sqlite3.Row, *, at: datetime
) -> tuple[int | None, str | None]:
    """Return the HTTP status and what went wrong; no status when there was no answer."""
    headers = sign(destination.secret, message_id=event["message_id"], body=event["body"], at=at)
    headers["content-type"] = "application/json"
    try:
        response = client.post(destination.url, content=event["body"].encode(), headers=headers)
    except httpx2.HTTPError as error:
        return None, f"{type(error).__name__}: {error}"
    return response.status_code, None if response.is_success else response.text[:300]


def _record_attempt(ledger: Ledger, event: sqlite3.Row, *, status: int | None, error: str | None, at: datetime) -> None:
    attempts = event["attempts"] + 1
    state = settled_state(status, attempts=attempts)
    with ledger.transaction() as tx:
        tx.execute(
            "UPDATE events SET state = ?, attempts = ?, last_status = ?, last_error = ?, next_attempt_at = ?,"
            " settled_at = ? WHERE message_id = ?",
            (
                state,
                attempts,
                status,
                error,
                moment_string(at + timedelta(seconds=pause_after(attempts))),
                None if state == "PENDING" else moment_string(at),
                event["message_id"],
            ),
        )
    if state != "ACKNOWLEDGED":
        log.warning(
            "reference.event_not_taken", message_id=event["message_id"], type=event["type"], status=status, state=state
        )
