"""The loop: claim, ask, record, in that order, until it is told to stop.

One thread speaks with the database, another with the engines, a third listens for notifications. A step that finds the
database gone is tried again with growing pauses; answers that are not recorded yet are kept until they are.
"""

import itertools
import math
import os
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from queue import Empty
from typing import Any

import structlog
from django.conf import settings
from django.db import connection
from django.db.models.functions import Now

from orchestrator.batches import LOST_DATABASE, is_database_lost
from orchestrator.calls import CallToMake, fail_overdue_calls, record_call_answers, requests_for
from orchestrator.database_duties import check_database_at_start, withhold_arming
from orchestrator.database_facts import ChangedDatabase, UnsafeDatabase
from orchestrator.dispatch import Answered, Dispatcher, Wake
from orchestrator.domain.vocabulary import Engine
from orchestrator.engines.protocol import NotSent, Operation, Reply, Request
from orchestrator.events import apply_events
from orchestrator.executions import ExecutionToSend, executions_for
from orchestrator.exit_polls import ExitQuestion, claim_exit_questions, record_exit_answer
from orchestrator.experiments import process_signals
from orchestrator.health import record_health
from orchestrator.listening import Listener
from orchestrator.models import EngineCall, ExecutionPermit, WorkerHeartbeat
from orchestrator.permits import (
    ExecutionAnswer,
    doubt_silent_permits,
    record_execution_answer,
    void_expired_permits,
)
from orchestrator.queue import arm_permits, claim_calls, claim_signals, claim_unsettled, is_doubtful
from orchestrator.revisions import SEND_WITHIN_SECONDS, current_revision

log = structlog.get_logger(__name__)

LONGEST_PAUSE_SECONDS = 10.0
PROBE_TIMEOUT_SECONDS = 5.0
HEARTBEAT_SECONDS = 5.0
SENDING_MARGIN_SECONDS = 5.0
PROBE_AGAIN_SECONDS = 1.0
DOUBTFUL_SECONDS = 1.0  # what kills its worker does so soon; meanwhile no other call that may is taken up
STOPPING_PATIENCE_SECONDS = 30.0
CATCH_UP_SECONDS = 0.25
EXIT_ROUNDS_PER_POLL = 30


class StepFailed(Exception):
    """A worker that should do everything once could not; the message names what failed."""


@dataclass(frozen=True, slots=True)
class Options:
    """``poll_interval`` in seconds; ``concurrency`` is the number of calls in flight per engine."""

    once: bool = False
    batch_size: int = 100
    poll_interval: float = 1.0
    concurrency: int = 16


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
        self._stopping = False
        self._unrecorded: list[Answered] = []
        self._due: dict[str, float] = defaultdict(float)
        self._failures: Counter[str] = Counter()
        self._rests_until: dict[str, float] = {}
        self._probing: set[Engine] = set()
        self._known_at: dict[Engine, float] = {}
        self._has_beaten = False
        self._doubtful: EngineCall | None = None
        self._doubtful_until = 0.0
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
        """Take up nothing new, finish what is in hand, and return from ``run``; safe in a signal handler."""
        self._stopping = True
        self._dispatcher.wake()

    def run(self) -> None:
        """Work until told to stop, or with ``once`` until nothing is due any more.

        :raises UnsafeDatabase: with real money, when the database may forget what it commits.
        :raises StepFailed: with ``once``, when a step failed for another reason than the database's absence.
        """
        log.info("worker.started", worker=self.name, **_named(self.options))
        self._listener.start()
        try:
            self._survive(current_revision)
            self._survive(check_database_at_start)
            while not self._stopping:
                did = self._survive(self._round)
                if self.options.once and not did and not self._busy():
                    break
                if not did:
                    self._wait(self._until_due())
            self._finish()
            self._survive(lambda: self._beat(stopped=True))
        finally:
            self._listener.stop()
            self._dispatcher.close()
            connection.close()
            log.info("worker.stopped", worker=self.name)
        if self.options.once and self._failures:
            raise StepFailed(f"These steps failed, the log says why: {', '.join(sorted(self._failures))}.")

    def _round(self) -> int:
        self._look_at_engines()
        did = sum(self._attempt(step) for step in self._steps)
        if self._is_due("sweep", self.options.poll_interval) or self.options.once:
            did += sum(self._attempt(sweep) for sweep in self._sweeps)
        if self._is_due("exits", settings.EXIT_POLL_SECONDS / EXIT_ROUNDS_PER_POLL):
            did += self._attempt(self._ask_for_exits)
        if self._is_due("heartbeat", HEARTBEAT_SECONDS):
            self._beat()
        for engine in Engine:
            if self._is_due(f"probe {engine}", settings.ENGINE_PROBE_SECONDS):
                self._probe(engine)
        return did

    def _attempt(self, step: Callable[[], int]) -> int:
        """Do one step; a fault in it holds up that step alone, so that poison never starves the rest (rule 12)."""
        name = getattr(step, "__name__", repr(step))
        if time.monotonic() < self._rests_until.get(name, 0.0) and not self._stopping:
            return 0
        try:
            did = step()
        except Exception as error:
            if is_database_lost(error):
                raise
            self._failures[name] += 1
            pause = math.inf if self.options.once else min(0.1 * 2.0 ** self._failures[name], LONGEST_PAUSE_SECONDS)
            self._rests_until[name] = time.monotonic() + pause
            log.exception("worker.step_failed", worker=self.name, step=name, retry_in_seconds=pause, exc_info=error)
            connection.close()
            return 0
        del self._failures[name]
        self._rests_until.pop(name, None)
        return did

    def _survive(self, action: Callable[[], Any]) -> Any:
        """Do it, however long the database is away, and return what it returned.

        A worker that was told to stop gives up and returns None; if it holds answers that nobody else has, not at once.
        """
        began = time.monotonic()
        for failures in itertools.count(1):
            try:
                return action()
            except LOST_DATABASE as error:
                pause = min(0.1 * 2.0 ** min(failures, 10), LONGEST_PAUSE_SECONDS)
                log.warning("database.lost", worker=self.name, retry_in_seconds=pause, exc_info=error)
            connection.close()
            if self._stopping and (not self._unrecorded or time.monotonic() - began > STOPPING_PATIENCE_SECONDS):
                break
            self._pause(pause)
        return None

    # steps, each returns how much it did

    def _record_answers(self) -> int:
        """Record what came back; an answer is forgotten only after it was committed."""
        while not self._dispatcher.results.empty():
            self._take(self._dispatcher.results.get())
        calls = [answer for answer in self._unrecorded if isinstance(answer.work, CallToMake)]
        others = [answer for answer in self._unrecorded if not isinstance(answer.work, CallToMake)]
        if calls:
            record_call_answers(calls)
            self._unrecorded = others
        for answer in others:
            self._record_other(answer)
            self._unrecorded = [one for one in self._unrecorded if one is not answer]
        return len(calls) + len(others)

    def _record_other(self, answer: Answered) -> None:
        work = answer.work
        if isinstance(work, Probe):
            record_health(work.engine, answer.outcome, seconds_ago=answer.seconds_ago())
            self._known_at[work.engine] = answer.received
        elif isinstance(work, ExecutionToSend):
            record_execution_answer(
                ExecutionAnswer(work.permit, answer.outcome, is_query=work.is_query, is_resend=work.is_resend)
            )
        elif isinstance(work, ExitQuestion):
            record_exit_answer(work, answer.outcome)

    def _take_signals(self) -> int:
        """Turn a batch of signals into experiments, and for a moment also those that were not finished before."""
        did, until = 0, time.monotonic() + CATCH_UP_SECONDS
        while claimed := claim_signals(limit=self.options.batch_size, lease_seconds=settings.LEASE_SECONDS):
            process_signals(claimed)
            did += len(claimed)
            if not is_doubtful(claimed[-1]) or time.monotonic() > until:
                break
        return did

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
                with_doubtful=self._doubtful is None or time.monotonic() > self._doubtful_until,
            )
            for call in calls:
                if call.was_doubtful:  # type: ignore[attr-defined]
                    self._doubtful, self._doubtful_until = call, time.monotonic() + DOUBTFUL_SECONDS
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
            # before arming: a pause in between counts
            latest = time.monotonic() + min(SEND_WITHIN_SECONDS, settings.LEASE_SECONDS / 2)
            try:
                armed = arm_permits(engine, limit=room, lease=self.name, lease_seconds=lease_seconds)
            except (UnsafeDatabase, ChangedDatabase) as error:
                withhold_arming(error)
                armed = []
            unsettled = []
            try:
                if known.queryable or known.idempotent:
                    unsettled = claim_unsettled(
                        engine,
                        limit=max(1, room - len(armed)),
                        lease=self.name,
                        lease_seconds=lease_seconds,
                        queryable=known.queryable,
                        idempotent=known.idempotent,
                    )
                work = executions_for([*armed, *unsettled])
            except Exception as error:
                # armed and not sent, and this worker knows it: that is recorded when the database is back
                self._unrecorded += [_not_sent(permit, engine, error) for permit in armed]
                raise
            for one in work:
                self._send(one, engine, latest=latest)
            did += len(armed) + len(unsettled)
        return did

    def _ask_for_exits(self) -> int:
        """Ask the engines that can be asked about open trades, with what room the other work leaves."""
        did = 0
        for engine in Engine:
            room = self._room(engine) // 2
            if room <= 0 or not settings.ENGINES[engine].queryable:
                continue
            for question in claim_exit_questions(engine, limit=room):
                timeout = settings.ENGINES[engine].timeout_seconds
                self._dispatcher.ask(question, engine, question.request, timeout=timeout)
                did += 1
        return did

    def _send(self, one: ExecutionToSend, engine: Engine, *, latest: float) -> None:
        timeout = settings.ENGINES[engine].timeout_seconds
        if one.is_query:
            self._dispatcher.ask(one, engine, one.request, timeout=timeout)
            return
        log.info(
            "permit.armed",
            permit_id=str(one.permit.permit_id),
            experiment_id=str(one.permit.experiment_id),
            signal_id=one.signal_id,
            engine=engine.value,
            attempt=one.permit.attempts,
        )
        by_not_after = time.monotonic() + one.permit.seconds_left  # type: ignore[attr-defined]
        self._dispatcher.ask(one, engine, one.request, timeout=timeout, unless=_too_late(min(latest, by_not_after)))

    # the rest

    def _room(self, engine: Engine) -> int:
        if self._stopping:
            return 0
        return min(self.options.concurrency, settings.ENGINES[engine].concurrency) - self._in_flight(engine)

    def _in_flight(self, engine: Engine) -> int:
        """Return the calls in flight; a probe is none, it waits for nobody and nobody waits for it."""
        return self._dispatcher.in_flight[engine] - (engine in self._probing)

    def _busy(self) -> bool:
        return bool(self._unrecorded) or any(self._in_flight(engine) > 0 for engine in Engine)

    def _wait(self, seconds: float) -> None:
        """Wait for an answer or a notification, at most ``seconds``."""
        with suppress(Empty):
            self._take(self._dispatcher.results.get(timeout=seconds))

    def _take(self, found: Answered | Wake) -> None:
        """Take an answer out of flight; an engine that failed is probed soon rather than at its time."""
        if isinstance(found, Wake):
            return
        self._dispatcher.finish(found)
        self._unrecorded.append(found)
        if isinstance(found.work, Probe):
            self._probing.discard(found.engine)
        if isinstance(found.work, CallToMake) and found.work.call is self._doubtful:
            self._doubtful = None
        has_failed = not isinstance(found.outcome, Reply) or found.outcome.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if has_failed and settings.ENGINES[found.engine].url:
            probe = f"probe {found.engine}"
            self._due[probe] = min(self._due[probe], time.monotonic() + PROBE_AGAIN_SECONDS)

    def _finish(self) -> None:
        """Record what is still in flight; each request has its own deadline, so this ends."""
        while self._busy():
            self._wait(1.0)
            did = self._survive(lambda: self._attempt(self._record_answers))
            if not did and not any(self._in_flight(engine) for engine in Engine):
                # engines are asked again for a recommendation, and a permit without its answer is doubted
                log.error("worker.gave_up", worker=self.name, unrecorded=len(self._unrecorded))
                break

    def _pause(self, seconds: float) -> None:
        """Sleep, but not through being told to stop."""
        until, was_stopping = time.monotonic() + seconds, self._stopping
        while (left := until - time.monotonic()) > 0 and self._stopping == was_stopping:
            time.sleep(min(left, 0.1))

    def _is_due(self, what: str, every: float) -> bool:
        now = time.monotonic()
        if now < self._due[what]:
            return False
        self._due[what] = now + every
        return True

    def _until_due(self) -> float:
        """Return the seconds until the next look around: the poll interval, or less when something regular is due."""
        next_due = min([*self._due.values(), *self._rests_until.values()])
        return max(0.01, min(self.options.poll_interval, next_due - time.monotonic()))

    def _look_at_engines(self) -> None:
        """Know whether the engines are there before deciding: at the start, and whenever what is known has grown old.

        It does while the database is away, and while this process is held up.
        """
        oldest = time.monotonic() - 2 * settings.ENGINE_PROBE_SECONDS - PROBE_TIMEOUT_SECONDS
        if all(self._known_at.get(engine, -math.inf) > oldest for engine in Engine):
            return
        for engine in Engine:
            self._is_due(f"probe {engine}", settings.ENGINE_PROBE_SECONDS)
            self._probe(engine)
        give_up = time.monotonic() + PROBE_TIMEOUT_SECONDS
        while self._probing and time.monotonic() < give_up and not self._stopping:
            self._wait(0.2)
        self._attempt(self._record_answers)

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
            # a container's only process has the same name at every start
            update_fields=["beat_at", "stopped_at", *([] if self._has_beaten else ["started_at"])],
        )
        self._has_beaten = True


def _not_sent(permit: ExecutionPermit, engine: Engine, error: Exception) -> Answered:
    work = ExecutionToSend(permit, Request(Operation.EXECUTE, permit.permit_id), signal_id="")
    return Answered(work, engine, NotSent(f"it could not be prepared: {error}"), time.monotonic(), 0.0)


def _too_late(latest: float) -> Callable[[], str]:
    """Return a check for the moment of sending: a worker that was held up since arming, or past not_after, sends nothing."""
    return lambda: "the worker was held up between arming and sending" if time.monotonic() > latest else ""


def _named(options: Options) -> dict[str, Any]:
    return {
        "batch_size": options.batch_size,
        "poll_interval": options.poll_interval,
        "concurrency": options.concurrency,
        "once": options.once,
    }
