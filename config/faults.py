"""Faults on purpose: what happens at a named point (``fault_points.py``) when FAULT_POINTS asks for it, else nothing.

``with committed(Commit.ARM_PERMITS):`` is ``transaction.atomic()`` with a point before and a point after its commit.
"""

import os
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import psycopg
from django.db import OperationalError, connection, transaction

from config.fault_points import Action, Commit, Fault

_plan: dict[str, Fault] = {}
_passes: Counter[str] = Counter()
_counting = threading.Lock()


class ConnectionDropped(ConnectionError):
    """The connection to an engine was cut at a fault point."""


def arm(faults: Mapping[str, Fault]) -> None:
    """Let this process have these faults, and no others; their passes are counted from now on."""
    _plan.clear()
    _passes.clear()
    _plan.update(faults)


def is_armed() -> bool:
    return bool(_plan)


def committed(commit: Commit) -> AbstractContextManager[None]:
    """Return one transaction. Inside of another one it is a part of that, whose points count."""
    return _with_points(commit) if _plan else transaction.atomic()


def autocommitted(commit: Commit) -> AbstractContextManager[None]:
    """Return what goes around work that commits by itself; with a fault in sight it is one transaction as well."""
    return _with_points(commit) if _plan else nullcontext()


@contextmanager
def surrounded(commit: Commit, *, cut: Callable[[], None]) -> Iterator[None]:
    """Pass a commit's points before and after work that commits by itself, on connections that are not Django's.

    :param cut: cuts those connections; what comes then fails by itself, or is told here that it does not know its end.
    :raises psycopg.OperationalError: when the connection shall be lost after the commit.
    """
    if _strikes(f"{commit.label}:before_commit"):
        cut()
    yield
    if _strikes(after := f"{commit.label}:after_commit"):
        cut()
        raise psycopg.OperationalError(f"the connection was dropped at {after}")


def passing(point: str) -> None:
    """Pass a point on the way to an engine.

    :raises ConnectionDropped: when the connection shall be lost here.
    """
    if _plan and _strikes(point):
        raise ConnectionDropped(f"dropped at {point}")


@contextmanager
def _with_points(commit: Commit) -> Iterator[None]:
    """Pass the points of the outermost transaction, and only when it has written: most looks for work find none."""
    is_outermost, has_written = not connection.in_atomic_block, False
    with transaction.atomic():
        yield
        if is_outermost:
            has_written = _has_written()
        if has_written and _strikes(f"{commit.label}:before_commit"):
            _drop_database()
    if has_written and _strikes(after := f"{commit.label}:after_commit"):
        _drop_database()
        raise OperationalError(f"the connection was dropped at {after}")


def _has_written() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
        return bool(cursor.fetchone()[0])


def _drop_database() -> None:
    """Cut the socket under the connection; nothing is told to either side."""
    if connection.connection is not None:
        with socket.socket(fileno=os.dup(connection.connection.pgconn.socket)) as cut:
            cut.shutdown(socket.SHUT_RDWR)


def _strikes(point: str) -> bool:
    """Count a pass and kill or stop this process where that is asked for; tell whether the connection shall be dropped."""
    fault = _plan.get(point)
    if fault is None:
        return False
    with _counting:
        _passes[point] += 1
        is_due = _passes[point] == fault.nth
    if not is_due:
        return False
    _ACTIONS[fault.action](fault)
    return fault.action is Action.DROP


def _kill(_: Fault) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop(fault: Fault) -> None:
    """Stop every thread of this process, as SIGSTOP from outside would; a child wakes it."""
    process = os.getpid()
    waker = subprocess.Popen(["/bin/sh", "-c", f"sleep {fault.seconds:f}; kill -CONT {process}"])  # noqa: S603 - numbers
    os.kill(process, signal.SIGSTOP)
    waker.wait()


_ACTIONS: Mapping[Action, Callable[[Fault], None]] = {
    Action.KILL: _kill,
    Action.STOP: _stop,
    Action.DROP: lambda _: None,
}
