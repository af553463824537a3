"""Real processes without their start: forked from one that has imported everything, before any connection is theirs.

A child gets database connections, pool and threads of its own, and dies with its parent.
"""

import ctypes
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from django.conf import settings
from django.db import connections

from config import faults
from config.fault_points import Fault
from config.wsgi import application
from orchestrator.alert_watch import AlertWatch
from orchestrator.worker import Options, Worker
from outcomes.counting import count_changes
from outcomes.exits import apply_exits, price_followers, settle_late_followers
from outcomes.expiry import report_expired_trades
from webhooks.spool_draining import drain_spool

HIT, NOT_HIT, BROKEN = 0, 3, 70  # how a child ends that was not killed
_PR_SET_PDEATHSIG = 1
_POOL: dict[str, Any] = {}
_parents: list[object] = []


def keep_one_connection() -> None:
    """Let this process, which forks, have one plain connection instead of a pool with its threads."""
    _POOL.update(connections.settings["default"]["OPTIONS"].pop("pool"))


class Child:
    """A forked process; ``ended`` is what became of it: an exit code, a signal's number below zero, None while it lives."""

    def __init__(self, work: Callable[[], int], *, faults_armed: Mapping[str, Fault] | None = None) -> None:
        self.ended: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        # it is asked to end only when it can hear that
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        self.pid = os.fork()
        if self.pid == 0:
            _be_a_child(work, faults_armed or {})
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def look(self) -> int | None:
        if self.ended is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.ended = os.waitstatus_to_exitcode(status)
        return self.ended

    def is_stopped(self) -> bool:
        return self.look() is None and _state_of(self.pid) == "T"

    def ask_to_end(self) -> None:
        if self.look() is None:
            os.kill(self.pid, signal.SIGTERM)

    def wait(self, *, seconds: float = 40) -> int:
        """Wait until it has ended.

        :raises AssertionError: when it has not within ``seconds``; it is killed then.
        """
        until = time.monotonic() + seconds
        while (ended := self.look()) is None:
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
                raise AssertionError("a process did not end in time")
            time.sleep(0.005)
        return ended

    def wake(self) -> None:
        """End its stop early: the sleep of whoever shall wake it ends, and it is woken as it would have been."""
        for waker in _children_of(self.pid):
            for sleeper in _children_of(waker):
                os.kill(sleeper, signal.SIGKILL)

    def kill(self) -> None:
        if self.look() is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def listen() -> socket.socket:
    """Return a socket that listens on a free port of loopback."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(("127.0.0.1", 0))
    found.listen(128)
    return found


def address(listening: socket.socket) -> str:
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


def work_until_told(point: str = "") -> int:
    """Be a worker, as ``run_orchestrator`` makes it, until SIGTERM; tell whether ``point`` was passed."""
    worker = make_worker(once=False)
    _on_sigterm(worker.stop)
    worker.run()
    return was_hit(point)


def make_worker(*, once: bool) -> Worker:
    return Worker(
        Options(once=once, poll_interval=0.1),
        steps=(apply_exits, price_followers),
        sweeps=(drain_spool, settle_late_followers, report_expired_trades, AlertWatch().watch_alerts, count_changes),
    )


def serve_web(listening: socket.socket, point: str = "", *, without_database: bool = False) -> int:
    """Be a web process until SIGTERM; ``without_database``: one that is cut off from it, from the beginning."""
    if without_database:
        connections["default"].settings_dict["HOST"] = "/nowhere"
    _on_sigterm(lambda: os._exit(was_hit(point)))
    server = _Web(listening.getsockname(), _Quiet, bind_and_activate=False)
    server.socket = listening
    server.server_name, server.server_port = "127.0.0.1", listening.getsockname()[1]
    server.setup_environ()
    server.set_app(application)
    server.serve_forever(poll_interval=0.5)
    return BROKEN


def _on_sigterm(act: Callable[[], None]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: act())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def was_hit(point: str) -> int:
    return HIT if faults._passes[point] else NOT_HIT


class _Web(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that hung up is nothing to print."""


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Nothing is printed."""


def _be_a_child(work: Callable[[], int], armed: Mapping[str, Fault]) -> None:
    code = BROKEN
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _have_own_connections()
        faults.arm(armed)
        code = work()
    except BaseException:  # noqa: BLE001 - a child never comes back into the code of its parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _have_own_connections() -> None:
    """Leave the parent's connection alone: closed here, it would be closed there."""
    _parents.append(connections["default"])
    settings.DATABASES["default"]["OPTIONS"]["pool"] = connections.settings["default"]["OPTIONS"]["pool"] = dict(_POOL)
    connections["default"] = connections.create_connection("default")


def _state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return ""


def _children_of(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found
