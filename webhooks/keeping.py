"""What a web process does beside its requests: it keeps the sources at hand, and empties the spool when the database is back."""

import os
import threading
import time
from datetime import UTC, datetime, timedelta

import structlog

from webhooks.lines import DATABASE_ERRORS, intake_cursor
from webhooks.sources import known_sources, read_all_sources
from webhooks.spool import the_spool
from webhooks.spool_draining import drain_spool

LOOK_SECONDS = 0.25
REFRESH_SECONDS = 2.0
PATIENCE_SECONDS = 2.0
LONGEST_STOP_SECONDS = 15.0

log = structlog.get_logger(__name__)


class Keeper:
    """One background thread of a web process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._clock_is_behind = timedelta(0)

    def start(self) -> None:
        """Begin, unless it has begun."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._stopping.clear()
                self._thread = threading.Thread(target=self._run, name="intake-keeper", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End, and forget what was kept."""
        with self._lock:
            self._stopping.set()
            if self._thread is not None:
                self._thread.join(LONGEST_STOP_SECONDS)
            self._thread = None
            self._clock_is_behind = timedelta(0)
        known_sources.clear()

    def now(self) -> datetime:
        """Return the time by the database's clock, as far as it was known when it last answered."""
        return datetime.now(UTC) + self._clock_is_behind

    def _run(self) -> None:
        refresh_at = 0.0
        while not self._stopping.is_set():
            if time.monotonic() >= refresh_at:
                refresh_at = time.monotonic() + (REFRESH_SECONDS if self._refresh() else LOOK_SECONDS)
            drain_spool()
            self._stopping.wait(LOOK_SECONDS)

    def _refresh(self) -> bool:
        """Read all sources and the database's clock; say whether that went well."""
        try:
            with intake_cursor(until=time.monotonic() + PATIENCE_SECONDS) as cursor:
                asked = time.monotonic()
                cursor.execute("SELECT clock_timestamp()")
                (there,) = cursor.fetchone()
                took = timedelta(seconds=time.monotonic() - asked)
                self._clock_is_behind = there + took / 2 - datetime.now(UTC)
                every = read_all_sources(cursor)
        except DATABASE_ERRORS:
            return False
        known_sources.replace(every, folder=the_spool().folder)
        return True


keeper = Keeper()


def _forget_the_parents_keeper() -> None:
    global keeper  # noqa: PLW0603 - a forked child has no thread of its parent's
    keeper = Keeper()


os.register_at_fork(after_in_child=_forget_the_parents_keeper)
