"""The worker in tests: one that does everything that is due and ends, and one that runs beside the test."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection

from orchestrator.models import EngineCall, ExecutionPermit, Recommendation
from orchestrator.worker import Options, Worker
from outcomes.exits import apply_exits, price_followers, settle_late_followers
from outcomes.expiry import report_expired_trades
from tests.engine_server import EngineServer
from webhooks.models import Signal

Engines = dict[str, EngineServer]


def make_worker(**options: object) -> Worker:
    """Return a worker with all the steps that ``run_orchestrator`` gives it."""
    return Worker(
        Options(**({"poll_interval": 0.05} | options)),  # type: ignore[arg-type]
        steps=(apply_exits, price_followers),
        sweeps=(settle_late_followers, report_expired_trades),
    )


def work_once(**options: object) -> None:
    """Do everything that is due."""
    make_worker(once=True, **options).run()


@contextmanager
def working(**options: object) -> Iterator[Worker]:
    """Let a worker run in a thread; it is stopped, and has finished, at the end."""
    worker = make_worker(**options)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(timeout=20)
        assert not thread.is_alive()


def in_threads(*calls: Callable[[], object]) -> list[object]:
    """Do all calls at the same moment, each in a thread with a connection of its own, and return what they returned.

    What one raises is raised here.
    """
    together = threading.Barrier(len(calls))
    results: list[object] = [None] * len(calls)

    def run(place: int) -> None:
        together.wait()
        try:
            results[place] = calls[place]()
        except BaseException as error:  # noqa: BLE001 - it belongs to the test's thread
            results[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def answered(engine: str) -> int:
    return Recommendation.objects.filter(engine=engine).count()


def is_settled() -> bool:
    """Tell whether both engines have answered everything and nothing real is on its way."""
    return not (
        Signal.objects.unprocessed().exists()  # in the order in which one leads to the other
        or EngineCall.objects.filter(state__in=["PENDING", "SENT", "ACCEPTED"]).exists()
        or ExecutionPermit.objects.filter(state__in=["GRANTED", "ARMED"]).exists()
    )


def states(kind: str = "RECOMMENDATION") -> dict[str, set[str]]:
    return {
        engine: set(EngineCall.objects.filter(engine=engine, kind=kind).values_list("state", flat=True))
        for engine in "AB"
    }
