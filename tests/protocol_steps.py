"""The execution protocol in steps, for tests: a permit ready to be sent, and a worker that does one thing at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.domain.vocabulary import Engine
from orchestrator.engines.protocol import NoAnswer, NotSent, Reply
from orchestrator.events import apply_events
from orchestrator.models import ExecutionPermit, Experiment
from orchestrator.permits import ExecutionAnswer, record_execution_answer
from orchestrator.queue import arm_permits, in_seconds
from orchestrator.worker import Options, Worker
from outcomes.exits import apply_exits, price_followers, settle_late_followers
from tests.factories import make_experiment, make_permit, make_recommendation, make_shadow_trade

LEASE = 30.0
PERMIT_STATES_AFTER_ARMING = ("ARMED", "UNKNOWN", "EXECUTED", "NOT_EXECUTED")


def now() -> datetime:
    return datetime.now(UTC)


def experiment_of(mode: str = "ENGINE_A_PRIMARY", **asked: Any) -> Experiment:
    """Write an experiment that was decided just now."""
    return make_experiment(execution_mode=mode, at=now() - timedelta(seconds=1), **asked)


def granted(
    *,
    engine: str = "A",
    seconds: float = 30,
    state: str = "GRANTED",
    experiment: Experiment | None = None,
    **fields: Any,
) -> ExecutionPermit:
    """Write a permit that is due: its engine recommended OPEN, its twin is there. ``seconds`` until its not_after."""
    experiment = experiment or experiment_of(f"ENGINE_{engine}_PRIMARY")
    make_recommendation(experiment, engine)
    make_shadow_trade(experiment, engine)
    times = {"not_after": now() + timedelta(seconds=seconds), "next_attempt_at": now() - timedelta(seconds=1)}
    if state in PERMIT_STATES_AFTER_ARMING:
        times["armed_at"] = now() - timedelta(seconds=1)
    if state == "ARMED":
        fields = {"lease": "worker 1", "fence": 1, "lease_expires_at": now() + timedelta(seconds=LEASE)} | fields
    return make_permit(experiment, state=state, **(times | {"attempts": int(state != "GRANTED")} | fields))


def arm(
    engine: str = "A", *, limit: int = 100, lease: str = "worker 1", seconds: float = LEASE
) -> list[ExecutionPermit]:
    """Arm what is due of an engine, as a worker does before it sends."""
    return arm_permits(Engine(engine), limit=limit, lease=lease, lease_seconds=seconds)


def tell(permit: ExecutionPermit, outcome: Reply | NotSent | NoAnswer, **how: bool) -> ExecutionPermit:
    """Record what came back for a permit as a worker holds it, and return the permit as it is then."""
    record_execution_answer(ExecutionAnswer(permit, outcome, **how))
    return again(permit)


def again(permit: ExecutionPermit) -> ExecutionPermit:
    """Return a permit as it is now."""
    return ExecutionPermit.objects.get(pk=permit.pk)


def make_due(*permits: ExecutionPermit) -> None:
    """Let the pause before the next look at these permits be over."""
    ExecutionPermit.objects.filter(pk__in=[permit.pk for permit in permits]).update(next_attempt_at=in_seconds(-1))


def lose_lease(*permits: ExecutionPermit) -> None:
    """Let the lease on these permits run out, as when their worker is paused for too long."""
    ExecutionPermit.objects.filter(pk__in=[permit.pk for permit in permits]).update(lease_expires_at=in_seconds(-1))


def apply_everything() -> None:
    """Apply the inbox and settle followers until nothing is left to do."""
    while apply_events() + apply_exits() + price_followers() + settle_late_followers():
        pass


class SteppedWorker(Worker):
    """A worker without its loop: each step is done when a test says so."""

    def send(self) -> int:
        """Arm and send, or ask about, what is due; return how much that was. Nothing is recorded yet."""
        return self._execute()

    def record(self) -> None:
        """Wait for the answers to what was sent, and record them."""
        while self._busy():
            self._wait(1.0)
            self._record_answers()

    def execute(self) -> int:
        """Send what is due, and record what comes back."""
        did = self.send()
        self.record()
        return did

    def call(self) -> None:
        """Make the calls that are due, and record what comes back."""
        self._call()
        self.record()


@contextmanager
def a_worker(name: str = "worker 1") -> Iterator[SteppedWorker]:
    """Run a worker step by step against the engines of the settings."""
    worker = SteppedWorker(Options(once=True))
    worker.name = name
    try:
        yield worker
    finally:
        worker._dispatcher.close()
