"""Both reports from the sums of days, beside pandas and empyrical that load every outcome: milliseconds and their ratio."""

import io
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import empyrical
import pandas as pd
from django.db import connection

from outcomes import reports
from outcomes.generating import generate_outcomes

ROUNDS = 5
DAYS = 1000
CAPITAL = 1_000_000  # what P&L is divided by to be the returns that empyrical wants
_OUTCOMES = """
    COPY (SELECT experiment_id, engine, 'real' AS kind, pnl, exit_time FROM real_trade_outcomes
          UNION ALL
          SELECT outcome.experiment_id, outcome.engine, lower(purpose), pnl, exit_time
            FROM shadow_trade_outcomes AS outcome JOIN shadow_trades USING (trade_id)
           ORDER BY exit_time) TO STDOUT WITH (FORMAT csv, HEADER)
"""


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """Milliseconds. ``performance`` and ``comparison`` are time in the database, medians; ``whole`` is both with everything.

    ``all_rows`` is loading every outcome into pandas and computing the same figures; ``ratio`` is all_rows / whole.
    """

    outcomes: int
    days: int
    load_seconds: float
    performance: float
    comparison: float
    whole: float
    all_rows: float
    ratio: float


def measure_reports(sizes: list[int], *, tell: Callable[[str], None]) -> list[ReportFigure]:
    """Measure for each number of outcomes, in a database that is emptied before and after."""
    figures = []
    for size in sizes:
        _empty()
        started = time.perf_counter()
        loaded = generate_outcomes(size, days=DAYS, seed="bench", tell=lambda so_far: tell(f"{so_far:,} outcomes"))
        load_seconds = time.perf_counter() - started
        figures.append(measure_loaded(loaded.outcomes, load_seconds=load_seconds))
    _empty()
    return figures


def measure_loaded(outcomes: int, *, load_seconds: float = 0.0) -> ReportFigure:
    """Measure on what the database holds."""
    reports.performance()
    reports.comparison()
    performance = statistics.median(_in_database(reports.performance) for _ in range(ROUNDS))
    comparison = statistics.median(_in_database(reports.comparison) for _ in range(ROUNDS))
    whole = statistics.median(_timed(_both) for _ in range(ROUNDS))
    all_rows = _timed(_with_pandas)
    return ReportFigure(outcomes, DAYS, load_seconds, performance, comparison, whole, all_rows, ratio=all_rows / whole)


def _both() -> None:
    reports.performance()
    reports.comparison()


def _timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def _in_database(report: Callable[[], Any]) -> float:
    """Return the milliseconds from sending each statement to having its rows."""
    spent = 0.0

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Mapping[str, Any]) -> Any:
        nonlocal spent
        started = time.perf_counter()
        try:
            return execute(sql, params, many, context)  # psycopg has the whole answer when it returns
        finally:
            spent += time.perf_counter() - started

    with connection.execute_wrapper(watch):
        report()
    return spent * 1000


def _with_pandas() -> dict[str, Any]:
    """Do what a notebook would: load every outcome, then group, cumulate and pair."""
    buffer = io.BytesIO()
    with connection.cursor() as cursor, cursor.copy(_OUTCOMES) as copy:
        for piece in copy:
            buffer.write(piece)
    buffer.seek(0)
    rows = pd.read_csv(buffer, parse_dates=["exit_time"], date_format="ISO8601")
    rows["day"] = rows["exit_time"].dt.floor("D")
    found: dict[str, Any] = {}
    for (engine, kind), of_kind in rows.groupby(["engine", "kind"]):
        pnl = of_kind["pnl"]
        returns = of_kind.groupby("day")["pnl"].sum() / CAPITAL
        curve = pnl.cumsum()
        found[f"{engine} {kind}"] = (
            len(pnl),
            (pnl > 0).mean(),
            pnl.mean(),
            pnl.sum(),
            pnl.mean() / pnl.std(),
            (curve.clip(lower=0).cummax() - curve).max(),
            empyrical.sharpe_ratio(returns),
            empyrical.sortino_ratio(returns),
            empyrical.max_drawdown(returns),
        )
    simulated = rows[rows["kind"] != "real"].pivot_table(
        index="experiment_id", columns="engine", values="pnl", fill_value=0
    )
    differences = simulated["A"] - simulated["B"]
    by_day = differences.groupby(rows.groupby("experiment_id")["day"].max()).agg(["sum", "count"])
    found["A minus B"] = (differences.mean(), by_day["sum"].std())
    return found


def _empty() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE signals, policy_revisions, report_slices, daily_results, changed_days, changed_pairs CASCADE"
        )
