"""How far the system has come, in numbers a person can watch."""

import threading
import time
from dataclasses import dataclass, fields

from django.db import OperationalError, connection

COUNT_SECONDS = 1.0
STALE_SECONDS = 5.0

COUNT_ALL = """
SELECT (SELECT count(*) FROM signals),
       (SELECT count(*) FROM experiments),
       (SELECT count(*) FROM real_trades),
       (SELECT count(*) FROM shadow_trades),
       (SELECT count(*) FROM real_trade_outcomes) + (SELECT count(*) FROM shadow_trade_outcomes),
       (SELECT count(*) FROM incidents WHERE resolved_at IS NULL)
"""


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of each kind; ``outcomes`` are real and shadow ones, ``incidents`` the open ones."""

    signals: int
    experiments: int
    real_trades: int
    shadow_trades: int
    outcomes: int
    incidents: int

    def as_text(self) -> str:
        return " · ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.named())

    def named(self) -> list[tuple[str, int]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


def count() -> Counts:
    """Count, in one statement.

    :raises OperationalError: when the database does not answer.
    """
    with connection.cursor() as cursor:
        cursor.execute(COUNT_ALL)
        return Counts(*cursor.fetchone())


class Counting(threading.Thread):
    """Counts again and again beside the main thread, which must not wait for a database that does not answer."""

    def __init__(self) -> None:
        super().__init__(name="counting", daemon=True)
        self._stopping = threading.Event()
        self._counts: Counts | None = None
        self._counted_at = 0.0

    def latest(self) -> Counts | None:
        """Return the newest numbers; None when the database has not answered lately."""
        return self._counts if time.monotonic() < self._counted_at + STALE_SECONDS else None

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._counts, self._counted_at = count(), time.monotonic()
            except OperationalError:
                self._counts = None
                connection.close()
            self._stopping.wait(COUNT_SECONDS)
        connection.close()

    def stop(self) -> None:
        """End, if the database lets it, before the database's own end."""
        self._stopping.set()
        self.join(COUNT_SECONDS)
