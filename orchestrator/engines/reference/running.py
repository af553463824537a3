"""Running an engine as a process: listening, the work in the background, and an orderly end on SIGTERM or SIGINT."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from types import FrameType

import httpx2
import structlog

from orchestrator.engines.reference.ledger import Ledger
from orchestrator.engines.reference.outbox import TIMEOUT_SECONDS, Destination, send_due_events
from orchestrator.engines.reference.profiles import Profile
from orchestrator.engines.reference.questions import answer_question, unanswered
from orchestrator.engines.reference.requests import Engine
from orchestrator.engines.reference.server import EngineServer

log = structlog.get_logger(__name__)

IDLE_SECONDS = 0.25
LAST_WORDS_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How an engine is run. ``delay`` in seconds; the first of ``secrets`` signs, all verify; ``port`` 0 is any free."""

    ledger: Path
    port: int
    delay: float
    secrets: tuple[str, ...]
    orchestrator_url: str


def run_engine(profile: Profile, settings: RunSettings, *, announce: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT; what is in hand is finished, what waits stays in the ledger for the next start.

    :param announce: is told once, in one line, where the engine listens.
    :raises LedgerUnavailable: when the ledger cannot be used.
    :raises PortUnavailable: when it cannot listen on the port.
    """
    with Ledger(settings.ledger) as ledger:
        engine = Engine(profile, ledger, settings.secrets, settings.delay, Event(), Event(), Event())
        destination = Destination(events_url(settings.orchestrator_url, profile.name), settings.secrets[0])
        with EngineServer(engine, port=settings.port) as server, _ended_by_signals(engine):
            threads = [
                Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="listening"),
                Thread(target=_answer_questions, args=(engine,), name="answering"),
                Thread(target=_send_events, args=(engine, destination), name="sending", daemon=True),
            ]
            for thread in threads:
                thread.start()
            announce(f"Reference engine {profile.name} listens on {server.address}, ledger {settings.ledger}")
            engine.stopping.wait()
            server.shutdown()
            server.wait_until_idle(seconds=LAST_WORDS_SECONDS)
            for thread in threads:
                thread.join(timeout=LAST_WORDS_SECONDS)


def events_url(orchestrator_url: str, engine: str) -> str:
    """Return the address that takes the events of ``engine``."""
    return f"{orchestrator_url.rstrip('/')}/api/v1/engines/{engine}/events/"


def _answer_questions(engine: Engine) -> None:
    """Answer what was asked `delay` seconds ago; for a synchronous engine only what an earlier process left behind."""
    failed: set[str] = set()

    def answer_due() -> None:
        engine.stopping.wait(engine.delay)
        for experiment_id in unanswered(engine.ledger, received_until=engine.now() - timedelta(seconds=engine.delay)):
            if experiment_id in failed or engine.stopping.is_set():
                continue
            failed.add(experiment_id)  # one that cannot be answered is tried once by each process
            answer_question(engine.profile, engine.ledger, experiment_id, at=engine.now())
            failed.discard(experiment_id)
            engine.reported.set()

    _repeat(engine, answer_due, woken_by=engine.asked, once=engine.profile.synchronous)


def _send_events(engine: Engine, destination: Destination) -> None:
    """Send what is due, and again what was not taken."""
    # Loopback or a private network: a proxy named in the environment has no business with signed events.
    with httpx2.Client(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
        _repeat(
            engine,
            lambda: send_due_events(engine.ledger, destination, client, at=engine.now()),
            woken_by=engine.reported,
        )


def _repeat(engine: Engine, step: Callable[[], object], *, woken_by: Event, once: bool = False) -> None:
    """Do ``step`` now, whenever ``woken_by`` is set and every quarter of a second, until the engine stops."""
    while not engine.stopping.is_set():
        woken_by.clear()
        try:
            step()
        except Exception:
            if engine.stopping.is_set():
                return
            log.exception("reference.background_failed", engine=engine.profile.name)
            engine.stopping.wait(IDLE_SECONDS)
            continue
        if once:
            return
        woken_by.wait(IDLE_SECONDS)


@contextmanager
def _ended_by_signals(engine: Engine) -> Iterator[None]:
    """Let SIGTERM and SIGINT stop the engine."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        engine.stopping.set()
        engine.asked.set()
        engine.reported.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
