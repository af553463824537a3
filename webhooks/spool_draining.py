"""From the spool into the database: in the order of receipt, once each, however often it is begun again.

Nothing is struck off the file while it is drained: a process that is killed leaves it whole, and the next one stores it from the
beginning. What is stored already is recognised: a signal by its hash, a rejection by its id.
"""

import time
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path

import psycopg
import structlog

from config.fault_points import Commit
from config.faults import surrounded
from webhooks.lines import DATABASE_ERRORS, cut, intake_transaction
from webhooks.notifications import wake_workers
from webhooks.spool import Record, Spool, read_line, the_spool
from webhooks.storing import (
    NewRejection,
    NewSignal,
    StoredSignal,
    store_rejection,
    store_signals,
    store_without_own_time,
)
from webhooks.telling import tell_received, tell_rejected

BATCH = 100
BATCH_SECONDS = 10.0
# What no second attempt can mend; everything else is an outage.
UNSTORABLE = (psycopg.DataError, psycopg.IntegrityError)

log = structlog.get_logger(__name__)


def drain_spool() -> int:
    """Store what waits in the spool and return how many alerts that were; 0 when the database is still away.

    For web processes and workers alike: one of them at a time does it.
    """
    spool = the_spool()
    if not spool.is_waiting():
        return 0
    drained = 0
    try:
        with spool.draining() as is_mine:
            while is_mine and (file := spool.take()):
                drained += _drain(file, spool)
                file.unlink(missing_ok=True)
    except DATABASE_ERRORS as error:
        log.debug("spool.waits", drained=drained, error_type=type(error).__name__, error_message=str(error))
    except OSError as error:
        log.warning("spool.failed", error_type=type(error).__name__, error_message=str(error))
    if drained:
        log.info("spool.drained", alerts=drained)
    return drained


def _drain(file: Path, spool: Spool) -> int:
    drained = 0
    records = _records_of(file, spool)
    while batch := list(islice(records, BATCH)):
        try:
            _store(batch)
        except UNSTORABLE:
            for record in batch:
                _store_one(record)
        drained += len(batch)
    return drained


def _records_of(file: Path, spool: Spool) -> Iterator[Record]:
    with file.open("rb") as lines:
        for line in lines:
            if not line.strip():
                continue
            if (record := read_line(line)) is None:
                spool.set_aside(line.strip())
            else:
                yield record


def _store_one(record: Record) -> None:
    """Store one record; what the database will never take becomes a rejected alert, so that it holds up nobody."""
    try:
        _store([record])
    except UNSTORABLE as error:
        if isinstance(record, NewRejection):
            raise
        log.warning("spool.unstorable", error_type=type(error).__name__, error_message=str(error))
        _store([_as_rejection(record)])


def _store(batch: Sequence[Record]) -> None:
    """Store a batch in one transaction and tell of it afterwards."""
    told: list[tuple[Record, StoredSignal | None]] = []
    until = time.monotonic() + BATCH_SECONDS
    with surrounded(Commit.DRAIN_SPOOL, cut=cut), intake_transaction(until=until) as cursor:
        for kind, group in groupby(batch, key=_kind_of):
            rows = list(group)
            if kind == "with its time":
                signals = [row for row in rows if isinstance(row, NewSignal)]
                told += zip(rows, store_signals(cursor, signals), strict=True)
                continue
            for row in rows:
                if isinstance(row, NewSignal):
                    told.append((row, store_without_own_time(cursor, row)))
                else:
                    store_rejection(cursor, row)
                    told.append((row, None))
    for record, stored in told:
        if isinstance(record, NewRejection):
            tell_rejected(record)
        elif stored:
            tell_received(record, stored, spooled=True)
    wake_workers()


def _kind_of(record: Record) -> str:
    if isinstance(record, NewRejection):
        return "rejected"
    return "with its time" if record.has_own_time else "without a time"


def _as_rejection(signal: NewSignal) -> NewRejection:
    problem = {
        "field": "body",
        "code": "unstorable",
        "message": "The database refused this alert when it was taken from the spool. The log says why.",
        "accepted": "",
        "example": "",
        "found": None,
        "path": None,
    }
    return NewRejection(
        rejected_alert_id=signal.signal_id,  # the same however often this is tried
        source=signal.source,
        code="unstorable",
        body=signal.raw_body,
        content_type="",
        problems=(problem,),
        received_at=signal.received_at,
    )
