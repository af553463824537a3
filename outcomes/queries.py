"""The SQL of the reports: every pass over rows happens in the database; Python gets a line per group or per day.

Real and shadow outcomes stand in two tables; every line says which of them it was counted from, and nothing adds the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from orchestrator.domain.vocabulary import Engine
from outcomes.domain.comparison import DayOfPairs, DayOfWins
from outcomes.domain.metrics import Sums
from outcomes.filters import ReportFilters

# The cumulated closed P&L starts at 0, so its peak so far is never below 0; order of closing: exit_time, outcome_id.
_PERFORMANCE = """
    WITH closed AS (
        SELECT 'real' AS kind, outcome.engine, outcome.pnl, outcome.exit_time, outcome.outcome_id
          FROM real_trade_outcomes AS outcome {joins}
         WHERE {conditions}
        UNION ALL
        SELECT lower(trade.purpose), outcome.engine, outcome.pnl, outcome.exit_time, outcome.outcome_id
          FROM shadow_trade_outcomes AS outcome JOIN shadow_trades AS trade USING (trade_id) {joins}
         WHERE {conditions}
    ), curve AS (
        SELECT *, sum(pnl) OVER so_far AS cumulated
          FROM closed
        WINDOW so_far AS (PARTITION BY kind, engine ORDER BY exit_time, outcome_id ROWS UNBOUNDED PRECEDING)
    ), falls AS (
        SELECT *, greatest(0, max(cumulated) OVER so_far) - cumulated AS fall
          FROM curve
        WINDOW so_far AS (PARTITION BY kind, engine ORDER BY exit_time, outcome_id ROWS UNBOUNDED PRECEDING)
    )
    SELECT engine, kind, count(*), count(*) FILTER (WHERE pnl > 0), count(*) FILTER (WHERE pnl < 0),
           sum(pnl), sum(pnl * pnl), coalesce(sum(pnl) FILTER (WHERE pnl > 0), 0),
           coalesce(sum(pnl) FILTER (WHERE pnl < 0), 0), min(pnl), max(pnl), max(fall)
      FROM falls
     GROUP BY engine, kind
"""
_MODE_JOIN = "JOIN execution_policies AS policy ON policy.experiment_id = {table}.experiment_id"
_SIGNAL_JOIN = (
    "JOIN experiments ON experiments.experiment_id = {table}.experiment_id "
    "JOIN signals AS signal ON signal.signal_id = experiments.signal_id"
)

# What an engine contributes to a pair: 0 for a PASS, else its shadow trade or its twin. Capital at risk is the
# recommendation's max_loss, else what a bought contract cost; unreadable or 0: no R.
_SIDE = """
    SELECT asked.experiment_id,
           CASE WHEN answer.action = 'PASS' THEN 'passed'
                WHEN outcome.outcome_id IS NOT NULL THEN 'closed'
                WHEN trade.status = 'VOID' THEN 'void'
                WHEN answer.action IS NULL AND asked.state = 'FAILED' THEN 'no_answer'
                ELSE 'open' END AS state,
           CASE WHEN answer.action = 'PASS' THEN 0 ELSE outcome.pnl END AS pnl,
           CASE WHEN answer.action = 'PASS' THEN 0
                ELSE round(outcome.pnl / nullif(round(CASE
                     WHEN trade.terms ->> 'max_loss' IS NOT NULL THEN
                          CASE WHEN trade.terms ->> 'max_loss' ~ '^\\s*[+]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{{1,3}})?\\s*$'
                               THEN (trade.terms ->> 'max_loss')::numeric END
                     WHEN outcome.side = 'BUY' THEN outcome.entry_price * outcome.quantity * outcome.multiplier
                     END, 8), 0), 12) END AS r,
           CASE WHEN answer.action = 'PASS' THEN answer.received_at ELSE outcome.exit_time END AS completed_at
      FROM engine_calls AS asked
      LEFT JOIN recommendations AS answer ON answer.call_id = asked.id
      LEFT JOIN shadow_trades AS trade ON trade.experiment_id = asked.experiment_id AND trade.engine = asked.engine
      LEFT JOIN shadow_trade_outcomes AS outcome ON outcome.trade_id = trade.trade_id
     WHERE asked.kind = 'RECOMMENDATION' AND asked.engine = '{engine}'
"""
_PAIRS = """
    WITH a AS ({side_a}), b AS ({side_b}), sides AS (
        SELECT a.state AS a_state, b.state AS b_state, a.pnl AS a_pnl, b.pnl AS b_pnl,
               a.pnl - b.pnl AS difference, a.r - b.r AS r_difference, experiments.created_at,
               CASE WHEN 'void' IN (a.state, b.state) THEN 'void'
                    WHEN 'no_answer' IN (a.state, b.state) THEN 'no_answer'
                    WHEN 'open' IN (a.state, b.state) THEN 'open'
                    ELSE 'complete' END AS state,
               greatest(a.completed_at, b.completed_at) AS completed_at
          FROM experiments JOIN a USING (experiment_id) JOIN b USING (experiment_id) {joins}
         WHERE {conditions}
    ), pairs AS (
        SELECT *, CASE WHEN state = 'complete' THEN completed_at ELSE created_at END AS counted_at FROM sides
    )
    SELECT state, CASE WHEN state = 'complete' THEN (completed_at AT TIME ZONE 'UTC')::date END AS day, count(*),
           coalesce(sum(difference), 0), count(r_difference), coalesce(sum(r_difference), 0),
           count(*) FILTER (WHERE a_pnl > 0 AND b_pnl <= 0), count(*) FILTER (WHERE b_pnl > 0 AND a_pnl <= 0),
           count(*) FILTER (WHERE a_state = 'passed'), count(*) FILTER (WHERE b_state = 'passed'),
           count(*) FILTER (WHERE a_state = 'passed' AND b_state = 'passed'),
           extract(epoch FROM clock_timestamp() - min(created_at))::float
      FROM pairs
     WHERE {period}
     GROUP BY 1, 2
     ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Pairs:
    """All pairs that the filters leave, by what they are worth to the comparison, and the complete ones by day.

    ``oldest_open_seconds`` is the age of the oldest experiment with an open side, None without one.
    """

    complete: int
    open: int
    oldest_open_seconds: float | None
    void: int
    no_answer: int
    passed_a: int
    passed_b: int
    passed_both: int
    in_currency: tuple[DayOfPairs, ...]
    in_r: tuple[DayOfPairs, ...]
    wins: tuple[DayOfWins, ...]


def performance_sums(filters: ReportFilters) -> Mapping[tuple[str, str], Sums]:
    """Return the sums per (engine, kind) of what the filters leave, in one statement; a kind without trades is absent."""
    joins, conditions, values = _restrictions(filters, table="outcome")
    if filters.since:
        conditions.append("outcome.exit_time >= %(since)s")
    if filters.until:
        conditions.append("outcome.exit_time <= %(until)s")
    rows = _fetch(_PERFORMANCE.format(joins=joins, conditions=_all(conditions)), values)
    return {(engine, kind): Sums(*sums) for engine, kind, *sums in rows}


def pairs(filters: ReportFilters) -> Pairs:
    """Return the pairs of all experiments, in one statement.

    A complete pair belongs to the moment at which its second side was known. A pair that is not complete belongs to the
    moment of its experiment; an open one is counted however old it is, so ``since`` does not hide it.
    """
    joins, conditions, values = _restrictions(filters, table="experiments")
    period = []
    if filters.since:
        period.append("(counted_at >= %(since)s OR state = 'open')")
    if filters.until:
        period.append("counted_at <= %(until)s")
    rows = _fetch(
        _PAIRS.format(
            side_a=_SIDE.format(engine=Engine.A),
            side_b=_SIDE.format(engine=Engine.B),
            joins=joins,
            conditions=_all(conditions),
            period=_all(period),
        ),
        values,
    )
    lines = [_Line(*row) for row in rows]
    complete = [line for line in lines if line.state == "complete" and line.day is not None]
    count = {state: sum(line.pairs for line in lines if line.state == state) for state in ("open", "void", "no_answer")}
    return Pairs(
        complete=sum(line.pairs for line in complete),
        open=count["open"],
        oldest_open_seconds=next((line.oldest_seconds for line in lines if line.state == "open"), None),
        void=count["void"],
        no_answer=count["no_answer"],
        passed_a=sum(line.passed_a for line in complete),
        passed_b=sum(line.passed_b for line in complete),
        passed_both=sum(line.passed_both for line in complete),
        in_currency=tuple(DayOfPairs(line.day, line.pairs, line.difference) for line in complete if line.day),
        in_r=tuple(
            DayOfPairs(line.day, line.pairs_in_r, line.r_difference)
            for line in complete
            if line.day and line.pairs_in_r
        ),
        wins=tuple(DayOfWins(line.day, line.only_a, line.only_b) for line in complete if line.day),
    )


@dataclass(frozen=True, slots=True)
class _Line:
    """One state, and for complete pairs one day."""

    state: str
    day: date | None
    pairs: int
    difference: Decimal
    pairs_in_r: int
    r_difference: Decimal
    only_a: int
    only_b: int
    passed_a: int
    passed_b: int
    passed_both: int
    oldest_seconds: float


def _restrictions(filters: ReportFilters, *, table: str) -> tuple[str, list[str], dict[str, datetime | str | None]]:
    """Return the joins, conditions and values of the filters; tables are joined only where a filter asks for them."""
    joins, conditions = [], []
    if filters.mode:
        joins.append(_MODE_JOIN.format(table=table))
        conditions.append("policy.execution_mode = %(mode)s")
    if filters.symbol or filters.timeframe:
        joins.append(
            _SIGNAL_JOIN.format(table=table)
            if table != "experiments"
            else "JOIN signals AS signal ON signal.signal_id = experiments.signal_id"
        )
    if filters.symbol:
        conditions.append("signal.symbol = %(symbol)s")
    if filters.timeframe:
        conditions.append("signal.timeframe = %(timeframe)s")
    values: dict[str, datetime | str | None] = {
        "since": filters.since,
        "until": filters.until,
        "symbol": filters.symbol,
        "timeframe": filters.timeframe,
        "mode": filters.mode and filters.mode.value,
    }
    return " ".join(joins), conditions, values


def _all(conditions: list[str]) -> str:
    return " AND ".join(conditions) or "true"


def _fetch(sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())
