"""What the reports are made of, read from sums of days; the database adds up, Python gets a line per day.

What has been noted and is not counted yet, and periods that begin or end within a day, are read from trades and pairs, so
that every answer is exact at every moment. Its cost grows with days, open work and what is not counted yet.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from django.db import connection

from orchestrator.domain.vocabulary import Engine
from outcomes import pair_sql, trade_sql
from outcomes.domain.curves import Bounds, days_to_look_at, ends_only
from outcomes.domain.daily import (
    Answers,
    Curve,
    DayOfAssignments,
    DayOfPairs,
    DayOfTrades,
    IncompletePairs,
    TradeSums,
)
from outcomes.domain.vocabulary import Basis
from outcomes.filters import ReportFilters
from outcomes.periods import Period, period_of

_WHOLE_DAYS = "(%(first)s::date IS NULL OR day >= %(first)s) AND (%(last)s::date IS NULL OR day <= %(last)s)"
_WITHIN = "(%(since)s::timestamptz IS NULL OR at >= %(since)s) AND (%(until)s::timestamptz IS NULL OR at <= %(until)s)"
# A day that was counted in several slices has their curves' bounds only: trades of different slices alternate.
_KEPT_TRADES = """
    SELECT engine, kind, day, count(*) AS parts, sum(trades)::int, sum(wins)::int, sum(losses)::int, sum(total_pnl),
           sum(squares), sum(cubes), sum(fourths), sum(gross_profit), sum(gross_loss), sum(downside_squares), min(lowest),
           max(highest), sum(peak), sum(trough), max(drawdown)
      FROM daily_trades JOIN report_slices AS slice ON slice.id = daily_trades.slice_id
     WHERE {slices} AND {days} AND day NOT IN (SELECT day FROM noted)
     GROUP BY engine, kind, day
"""
_TRADES = """
    WITH noted AS (SELECT DISTINCT day FROM changed_days WHERE {days}),
         stretch (starts, ends) AS (
             SELECT * FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[])
             UNION ALL
             SELECT day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC' - interval '1 us' FROM noted
         )
    {kept} UNION ALL SELECT engine, kind, day, 1, {sums} FROM ({live}) AS live
     ORDER BY day
"""


def trade_days(filters: ReportFilters) -> Mapping[tuple[str, str], Sequence[DayOfTrades]]:
    """Return the days with closed trades per (engine, kind), in order; a kind without trades is absent.

    What follows from the days altogether is exact, the largest fall as well. Where trades of several slices alternate
    within a day that holds no end of the largest fall, the curve of that one day shows where it began and ended only.
    """
    found = _trade_lines(filters, period_of(filters), with_kept=True)
    days = sorted({day for lines in found.values() for day in days_to_look_at([line.bounds for line in lines])})
    looked_at: Mapping[tuple[str, str], Sequence[_TradeLine]] = {}
    if days:
        stretches = trade_sql.stretches_of(days)
        pairs = tuple(zip(stretches["starts"], stretches["ends"], strict=True))
        looked_at = _trade_lines(filters, Period(days[-1], days[0], pairs), with_kept=False)
    exact = {(key, line.day): line for key, lines in looked_at.items() for line in lines}
    return {
        key: [DayOfTrades(line.day, exact.get((key, line.day), line).sums) for line in lines]
        for key, lines in found.items()
    }


def answers(filters: ReportFilters) -> Mapping[tuple[str, str], Answers]:
    """Return how often each engine answered and passed, per role, in the experiments that began in the period."""
    days = _experiment_days(filters)
    found = {}
    for engine in Engine:
        for kind, role in (("real", "executing"), ("shadow", "shadow"), ("twin", "executing")):
            name = f"{engine.lower()}_{role}"
            found[engine.value, kind] = Answers(
                answers=sum(day.sums[f"{name}_answers"] for day in days),
                passes=sum(day.sums[f"{name}_passes"] for day in days),
            )
    return found


def pair_days(filters: ReportFilters) -> Sequence[DayOfPairs]:
    """Return the complete pairs per day on which their second side was known, at the synchronised exit."""
    return _pair_days(filters, Basis.SYNCHRONISED)


def own_exit_pair_days(filters: ReportFilters) -> Sequence[DayOfPairs]:
    """Return the pairs of which both engines' own exits are known, per day of the later one; a PASS has none and counts 0.

    The lead's exit is its own, and that of its real trade is its twin's too, unless it told another one.
    """
    return _pair_days(filters, Basis.OWN_EXIT)


def execution_costs(filters: ReportFilters) -> Mapping[str, Sequence[DayOfPairs]]:
    """Return, per engine, its real trades minus their own twins, both closed, per day of the later exit."""
    return {
        Engine.A.value: _pair_days(filters, Basis.EXECUTION_A),
        Engine.B.value: _pair_days(filters, Basis.EXECUTION_B),
    }


def incomplete_pairs(filters: ReportFilters) -> IncompletePairs:
    """Return the pairs that no mean contains, by the time of their experiments.

    An open one is counted however old it is: ``since`` does not hide it.
    """
    conditions = conditions_of(filters)
    ((number, oldest),) = fetch(
        f"""
        WITH {pair_sql.CHANGED}, {moved()}
        SELECT count(*), extract(epoch FROM clock_timestamp() - min(created_at))::float
          FROM (SELECT created_at FROM pairs JOIN report_slices AS slice ON slice.id = pairs.slice_id
                 WHERE state = 'OPEN' AND experiment_id NOT IN (SELECT experiment_id FROM changed) AND {conditions}
                UNION ALL
                SELECT created_at FROM moved WHERE times = 1 AND state = 'OPEN' AND {conditions}) AS open
         WHERE %(until)s::timestamptz IS NULL OR created_at <= %(until)s
        """,
        values_of(filters),
    )
    days = _experiment_days(filters)
    return IncompletePairs(
        open=number,
        oldest_open_seconds=oldest,
        void=sum(day.sums["void"] for day in days),
        no_answer=sum(day.sums["no_answer"] for day in days),
    )


def assignments(filters: ReportFilters) -> Sequence[DayOfAssignments]:
    """Return to which variant experiments went, per day on which they began and share that engine A was to get."""
    return [
        DayOfAssignments(day.day, day.share, day.sums["variant_a"], day.sums["variant_b"])
        for day in _experiment_days(filters)
    ]


@dataclass(frozen=True, slots=True)
class _TradeLine:
    """The closed trades of one engine, kind and day; the curve has bounds only unless it is exact."""

    day: date
    is_exact: bool
    bounds_of_curve: Curve
    without_curve: TradeSums

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.day, self.bounds_of_curve, self.is_exact)

    @property
    def sums(self) -> TradeSums:
        curve = self.bounds_of_curve if self.is_exact else ends_only(self.bounds_of_curve.total)
        return replace(self.without_curve, curve=curve)


def _trade_lines(
    filters: ReportFilters, period: Period, *, with_kept: bool
) -> Mapping[tuple[str, str], Sequence[_TradeLine]]:
    """Read the days of a period: kept sums where they are up to date (and wanted), else trades."""
    closed = trade_sql.closed("stretch")
    if not filters.is_of_everything:
        columns = "closed.*, signal.symbol, signal.timeframe, policy.execution_mode AS mode, experiments.policy_version"
        closed = (
            f"SELECT * FROM (SELECT {columns} FROM ({closed}) AS closed {trade_sql.PLACED}) AS placed"
            f" WHERE {conditions_of(filters)}"
        )
    days = _WHOLE_DAYS if with_kept else "false"
    rows = fetch(
        _TRADES.format(
            days=days,
            kept=_KEPT_TRADES.format(slices=_trade_slices(filters), days=days),
            live=trade_sql.summed(closed, by="engine, kind, day"),
            sums=", ".join(trade_sql.SUMS),
        ),
        {**values_of(filters), **period.values()},
    )
    found = defaultdict(list)
    for engine, kind, *line in rows:
        found[engine, kind].append(_trade_line(*line))
    return found


def _trade_line(day: date, parts: int, *sums: Any) -> _TradeLine:
    """Return a line of ``_TRADES``: how many slices it was put together from, then the sums in the order of their table."""
    trades, wins, losses, total, *powers_and_ends, peak, trough, drawdown = sums
    return _TradeLine(
        day,
        is_exact=parts == 1,
        bounds_of_curve=Curve(total, peak, trough, drawdown),
        without_curve=TradeSums(trades, wins, losses, *powers_and_ends),
    )


def _pair_days(filters: ReportFilters, basis: Basis) -> list[DayOfPairs]:
    period = period_of(filters)
    conditions = conditions_of(filters)
    moment = pair_sql.moment_of(basis)
    within_a_day = f"""
        UNION ALL
        SELECT 1, kept.* FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS stretch (starts, ends)
         CROSS JOIN LATERAL ({pair_sql.KEPT} WHERE {moment} >= stretch.starts AND {moment} <= stretch.ends OFFSET 0) AS kept
         WHERE {conditions}
    """
    names = ", ".join(pair_sql.PAIR_SUMS)
    rows = fetch(
        f"""
        WITH {pair_sql.CHANGED}, {moved()},
             single AS (SELECT * FROM moved WHERE {conditions} {within_a_day if period.stretches else ""})
        SELECT day, {", ".join(f"sum({name})" for name in pair_sql.PAIR_SUMS)}
          FROM (SELECT day, {names} FROM daily_pairs JOIN report_slices AS slice ON slice.id = daily_pairs.slice_id
                 WHERE {_slices(filters)} AND basis = '{basis}' AND {_WHOLE_DAYS}
                UNION ALL
                SELECT day, {pair_sql.SUM_OF_PAIRS} FROM ({pair_sql.differences("single", basis)}) AS complete
                 WHERE {_WITHIN} GROUP BY day) AS parts
         GROUP BY day HAVING sum(pairs) > 0 ORDER BY day
        """,
        {**values_of(filters), **period.values()},
    )
    return [DayOfPairs(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class _ExperimentDay:
    """The experiments that began on one day and of which engine A was to get ``share`` percent."""

    day: date
    share: int
    sums: Mapping[str, int]


def _experiment_days(filters: ReportFilters) -> list[_ExperimentDay]:
    period = period_of(filters)
    conditions = conditions_of(filters)
    within_a_day = f"""
        UNION ALL
        SELECT 1, kept.* FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS stretch (starts, ends)
         CROSS JOIN LATERAL ({pair_sql.KEPT} WHERE pairs.created_at >= stretch.starts AND pairs.created_at <= stretch.ends
                             OFFSET 0) AS kept
         WHERE {conditions}
    """
    names = ", ".join(pair_sql.EXPERIMENT_SUMS)
    rows = fetch(
        f"""
        WITH {pair_sql.CHANGED}, {moved()},
             single AS (SELECT *, created_at AS at FROM
                        (SELECT * FROM moved WHERE {conditions} {within_a_day if period.stretches else ""}) AS either)
        SELECT day, share, {", ".join(f"sum({name})::int" for name in pair_sql.EXPERIMENT_SUMS)}
          FROM (SELECT day, share, {names} FROM daily_experiments
                  JOIN report_slices AS slice ON slice.id = daily_experiments.slice_id
                 WHERE {_slices(filters)} AND {_WHOLE_DAYS}
                UNION ALL
                SELECT (at AT TIME ZONE 'UTC')::date, share, {pair_sql.SUM_OF_EXPERIMENTS} FROM single
                 WHERE {_WITHIN} GROUP BY 1, 2) AS parts
         GROUP BY day, share ORDER BY day, share
        """,
        {**values_of(filters), **period.values()},
    )
    return [
        _ExperimentDay(day, share, dict(zip(pair_sql.EXPERIMENT_SUMS, sums, strict=True))) for day, share, *sums in rows
    ]


def moved() -> str:
    """Return the part of a query with what is noted and not counted yet: as a rule nothing, which costs nothing to plan."""
    ((is_any,),) = fetch("SELECT EXISTS (SELECT FROM changed_pairs)", {})
    return pair_sql.MOVED if is_any else pair_sql.NOTHING_MOVED


def conditions_of(filters: ReportFilters) -> str:
    """Return the conditions of the filters on the columns of a slice."""
    return " AND ".join(f"{name} = %({name})s" for name, value in _wanted(filters).items() if value) or "true"


def _slices(filters: ReportFilters) -> str:
    """Return the condition on sums of pairs: the whole where nothing restricts, else every slice that the filters leave."""
    if filters.is_of_everything:
        return "(symbol, timeframe, mode, policy_version) = ('', '', '', '')"
    return f"'' NOT IN (symbol, timeframe, mode, policy_version) AND {conditions_of(filters)}"


def _trade_slices(filters: ReportFilters) -> str:
    """Return the condition on sums of trades: one slice as long as no two filters are combined."""
    wanted = _wanted(filters)
    if sum(value is not None for value in wanted.values()) > 1:
        return _slices(filters)
    return " AND ".join(f"{name} = %({name})s" if value else f"{name} = ''" for name, value in wanted.items())


def _wanted(filters: ReportFilters) -> dict[str, str | None]:
    """Return the filters by the column of a slice; None does not restrict."""
    return {
        "symbol": filters.symbol,
        "timeframe": filters.timeframe,
        "mode": filters.mode,
        "policy_version": filters.policy_version,
    }


def values_of(filters: ReportFilters) -> dict[str, Any]:
    return {
        "since": filters.since,
        "until": filters.until,
        "symbol": filters.symbol,
        "timeframe": filters.timeframe,
        "mode": filters.mode and filters.mode.value,
        "policy_version": filters.policy_version,
    }


def fetch(sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())
