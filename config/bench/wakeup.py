"""From the commit of a signal to its claim, beside a bare LISTEN/NOTIFY between two connections."""

import statistics
import threading
import time
from dataclasses import dataclass
from queue import SimpleQueue

import psycopg
from django.db import connection

from config.bench.batches import LEASE_SECONDS, store_signals
from orchestrator.listening import Listener
from orchestrator.queue import claim_signals
from webhooks.notifications import wake_workers

ROUNDS = 200
PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class WakeFigure:
    """Milliseconds, medians and 99th percentiles; ``ratio`` of the medians."""

    claim_median: float
    claim_p99: float
    bare_median: float
    bare_p99: float
    ratio: float


def measure_wake_up() -> WakeFigure:
    """Measure both in turn, one signal at a time on an otherwise idle queue."""
    ours, bare = _measure_claims(), _measure_bare()
    return WakeFigure(
        claim_median=statistics.median(ours),
        claim_p99=_p99(ours),
        bare_median=statistics.median(bare),
        bare_p99=_p99(bare),
        ratio=statistics.median(ours) / statistics.median(bare),
    )


def _measure_claims() -> list[float]:
    woken: SimpleQueue[float] = SimpleQueue()
    claimed: SimpleQueue[float] = SimpleQueue()
    stopping = threading.Event()
    listener = Listener(lambda: woken.put(time.perf_counter()))
    listener.start()
    thread = threading.Thread(target=_claim_when_woken, args=(woken, claimed, stopping), daemon=True)
    thread.start()
    time.sleep(0.5)  # the first look, at what arrived while nobody listened
    spent = []
    for _ in range(ROUNDS):
        store_signals(1)
        committed = time.perf_counter()
        wake_workers()
        spent.append((claimed.get(timeout=10) - committed) * 1000)
        time.sleep(PAUSE_SECONDS)
    stopping.set()
    woken.put(0.0)
    thread.join(5)
    listener.stop()
    return spent[ROUNDS // 10 :]


def _claim_when_woken(woken: SimpleQueue[float], claimed: SimpleQueue[float], stopping: threading.Event) -> None:
    while not stopping.is_set():
        woken.get()
        if claim_signals(limit=100, lease_seconds=LEASE_SECONDS):
            claimed.put(time.perf_counter())
    connection.close()


def _measure_bare() -> list[float]:
    parameters = connection.get_connection_params()
    heard: SimpleQueue[float] = SimpleQueue()
    with psycopg.connect(**parameters, autocommit=True) as sender:
        thread = threading.Thread(target=_listen_barely, args=(parameters, heard), daemon=True)
        thread.start()
        heard.get(timeout=10)
        spent = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            sender.execute("NOTIFY bench_wake")
            spent.append((heard.get(timeout=10) - started) * 1000)
            time.sleep(PAUSE_SECONDS)
        thread.join(5)
    return spent[ROUNDS // 10 :]


def _listen_barely(parameters: dict[str, object], heard: SimpleQueue[float]) -> None:
    with psycopg.connect(**parameters, autocommit=True) as own:  # type: ignore[arg-type]
        own.execute("LISTEN bench_wake")
        heard.put(time.perf_counter())
        for _ in own.notifies(stop_after=ROUNDS):
            heard.put(time.perf_counter())


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]
