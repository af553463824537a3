"""The loop: claim, ask, record, in that order, until it is told to stop.

One thread speaks with the database, another with the engines, a third listens for notifications. A step that finds the
database gone is tried again with growing pauses; answers that are not recorded yet are kept until they are.
"""

import itertools
import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty
from typing import Any

import structlog
from django.conf import settings
from django.db import connection
from django.db.models.functions import Now

from orchestrator.batches import LOST_DATABASE
from orchestrator.calls import CallToMake, fail_overdue_calls, record_call_answers, requests_for
from orchestrator.dispatch import Answered, Dispatcher
from orchestrator.domain.moments import moment_string
from orchestrator.domain.recommendation import execution_body
from orchestrator.domain.vocabulary import Engine
from orchestrator.engines.protocol import Operation, Request
from orchestrator.events import apply_events
from orchestrator.experiments import process_signals
from orchestrator.health import record_health
from orchestrator.listening import Listener
from orchestrator.models import ExecutionPermit, ExecutionPolicy, Recommendation, WorkerHeartbeat
from orchestrator.permits import (
    ExecutionAnswer,
    doubt_silent_permits,
    record_execution_answer,
    void_expired_permits,
)
from orchestrator.queue import arm_permits, claim_calls, claim_signals, claim_unsettled
from orchestrator.revisions import current_revision
from webhooks.canonical import canonical

log = structlog.get_logger(__name__)

LONGEST_PAUSE_SECONDS = 10.0
PROBE_TIMEOUT_SECONDS = 5.0
HEARTBEAT_SECONDS = 5.0
SENDING_MARGIN_SECONDS = 5.0
TRIES_WHEN_STOPPING = 4


@dataclass(frozen=True, slots=True)
class Options:
    """``poll_interval`` in seconds; ``concurrency`` is the number of calls in flight per engine."""

    once: bool = False
    batch_size: int = 100
    poll_interval: float = 1.0
    concurrency: int = 16


@dataclass(frozen=True, slots=True)
class ExecutionToSend:
    permit: ExecutionPermit
    is_query: bool = False
    is_resend: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    engine: Engine


class Worker:
    """Any number of them, on any number of machines, share the work through the database alone.

    :param steps: what later stages do with what happened, each returning how much it did.
    :param sweeps: likewise, but once per poll interval.
    """

    def __init__(
        self, options: Options, *, steps: Sequence[Callable[[], int]] = (), sweeps: Sequence[Callable[[], int]] = ()
    ) -> None:
        self.options = options
        self.name = f"{socket.gethostname()}:{os.getpid()}"[:100]
        self._dispatcher = Dispatcher(settings.ENGINES)
        self._listener = Listener(self._dispatcher.wake)
        self._stopping = threading.Event()
        self._unrecorded: list[Answered] = []
        self._due: dict[str, float] = defaultdict(float)
        self._probing: set[Engine] = set()
        self._steps: tuple[Callable[[], int], ...] = (
            self._record_answers,
            self._take_signals,
            apply_events,
            *steps,
            self._execute,
            self._call,
        )
        self._sweeps: tuple[Callable[[], int], ...] = (
            void_expired_permits,
            doubt_silent_permits,
            fail_overdue_calls,
            *sweeps,
        )

    def stop(self) -> None:
        """Take up nothing new, finish what is in hand, and return from ``run``."""
        self._stopping.set()
        self._dispatcher.wake()

    def run(self) -> None:
        """Work until told to stop, or with ``once`` until nothing is left to do."""
        log.info("worker.started", worker=self.name, **_named(self.options))
        self._listener.start()
        try:
            self._survive(current_revision)
            self._survive(self._probe_first)
            while not self._stopping.is_set():
                did = self._survive(self._round)
                if self.options.once and not did and not self._busy():
                    break
                if not did:
                    self._wait(self.options.poll_interval)
            self._finish()
            self._survive(lambda: self._beat(stopped=True))
        finally:
            self._listener.stop()
            self._dispatcher.close()
            connection.close()
            log.info("worker.stopped", worker=self.name)

    def _round(self) -> int:
        did = sum(step() for step in self._steps)
        if self._is_due("sweep", self.options.poll_interval):
            did += sum(sweep() for sweep in self._sweeps)
        if self._is_due("heartbeat", HEARTBEAT_SECONDS):
            self._beat()
        for engine in Engine:
            if self._is_due(f"probe {engine}", settings.ENGINE_PROBE_SECONDS):
                self._probe(engine)
        return did

    def _survive(self, action: Callable[[], Any]) -> Any:
        """Do it, however long the database is away, and return what it returned.

        A worker that was told to stop gives up after some tries, unless it holds answers that nobody else has.
        """
        for failures in itertools.count(1):
            pause = min(0.1 * 2.0**failures, LONGEST_PAUSE_SECONDS)
            try:
                return action()
            except LOST_DATABASE as error:
                log.warning("database.lost", worker=self.name, retry_in_seconds=pause, exc_info=error)
            except Exception as error:
                if self.options.once:
                    raise
                log.exception("worker.step_failed", worker=self.name, retry_in_seconds=pause, exc_info=error)
            connection.close()
            if self._stopping.wait(pause) and failures >= TRIES_WHEN_STOPPING and not self._unrecorded:
                break
        return 0

    # steps, each returns how much it did

    def _record_answers(self) -> int:
        """Record what came back; an answer is forgotten only after it was committed."""
        self._unrecorded.extend(self._drain())
        calls = [answer for answer in self._unrecorded if isinstance(answer.work, CallToMake)]
        others = [answer for answer in self._unrecorded if not isinstance(answer.work, CallToMake)]
        if calls:
            record_call_answers(calls)
            self._unrecorded = others
        for answer in others:
            self._record_other(answer)
            self._unrecorded.remove(answer)
        return len(calls) + len(others)

    def _record_other(self, answer: Answered) -> None:
        work = answer.work
        if isinstance(work, Probe):
            record_health(work.engine, answer.outcome)
            self._probing.discard(work.engine)
        elif isinstance(work, ExecutionToSend):
            record_execution_answer(
                ExecutionAnswer(work.permit, answer.outcome, is_query=work.is_query, is_resend=work.is_resend)
            )

    def _take_signals(self) -> int:
        claimed = claim_signals(limit=self.options.batch_size, lease_seconds=settings.LEASE_SECONDS)
        if claimed:
            process_signals(claimed)
        return len(claimed)

    def _call(self) -> int:
        """Claim the due calls of each engine as far as it has room, and send them; a slow engine fills only its own."""
        did = 0
        for engine in Engine:
            room = self._room(engine)
            if room <= 0:
                continue
            timeout = settings.ENGINES[engine].timeout_seconds
            calls = claim_calls(
                engine,
                limit=room,
                lease=self.name,
                lease_seconds=max(settings.LEASE_SECONDS, timeout + SENDING_MARGIN_SECONDS),
            )
            for made in requests_for(calls) if calls else ():
                log.info(
                    "engine.called",
                    signal_id=made.signal_id,
                    experiment_id=str(made.call.experiment_id),
                    engine=engine.value,
                    kind=made.call.kind,
                    attempt=made.call.attempts,
                )
                left = max(0.05, min(timeout, made.call.seconds_left))  # type: ignore[attr-defined]
                self._dispatcher.ask(made, engine, made.request, timeout=left)
            did += len(calls)
        return did

    def _execute(self) -> int:
        """Arm and send what was granted, and ask about what is not settled."""
        did = 0
        for engine in Engine:
            room = self._room(engine)
            if room <= 0:
                continue
            known = settings.ENGINES[engine]
            lease_seconds = max(settings.LEASE_SECONDS, known.timeout_seconds + SENDING_MARGIN_SECONDS)
            latest = time.monotonic() + settings.LEASE_SECONDS / 2  # before arming: a pause in between counts
            armed = arm_permits(engine, limit=room, lease=self.name, lease_seconds=lease_seconds)
            self._send([ExecutionToSend(permit) for permit in armed], engine, latest=latest)
            did += len(armed)
            if known.queryable or known.idempotent:
                unsettled = claim_unsettled(
                    engine,
                    limit=max(1, room - len(armed)),
                    lease=self.name,
                    lease_seconds=lease_seconds,
                    queryable=known.queryable,
                    idempotent=known.idempotent,
                )
                self._send(
                    [
                        ExecutionToSend(permit, is_query=not permit.resend, is_resend=permit.resend)  # type: ignore[attr-defined]
                        for permit in unsettled
                    ],
                    engine,
                    latest=latest,
                )
                did += len(unsettled)
        return did

    def _send(self, work: Sequence[ExecutionToSend], engine: Engine, *, latest: float) -> None:
        bodies = _execution_bodies([one.permit for one in work if not one.is_query])
        timeout = settings.ENGINES[engine].timeout_seconds
        for one in work:
            permit = one.permit
            if one.is_query:
                self._dispatcher.ask(one, engine, Request(Operation.EXECUTION, permit.permit_id), timeout=timeout)
                continue
            log.info(
                "permit.armed",
                permit_id=str(permit.permit_id),
                experiment_id=str(permit.experiment_id),
                signal_id=bodies[permit.permit_id].signal_id,
                engine=engine.value,
                attempt=permit.attempts,
            )
            self._dispatcher.ask(
                one,
                engine,
                Request(Operation.EXECUTE, permit.permit_id, bodies[permit.permit_id].body),
                timeout=timeout,
                unless=_too_late(latest),
            )

    # the rest

    def _room(self, engine: Engine) -> int:
        if self._stopping.is_set():
            return 0
        most = min(self.options.concurrency, settings.ENGINES[engine].concurrency)
        return most - self._dispatcher.in_flight[engine]

    def _busy(self) -> bool:
        return bool(self._unrecorded) or any(count > 0 for count in self._dispatcher.in_flight.values())

    def _wait(self, seconds: float) -> None:
        """Wait for an answer or a notification, at most ``seconds``."""
        try:
            found = self._dispatcher.results.get(timeout=seconds)
        except Empty:
            return
        if isinstance(found, Answered):
            self._dispatcher.finish(found)
            self._unrecorded.append(found)

    def _drain(self) -> list[Answered]:
        found = []
        while not self._dispatcher.results.empty():
            one = self._dispatcher.results.get()
            if isinstance(one, Answered):
                self._dispatcher.finish(one)
                found.append(one)
        return found

    def _finish(self) -> None:
        """Record what is still in flight; each request has its own deadline, so this ends."""
        while self._busy():
            self._wait(1.0)
            self._survive(self._record_answers)

    def _is_due(self, what: str, every: float) -> bool:
        now = time.monotonic()
        if now < self._due[what]:
            return False
        self._due[what] = now + every
        return True

    def _probe_first(self) -> None:
        """Know whether the engines are there before the first decision."""
        for engine in Engine:
            self._is_due(f"probe {engine}", settings.ENGINE_PROBE_SECONDS)
            self._probe(engine)
        give_up = time.monotonic() + PROBE_TIMEOUT_SECONDS
        while self._probing and time.monotonic() < give_up and not self._stopping.is_set():
            self._wait(0.2)
            self._record_answers()

    def _probe(self, engine: Engine) -> None:
        if engine in self._probing:
            return
        self._probing.add(engine)
        timeout = min(PROBE_TIMEOUT_SECONDS, settings.ENGINES[engine].timeout_seconds)
        self._dispatcher.ask(Probe(engine), engine, Request(Operation.HEALTH), timeout=timeout)

    def _beat(self, *, stopped: bool = False) -> None:
        WorkerHeartbeat.objects.bulk_create(
            [WorkerHeartbeat(name=self.name, started_at=Now(), beat_at=Now(), stopped_at=Now() if stopped else None)],
            update_conflicts=True,
            unique_fields=["name"],
            update_fields=["beat_at", "stopped_at"],
        )


@dataclass(frozen=True, slots=True)
class _Execution:
    body: str
    signal_id: str


def _execution_bodies(permits: Sequence[ExecutionPermit]) -> dict[Any, _Execution]:
    """Return the body of each execution: the engine's own recommendation, to the letter, with its permit."""
    if not permits:
        return {}
    ids = [permit.experiment_id for permit in permits]
    raws = {
        (answer.experiment_id, answer.engine): answer.raw
        for answer in Recommendation.objects.filter(experiment_id__in=ids)
    }
    policies = {
        policy.experiment_id: policy
        for policy in ExecutionPolicy.objects.filter(experiment_id__in=ids).select_related("experiment")
    }
    return {
        permit.permit_id: _Execution(
            body=execution_body(
                raws[permit.experiment_id, permit.engine],
                envelope=canonical(
                    {
                        "permit_id": str(permit.permit_id),
                        "experiment_id": str(permit.experiment_id),
                        "not_after": moment_string(permit.not_after),
                        "app_mode": policies[permit.experiment_id].inputs["revision"]["app_mode"],
                    }
                ),
            ),
            signal_id=str(policies[permit.experiment_id].experiment.signal_id),
        )
        for permit in permits
    }


def _too_late(latest: float) -> Callable[[], str]:
    """Return a check for the moment of sending: a worker that was held up since arming sends nothing."""
    return lambda: "the worker was held up between arming and sending" if time.monotonic() > latest else ""


def _named(options: Options) -> dict[str, Any]:
    return {
        "batch_size": options.batch_size,
        "poll_interval": options.poll_interval,
        "concurrency": options.concurrency,
        "once": options.once,
    }
