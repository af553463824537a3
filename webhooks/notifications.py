"""Telling waiting workers that a signal arrived: one NOTIFY after commit, never inside the transaction.

A NOTIFY in each inserting transaction makes the commits queue up behind one another. So the inserting thread only raises a
flag; a thread with its own connection sends the first notification at once and then at most one per interval. A
notification is a hint: when it cannot be sent, it is dropped, and the workers find the signal when they next poll.
"""

import os
import threading
import time

import psycopg
import structlog
from django.db.utils import Error as DatabaseError

from config.own_connections import connect_for_good

CHANNEL = "orchestrator_wake"
INTERVAL_SECONDS = 0.01
PAUSE_AFTER_FAILURE_SECONDS = 1.0
LONGEST_STOP_SECONDS = 10.0

log = structlog.get_logger(__name__)


class WakeSender:
    """Sends debounced notifications from one background thread, started with the first one."""

    def __init__(self, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self.interval_seconds = interval_seconds
        self._lock = threading.Lock()
        self._raised = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._connection: psycopg.Connection | None = None
        self._failing = False

    def wake(self) -> None:
        """Ask for a notification; returns at once and never fails."""
        if not self._raised.is_set():  # else the thread has yet to look, and to notify after that
            self._raised.set()
        if self._thread is None or not self._thread.is_alive():
            self._start()

    def stop(self) -> None:
        """Send nothing more, and close the connection; the next ``wake`` starts anew."""
        with self._lock:
            thread = self._thread
            self._stopping = True
            self._raised.set()
            if thread is not None:
                thread.join(LONGEST_STOP_SECONDS)
            self._thread = None
            self._stopping = False
            self._raised.clear()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="wake-sender", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        try:
            while True:
                self._raised.wait()
                if self._stopping:
                    return
                self._raised.clear()
                sent = self._send() or self._send()  # the second time with a fresh connection
                self._pause(self.interval_seconds if sent else PAUSE_AFTER_FAILURE_SECONDS)
        finally:
            self._disconnect()

    def _send(self) -> bool:
        try:
            if self._connection is None:
                self._connection = connect_for_good("wake-sender")
            self._connection.execute(f"NOTIFY {CHANNEL}")
        except (psycopg.Error, DatabaseError, OSError, RuntimeError) as error:
            self._disconnect()
            if not self._failing:
                log.warning("wake.unavailable", error_type=type(error).__name__, error_message=str(error))
            self._failing = True
            return False
        self._failing = False
        return True

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_sender = WakeSender()


def wake_workers() -> None:
    """Tell the workers that there is something to do. Call it after the commit; it returns at once and never fails."""
    _sender.wake()


def stop() -> None:
    """Close the connection of this process's notifications, before its database goes away, say."""
    _sender.stop()


def _forget_the_parents_thread() -> None:
    global _sender  # noqa: PLW0603 - a forked child has neither the thread nor the right to the parent's connection
    _sender = WakeSender()


os.register_at_fork(after_in_child=_forget_the_parents_thread)
