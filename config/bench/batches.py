"""The worker's transaction beside the same rows written as raw SQL: signals per second for several batch sizes."""

import itertools
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, models, transaction

from config.keys import new_key
from orchestrator.experiments import create_experiments
from orchestrator.models import EngineCall, ExecutionPolicy, Experiment, MarketContext
from orchestrator.queue import claim_signals
from webhooks.canonical import sha256_hex
from webhooks.models import Signal

LEASE_SECONDS = 60.0
ROUNDS = 5
_NUMBERS = itertools.count()
WRITTEN = (MarketContext, Experiment, ExecutionPolicy, EngineCall)


@dataclass(frozen=True, slots=True)
class BatchFigure:
    """Signals per second, the median of some rounds that alternate between the two."""

    batch_size: int
    ours: float
    raw_sql: float
    ratio: float


def measure_batches(sizes: Sequence[int], *, signals_per_round: int = 500) -> list[BatchFigure]:
    """Measure claim and transaction T1+T2 for each batch size."""
    _warm_up()
    return [_measure(size, count=max(size, min(signals_per_round, size * 100))) for size in sizes]


def _measure(size: int, *, count: int) -> BatchFigure:
    ours, raw = [], []
    for _ in range(ROUNDS):
        ours.append(count / _timed(_run_ours, size, count))
        raw.append(count / _timed(_run_raw, size, count))
    ratios = [mine / least for mine, least in zip(ours, raw, strict=True)]
    return BatchFigure(size, statistics.median(ours), statistics.median(raw), statistics.median(ratios))


def _timed(run: Callable[[int, int], float], size: int, count: int) -> float:
    store_signals(count)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE signals")
    return run(size, count)


def _run_ours(size: int, count: int) -> float:
    started, done = time.perf_counter(), 0
    while done < count:
        done += len(create_experiments(claim_signals(limit=size, lease_seconds=LEASE_SECONDS)))
    return time.perf_counter() - started


def _run_raw(size: int, count: int) -> float:
    """Write rows that are ready: the same statements, with nothing computed while the clock runs."""
    template = _template_rows()
    spent, done = 0.0, 0
    while done < count:
        started = time.perf_counter()
        claimed = claim_signals(limit=size, lease_seconds=LEASE_SECONDS)
        spent += time.perf_counter() - started
        statements = _statements(claimed, template)
        started = time.perf_counter()
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            for sql, rows in statements:
                cursor.execute(sql, rows)
        spent += time.perf_counter() - started
        done += len(claimed)
    return spent


def _statements(claimed: Sequence[Signal], template: dict[type[models.Model], list[models.Model]]) -> list[Any]:
    """Return one statement per table with its rows, for the same number of signals as were claimed."""
    ids = [signal.signal_id for signal in claimed]
    renamed = {kind: _renamed(kind, rows, claimed) for kind, rows in template.items()}
    marked = (
        "UPDATE signals SET processed = TRUE, processed_at = clock_timestamp(), experiment_id = made.experiment_id, "
        "processing_lock = NULL, lock_expires_at = NULL "
        "FROM unnest(%s::uuid[], %s::uuid[]) AS made (signal_id, experiment_id) "
        "WHERE signals.signal_id = made.signal_id",
        [ids, [row.pk for row in renamed[Experiment]]],
    )
    return [marked, *(_insert(kind, renamed[kind]) for kind in WRITTEN)]


def _insert(kind: type[models.Model], rows: Sequence[models.Model]) -> tuple[str, list[Any]]:
    fields = kind._meta.concrete_fields  # noqa: SLF001
    columns = ", ".join(field.column for field in fields)
    line = "(" + ", ".join(["%s"] * len(fields)) + ")"
    values = [field.get_db_prep_save(getattr(row, field.attname), connection) for row in rows for field in fields]
    table = kind._meta.db_table  # noqa: SLF001
    return f"INSERT INTO {table} ({columns}) VALUES {', '.join([line] * len(rows))}", values  # noqa: S608 - our own names


def _renamed(kind: type[models.Model], rows: Sequence[models.Model], claimed: Sequence[Signal]) -> list[models.Model]:
    """Return copies of real rows with the ids of other signals."""
    per_signal = 2 if kind is EngineCall else 1
    return [_copy(kind, source, signal) for signal in claimed for source in rows[:per_signal]]


def _copy(kind: type[models.Model], source: models.Model, signal: Signal) -> models.Model:
    values = {field.attname: getattr(source, field.attname) for field in kind._meta.concrete_fields}  # noqa: SLF001
    names = {"signal_id", "experiment_id"} & set(values)
    own_key = {} if kind is Experiment else {"id": new_key()}
    return kind(**{**values, **dict.fromkeys(names, signal.signal_id), **own_key})


def _template_rows() -> dict[type[models.Model], list[models.Model]]:
    return {kind: list(kind.objects.order_by("-pk")[:2]) for kind in WRITTEN}


def _warm_up() -> None:
    store_signals(100)
    _run_ours(50, 100)


def store_signals(count: int) -> None:
    """Store unprocessed signals such as alerts make them, all at once."""
    Signal.objects.bulk_create([_signal(next(_NUMBERS)) for _ in range(count)])


def _signal(number: int) -> Signal:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    payload = {"ticker": "SPX", "interval": "1D", "time": at.isoformat(), "action": "buy", "close": 1408.7, "rsi": 52.5}
    return Signal(
        source="bench",
        symbol="SPX",
        direction="long",
        timeframe="1D",
        timestamp=at,
        timestamp_origin="payload",
        signal_hash=sha256_hex(f"bench {number}"),
        raw_payload=payload,
        raw_body=json.dumps(payload),
    )
