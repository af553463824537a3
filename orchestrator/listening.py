"""Hearing at once that a signal or an event has arrived; polling is the fallback."""

import threading
from collections.abc import Callable

import psycopg
import structlog
from django.db import DatabaseError

from config.own_connections import connect_for_good
from webhooks.notifications import CHANNEL

log = structlog.get_logger(__name__)

LOOK_UP_SECONDS = 0.2
RECONNECT_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0


class Listener:
    """A thread with a connection of its own that calls ``wake`` for every burst of notifications."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread, if it was started."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)

    def _listen(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                with connect_for_good("listener") as own:
                    own.execute(f"LISTEN {CHANNEL}")
                    failures = 0
                    self._wake()  # what arrived while nobody listened
                    while not self._stopping.is_set():
                        for _ in own.notifies(timeout=LOOK_UP_SECONDS, stop_after=1):
                            self._wake()
            # Django's own error when the embedded server cannot be started
            except (psycopg.Error, DatabaseError, OSError) as error:
                pause = min(RECONNECT_SECONDS * 2.0**failures, LONGEST_PAUSE_SECONDS)
                failures = min(failures + 1, 10)
                log.warning(
                    "listener.lost",
                    error_type=type(error).__name__,
                    error_message=str(error),
                    retry_in_seconds=pause,
                )
                self._stopping.wait(pause)
