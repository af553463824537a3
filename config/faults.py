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
    return _with_points(commit, transaction.atomic()) if _plan else transaction.atomic()


def autocommitted(commit: Commit) -> AbstractContextManager[None]:
    """Return what goes around work that commits by itself: a single statement, or a function that owns its transaction.

    The point before the commit lies before that work.
    """
    return _with_points(commit, None) if _plan else nullcontext()


def passing(point: str) -> None:
    """Pass a point on the way to an engine.

    :raises ConnectionDropped: when the connection shall be lost here.
    """
    if _plan and _strikes(point):
        raise ConnectionDropped(f"dropped at {point}")


@contextmanager
def _with_points(commit: Commit, own: "AbstractContextManager[None] | None") -> Iterator[None]:
    if connection.in_atomic_block:  # not a commit: what is around it commits
        with own or nullcontext():
            yield
        return
    before, after = f"{commit.label}:before_commit", f"{commit.label}:after_commit"
    if own is None:
        _pass_database(before)
        yield
    else:
        with own:
            yield
            _pass_database(before)
    if _strikes(after):
        _drop_database()
        raise OperationalError(f"the connection was dropped at {after}")


def _pass_database(point: str) -> None:
    if _strikes(point):
        connection.ensure_connection()
        _drop_database()


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
