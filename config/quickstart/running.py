"""Quickstart itself: prepares the database, starts the processes, watches them, and ends them."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import httpx2
from django.conf import settings
from django.db import connections

from config.embedded_postgres.locks import open_lock, try_lock
from config.embedded_postgres.server import leave_server
from config.quickstart.child import adopt_orphans, bury_orphans
from config.quickstart.children import Child
from config.quickstart.counts import Counting
from config.quickstart.display import Display
from config.quickstart.preparing import Plan, QuickstartFailed, System, prepare
from config.quickstart.samples import SamplePosting, missing_samples, read_samples

SAMPLES = Path("orchestrator", "samples", "alerts.jsonl")
READY_SECONDS = 60.0
WATCH_SECONDS = 0.25
DATABASE_STOP_SECONDS = 20.0
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(plan: Plan, display: Display) -> None:
    """Run the system until SIGINT, SIGTERM or SIGHUP; nothing is left running afterwards.

    :raises QuickstartFailed: when it cannot start or a process keeps dying.
    :raises PortUnavailable: when the web server's port is taken.
    :raises OperationalError: when the database cannot be used.
    """
    children: list[Child] = []
    posting: SamplePosting | None = None
    counting = Counting()
    with _signals_as_interrupts(), _only_one():
        adopt_orphans()
        try:
            system = prepare(plan, display)
            children += system.children
            for child in children:
                child.start()
            _wait_until_ready(system, display)
            display.say(system.welcome)
            posting = _post_samples(plan, system, display)
            counting.start()
            with display:
                _watch(children, posting, counting, display)
        except KeyboardInterrupt:
            display.say("Ending …")
        finally:
            _end(children, posting, counting)
            if children:
                display.say("Everything has ended. The data is kept; the next start goes on with it.")


def _wait_until_ready(system: System, display: Display) -> None:
    end = time.monotonic() + READY_SECONDS
    with httpx2.Client(timeout=5, trust_env=False) as client:
        while time.monotonic() < end:
            _look_after(system.children, display)
            try:
                if client.get(f"{system.address}/healthz").is_success:
                    return
            except httpx2.HTTPError:
                pass  # not yet
            time.sleep(0.1)
    raise QuickstartFailed(f"The web server does not answer. Its log is {settings.RUN_DIR / 'web.log'}.")


def _post_samples(plan: Plan, system: System, display: Display) -> SamplePosting | None:
    if not plan.demo:
        return None
    missing = missing_samples(read_samples(settings.BASE_DIR / SAMPLES))
    if not missing:
        display.say("All sample alerts are there already; none is posted again.")
        return None
    if not system.webhook_token:
        display.say("The webhook's token is not known here, so no sample alerts are posted. Set WEBHOOK_TOKEN to it.")
        return None
    posting = SamplePosting(missing, url=f"{system.address}/webhooks/tradingview/{system.webhook_token}/")
    posting.start()
    return posting


def _watch(children: list[Child], posting: SamplePosting | None, counting: Counting, display: Display) -> NoReturn:
    """Look after the processes and show the numbers, until a signal ends it."""
    total = len(posting.bodies) if posting else 0
    running = posting
    while True:
        _look_after(children, display)
        if running is not None and not running.is_alive():
            display.say(_last_words(running))
            running = None
        display.show(counting.latest(), sent=posting.sent if posting else 0, total=total)
        time.sleep(WATCH_SECONDS)


def _look_after(children: list[Child], display: Display) -> None:
    """Start a dead process again and say so.

    :raises QuickstartFailed: when it keeps dying.
    """
    for child in children:
        if not child.has_died():
            continue
        obituary = child.obituary()
        if child.is_hopeless():
            raise QuickstartFailed(f"{obituary}\nIt keeps dying, so everything is ended.")
        display.say(f"{obituary}\nIt is started again.")
        child.start()


def _last_words(posting: SamplePosting) -> str:
    if posting.trouble:
        return f"Posting the sample alerts stopped after {posting.sent}: {posting.trouble}"
    refused = f" ({posting.refused} were refused)" if posting.refused else ""
    return f"All sample alerts are sent{refused}. See the comparison: .venv/bin/python manage.py performance_report"


def _end(children: list[Child], posting: SamplePosting | None, counting: Counting) -> None:
    """End all processes: what takes work in first, so that the rest can finish what is in hand."""
    _ignore_signals()
    if posting is not None:
        posting.stop()
    if counting.is_alive():
        counting.stop()
    for child in reversed(children):
        child.ask_to_stop()
    for child in reversed(children):
        child.wait_until_stopped()
    for alias in connections:
        connections[alias].close()
        connections[alias].close_pool()  # type: ignore[attr-defined]  # PostgreSQL always
    directory = settings.DATABASES["default"].get("EMBEDDED_POSTGRES_DIR")
    if directory:
        leave_server(directory, stop_seconds=DATABASE_STOP_SECONDS)
    bury_orphans()


@contextmanager
def _only_one() -> Iterator[None]:
    """Hold this installation's lock, so that two quickstarts do not share ports, logs and ledgers."""
    try:
        settings.RUN_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = open_lock(settings.RUN_DIR / "quickstart.lock")
    except OSError as error:
        raise QuickstartFailed(
            f"{settings.RUN_DIR} cannot be used: {error.strerror}. Set RUN_DIR to a folder that you may write."
        ) from error
    try:
        if not try_lock(descriptor):
            raise QuickstartFailed(
                "Quickstart is running here already. End it first, or set RUN_DIR and EMBEDDED_POSTGRES_DIR for another."
            )
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into a KeyboardInterrupt; the ending is not interrupted again."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        _ignore_signals()
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in END_SIGNALS}
    for number in END_SIGNALS:
        # nohup means that the end of the terminal is not the end of the program.
        if number != signal.SIGHUP or before[number] != signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    for number in END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
