"""A halt is a line in time: before its commit orders may leave, after it none does, and nobody can hold it up for long."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest
from django.db import connection, connections, transaction
from pytest_django import Settings

from orchestrator.models import ExecutionPermit, PolicyRevision
from orchestrator.queue import database_clock
from orchestrator.revisions import record_revision
from tests.engine_server import EXECUTE, Behaviour, EngineServer, Recorded
from tests.protocol_steps import SteppedWorker, a_worker, again, arm, granted
from tests.waiting import eventually
from tests.working import in_threads

pytestmark = pytest.mark.django_db(transaction=True)

LONGEST_HALT_SECONDS = 4.0  # 2.5 and what a busy machine adds


class TimedEngine(EngineServer):
    """Notes the time of the database's machine at which each order is received."""

    def __init__(self, name: str) -> None:
        super().__init__(name, idempotent=False)
        self.received: list[float] = []

    def note(self, request: Recorded) -> Behaviour:
        if request.operation == EXECUTE:
            self.received.append(time.time())
        return super().note(request)


@pytest.fixture
def engine(settings: Settings) -> Iterator[TimedEngine]:
    with TimedEngine("A") as one, EngineServer("B") as other:
        settings.ENGINES = {"A": one.settings(concurrency=64), "B": other.settings(url="")}
        yield one


@contextmanager
def locked(table: str) -> Iterator[None]:
    """Let nobody read a table meanwhile: whoever needs it between arming and sending is held up."""
    own = connections.create_connection("default")
    try:
        with own.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
            cursor.execute("ROLLBACK")
    finally:
        own.close()


def halt() -> tuple[float, float]:
    """Halt, and return when that was committed (the machine's clock) and how many seconds it took."""
    began = time.monotonic()
    record_revision({"TRADING_HALTED": True}, changed_by="operator")
    return time.time(), time.monotonic() - began


def in_a_thread(worker: SteppedWorker) -> threading.Thread:
    def send() -> None:
        try:
            worker.execute()
        finally:
            connection.close()

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@pytest.mark.requirement("3.4")
def test_an_order_that_was_armed_before_the_halt_and_held_up_does_not_leave_after_it(engine: TimedEngine) -> None:
    permit = granted()
    with a_worker() as worker:
        with locked("recommendations"):  # its text is read after the arming
            sending = in_a_thread(worker)
            eventually(lambda: again(permit).state == "ARMED")
            _, seconds = halt()
            assert 1.0 < seconds < LONGEST_HALT_SECONDS
        sending.join(10)
        time.sleep(0.3)
    assert engine.received == []
    assert again(permit).state == "GRANTED"
    assert "held up" in again(permit).detail


def test_a_halt_waits_for_an_order_that_is_on_its_way_and_not_for_its_answer(engine: TimedEngine) -> None:
    engine.always(EXECUTE, Behaviour(delay_seconds=4.5))  # it has it, and says nothing
    permit = granted()
    with a_worker() as worker:
        sending = in_a_thread(worker)
        engine.wait_for(EXECUTE)
        committed, seconds = halt()
        assert seconds < LONGEST_HALT_SECONDS
        sending.join(10)
    assert again(permit).state == "EXECUTED"
    assert engine.received[0] < committed


def test_nothing_is_waited_for_when_every_order_is_answered(engine: TimedEngine) -> None:
    permit = granted()
    with a_worker() as worker:
        worker.execute()
    assert again(permit).state == "EXECUTED"
    assert again(permit).may_send_until is None
    _, seconds = halt()
    assert seconds < 0.5


def test_a_worker_that_died_after_arming_holds_up_a_halt_for_a_moment_only(engine: TimedEngine) -> None:
    granted()
    [permit] = arm()
    _, seconds = halt()
    assert 1.0 < seconds < LONGEST_HALT_SECONDS
    assert again(permit).state == "ARMED"


def test_a_worker_that_stops_in_the_middle_of_arming_loses_its_connection_and_the_halt_goes_on(
    engine: TimedEngine,
) -> None:
    granted()
    armed, go_on = threading.Event(), threading.Event()
    lost: list[Exception] = []

    def arm_and_stop() -> None:
        try:
            with transaction.atomic():
                arm()
                armed.set()
                go_on.wait(20)
        except Exception as error:  # noqa: BLE001 - it is looked at below
            lost.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=arm_and_stop)
    thread.start()
    armed.wait(10)
    _, seconds = halt()
    go_on.set()
    thread.join(10)
    assert seconds < 8
    assert lost
    assert ExecutionPermit.objects.get().state == "GRANTED"


def test_only_a_halt_waits(engine: TimedEngine) -> None:
    granted()
    arm()
    began = time.monotonic()
    record_revision({"SPLIT_PERCENTAGE": 70}, changed_by="operator")
    assert time.monotonic() - began < 1
    halt()
    began = time.monotonic()
    record_revision({"TRADING_HALTED": False}, changed_by="operator")
    assert time.monotonic() - began < 1


@pytest.mark.requirement("3.4")
def test_no_order_reaches_the_engine_after_the_commit_of_a_halt_however_often(engine: TimedEngine) -> None:
    """Three workers arm and send as fast as they can while an operator halts and goes on, again and again."""
    rounds, per_round = 4, 12
    halted: list[tuple[float, float]] = []
    over = threading.Event()

    def work() -> None:
        with a_worker(f"worker {threading.get_ident()}") as worker:
            while not over.is_set():
                worker.send()
                worker.record()
                time.sleep(0.01)

    def operate() -> None:
        try:
            for number in range(rounds):
                for _ in range(per_round):
                    granted(seconds=120)
                before = len(engine.received)
                eventually(lambda seen=before: len(engine.received) > seen)  # type: ignore[misc]
                time.sleep(0.01 * number)
                committed, _ = halt()
                time.sleep(0.25)
                halted.append((committed, time.time()))
                record_revision({"TRADING_HALTED": False}, changed_by="operator")
            eventually(lambda: not ExecutionPermit.objects.filter(state__in=["GRANTED", "ARMED"]).exists(), seconds=20)
        finally:
            over.set()

    in_threads(operate, work, work, work)
    late = [at - begin for at in engine.received for begin, end in halted if begin < at < end]
    # what was written before the commit may be read by the engine's thread a moment after it
    assert max(late, default=0.0) < 0.1
    assert len(engine.received) == rounds * per_round == len(set(engine.executions))
    assert PolicyRevision.objects.filter(trading_halted=True).count() == rounds


def test_the_moment_until_which_an_order_may_leave_is_committed_with_its_arming(engine: TimedEngine) -> None:
    granted()
    before: datetime = database_clock()
    [permit] = arm()
    until = again(permit).may_send_until
    assert until is not None
    assert 2.4 < (until - before).total_seconds() < 4
