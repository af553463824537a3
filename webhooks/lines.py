"""Connections for alerts that never hang: this process itself keeps the deadline of every exchange with the database.

A limit on the server's side ends nothing when the server itself is stopped, cut off, or waits for its disk; and a pool that waits
for a connection does not know how long TradingView will. So alerts have a few connections of their own. Who finds the database
out of reach hears so at once, while a thread in the background tries to connect.
"""

import math
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar

import psycopg
import structlog
from django.db import connection, connections, transaction
from django.db.utils import Error as DjangoDatabaseError
from psycopg.abc import PQGen
from psycopg.rows import TupleRow

MOST_LINES = 4
CONNECT_SECONDS = 2
STATEMENT_MILLISECONDS = 1_500
LOCK_MILLISECONDS = 1_400
REST_SECONDS = 1.0

# Whatever keeps a row from being stored: the driver's own words, or Django's for a caller's transaction.
DATABASE_ERRORS = (psycopg.Error, DjangoDatabaseError)

Value = TypeVar("Value")

log = structlog.get_logger(__name__)


class OutOfReach(psycopg.OperationalError):
    """The database did not answer in time, or nobody can connect to it at the moment."""


class Cursor(Protocol):
    """What both the driver's cursors and Django's can do."""

    def execute(self, query: Any, params: Sequence[Any] | None = None, /) -> Any: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...


class Line(psycopg.Connection[TupleRow]):
    """A connection whose every exchange ends by ``until``, by ``time.monotonic()``."""

    until = math.inf
    _own_cursor: "psycopg.Cursor[TupleRow] | None" = None

    def own_cursor(self) -> "psycopg.Cursor[TupleRow]":
        """Return the cursor that this connection keeps: one work at a time uses it."""
        if self._own_cursor is None:
            self._own_cursor = self.cursor()
        return self._own_cursor

    def wait(self, gen: PQGen[Value], interval: float = 0.1, timeout: float | None = None) -> Value:
        """Wait for the server, but no longer than allowed.

        :raises OutOfReach: when it takes longer; whether the server still does what it was asked is then unknown.
        """
        left = self.until - time.monotonic() if self.until < math.inf else timeout
        try:
            return super().wait(gen, interval, left if left is None else max(0.0, left))
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - the driver's only name for it
            raise OutOfReach("The database has not answered in time.") from None


class Lines:
    """A few connections that are lent for one piece of work each."""

    def __init__(self, *, most: int = MOST_LINES) -> None:
        self.most = most
        self._changed = threading.Condition()
        self._free: list[Line] = []
        self._open = 0
        self._is_connecting = False
        self._is_doubtful = False
        self._rests_until = 0.0
        self._era = 0

    @contextmanager
    def line(self, *, until: float) -> Iterator[Line]:
        """Lend a connection until the given moment of ``time.monotonic()``; what fails on it closes it.

        :raises OutOfReach: when there is none in time.
        """
        line, era = self._take(until)
        line.until = until
        try:
            yield line
        except BaseException as error:
            self._drop(line, error)
            raise
        self._give_back(line, era)

    def close(self) -> None:
        """Close all connections; the next piece of work opens new ones."""
        with self._changed:
            self._era += 1
            closing, self._free = self._free, []
            self._open -= len(closing)
            self._is_doubtful, self._rests_until = False, 0.0
        for line in closing:
            line.close()

    def cut(self) -> None:
        """Cut the connections that lie free, without a word to either side, as a failing network does."""
        with self._changed:
            for line in self._free:
                with socket.socket(fileno=os.dup(line.pgconn.socket)) as wire:
                    wire.shutdown(socket.SHUT_RDWR)

    def _take(self, until: float) -> tuple[Line, int]:
        with self._changed:
            while not self._free:
                self._connect_in_background()
                left = until - time.monotonic()
                if self._is_doubtful or left <= 0:
                    raise OutOfReach("The database cannot be reached at the moment.")
                self._changed.wait(left)
            return self._free.pop(), self._era

    def _give_back(self, line: Line, era: int) -> None:
        with self._changed:
            if era == self._era and not line.closed:
                self._free.append(line)
                self._changed.notify()
                return
            self._open -= 1
        line.close()

    def _drop(self, line: Line, error: BaseException) -> None:
        """Close a connection on which something failed, and with a lost one all others, which are no better."""
        is_lost = isinstance(error, OutOfReach) or line.closed
        with self._changed:
            self._open -= 1
            closing = [line]
            if is_lost:
                closing += self._free
                self._open -= len(self._free)
                self._free = []
                self._era += 1
                self._is_doubtful = self._is_doubtful or isinstance(error, OutOfReach)
            self._changed.notify_all()
        for one in closing:
            one.pgconn.finish()  # without a word: nobody may be listening

    def _connect_in_background(self) -> None:
        """Start one attempt, unless one is under way or has just failed. Call this with the lock held."""
        if self._is_connecting or self._open >= self.most or time.monotonic() < self._rests_until:
            return
        self._is_connecting = True
        self._open += 1
        threading.Thread(target=self._connect, name="line-connector", daemon=True).start()

    def _connect(self) -> None:
        era = self._era
        line: Line | None = None
        try:
            line = open_line()
        except (*DATABASE_ERRORS, OSError, RuntimeError) as error:
            if not self._is_doubtful:  # once for each time that it goes away
                log.warning("intake.database_away", error_type=type(error).__name__, error_message=str(error))
        with self._changed:
            self._is_connecting = False
            self._is_doubtful = line is None
            if line is not None and era == self._era:
                self._free.append(line)
            else:
                self._open -= 1
                self._rests_until = time.monotonic() + REST_SECONDS if line is None else 0.0
            self._changed.notify_all()
        if line is not None and era != self._era:
            line.close()


def open_line() -> Line:
    """Connect to the database of the settings, with limits on the server's side as well.

    :raises psycopg.OperationalError: when that fails.
    :raises django.db.OperationalError: when the embedded server cannot be started.
    """
    given = connections["default"].get_connection_params()
    for name in ("context", "cursor_factory", "prepare_threshold"):  # Django's own way of speaking
        given.pop(name, None)
    limits = f"-c statement_timeout={STATEMENT_MILLISECONDS} -c lock_timeout={LOCK_MILLISECONDS} -c TimeZone=UTC"
    given |= {
        "application_name": "intake",
        "connect_timeout": CONNECT_SECONDS,
        "options": f"{given.get('options', '')} {limits}".strip(),
        "autocommit": True,
        "prepare_threshold": 0,
    }
    return Line.connect(**given)


def lent_line(*, until: float) -> AbstractContextManager[Line]:
    """Lend a line of this process.

    :raises OutOfReach: when there is none in time.
    """
    return lines.line(until=until)


@contextmanager
def intake_cursor(*, until: float) -> Iterator[Cursor]:
    """Yield a cursor of a line; inside a transaction that the caller has opened, one of its connection.

    :raises OutOfReach: when there is no line in time.
    """
    if connection.in_atomic_block:
        with connection.cursor() as cursor:
            yield cursor
        return
    with lines.line(until=until) as line:
        yield line.own_cursor()


@contextmanager
def intake_transaction(*, until: float) -> Iterator[Cursor]:
    """Yield a cursor like ``intake_cursor``, with one transaction around what is done with it."""
    if connection.in_atomic_block:
        with transaction.atomic(), connection.cursor() as cursor:
            yield cursor
        return
    with lines.line(until=until) as line, line.transaction():
        yield line.own_cursor()


lines = Lines()


def close() -> None:
    """Close the connections of this process's intake, before its database goes away, say."""
    lines.close()


def cut() -> None:
    """Cut the connections of this process's intake that lie free."""
    lines.cut()


def _forget_the_parents_lines() -> None:
    global lines  # noqa: PLW0603 - a forked child has no right to the parent's connections
    lines = Lines()


os.register_at_fork(after_in_child=_forget_the_parents_lines)
