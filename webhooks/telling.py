"""The log lines of the intake: one for each alert that was stored, spooled or turned away."""

import structlog

from webhooks.canonical import utc_text
from webhooks.storing import NewRejection, NewSignal, StoredSignal

log = structlog.get_logger("webhooks.services")


def tell_received(row: NewSignal, stored: StoredSignal, *, spooled: bool = False) -> None:
    """Tell of a signal; ``spooled`` when it had to wait for the database."""
    log.info(
        "signal.received",
        signal_id=str(stored.signal_id),
        source=row.source,
        symbol=row.symbol,
        direction=row.direction,
        timeframe=row.timeframe,
        timestamp=utc_text(row.timestamp) if row.has_own_time else None,
        signal_hash=stored.signal_hash,
        duplicate=stored.duplicate,
        notes=list(row.notes),
        **({"spooled": True} if spooled else {}),
    )


def tell_rejected(row: NewRejection) -> None:
    """Tell of a request that did not become a signal."""
    log.info(
        "signal.rejected",
        rejected_alert_id=str(row.rejected_alert_id),
        source=row.source,
        code=row.code,
        problems=[f"{problem['field']}: {problem['code']}" for problem in row.problems],
    )


def tell_spooled(row: NewSignal | NewRejection) -> None:
    """Tell of an alert that waits on this machine's disk."""
    log.warning("alert.spooled", source=row.source, received_at=utc_text(row.received_at) if row.received_at else None)
