"""A halt among worker processes of their own: the engine's clock of arrival beside the moment of the commit."""

import time
from collections.abc import Iterator

import pytest
from django.db import connection

from orchestrator.models import ExecutionPermit
from orchestrator.revisions import record_revision
from tests.engine_server import EXECUTE, Behaviour, EngineServer, Recorded
from tests.factories import make_signal
from tests.integration.test_run_orchestrator import Start, ended, start
from tests.waiting import eventually

__all__ = ["start"]  # a fixture

ROUNDS, WORKERS, PER_ROUND = 2, 3, 25

pytestmark = pytest.mark.django_db(transaction=True)


class TimedEngine(EngineServer):
    """Notes when each order arrives, by the machine's clock, which is the database's as well."""

    def __init__(self, name: str) -> None:
        super().__init__(name, idempotent=False)
        self.received: list[float] = []

    def note(self, request: Recorded) -> Behaviour:
        if request.operation == EXECUTE:
            self.received.append(time.time())
        return super().note(request)


@pytest.fixture
def engine_a() -> Iterator[TimedEngine]:
    with TimedEngine("A") as one:
        yield one


def waiting() -> int:
    return ExecutionPermit.objects.filter(state="GRANTED").count()


@pytest.mark.requirement("3.4")
def test_after_the_commit_of_a_halt_no_order_leaves_any_of_several_processes(
    start: Start, engine_a: TimedEngine
) -> None:
    # a narrow door, so that orders are still queueing when the halt comes
    workers = [start(ENGINE_A_CONCURRENCY="2", EXECUTION_WINDOW_SECONDS="120") for _ in range(WORKERS)]
    engine_a.always(EXECUTE, Behaviour(delay_seconds=0.1))
    for number in range(ROUNDS):
        for _ in range(PER_ROUND):
            make_signal()
        before = len(engine_a.received)
        eventually(lambda seen=before: len(engine_a.received) > seen + 2, seconds=30)  # type: ignore[misc]
        record_revision({"TRADING_HALTED": True}, changed_by="olivia")
        committed = time.time()
        left_by_then = len(engine_a.received)
        time.sleep(1.5)
        late = [at - committed for at in engine_a.received[left_by_then:]]
        # all that is allowed for is the engine's own thread, which may look at its clock a moment later
        assert max(late, default=0.0) < 0.1, (number, late)
        assert waiting() > 0, "the halt came when nothing was left to send"
        record_revision({"TRADING_HALTED": False}, changed_by="olivia")
    eventually(lambda: waiting() == 0 and not ExecutionPermit.objects.filter(state="ARMED").exists(), seconds=60)
    with connection.cursor() as cursor:  # the database's own word about the same
        cursor.execute(
            """
            SELECT count(*) FROM execution_permits AS permit JOIN policy_revisions AS halt ON halt.trading_halted
             WHERE permit.armed_at > halt.created_at
               AND permit.armed_at < (SELECT min(created_at) FROM policy_revisions WHERE number > halt.number)
            """
        )
        assert cursor.fetchone()[0] == 0
    assert len(engine_a.executions) == len(set(engine_a.executions))
    for worker in workers:
        worker.process.terminate()
    assert [ended(worker)[0] for worker in workers] == [0] * WORKERS
