"""The SQL that sums closed trades by day: exact sums of powers, and the curve of the cumulated P&L in the order of closing.

Real and shadow outcomes stand in two tables; every line says which of them it was summed from, and nothing adds the two.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time

SUMS = (
    "trades",
    "wins",
    "losses",
    "total_pnl",
    "squares",
    "cubes",
    "fourths",
    "gross_profit",
    "gross_loss",
    "downside_squares",
    "lowest",
    "highest",
    "peak",
    "trough",
    "drawdown",
)

STRETCHES = "unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS stretch (starts, ends)"


def closed(stretches: str = "") -> str:
    """Return the query for closed trades: all of them, or those that exited in one of some stretches of time.

    :param stretches: what stands after FROM, named ``stretch (starts, ends)``; both ends are included.
    """
    columns = (
        "outcome.engine, outcome.pnl, outcome.exit_time, outcome.outcome_id, outcome.experiment_id,"
        " (outcome.exit_time AT TIME ZONE 'UTC')::date AS day"
    )
    # OFFSET 0 keeps it one walk along the index per stretch, whatever the planner guesses about their length
    among = (
        (
            f"{stretches} CROSS JOIN LATERAL (SELECT * FROM {{table}} AS outcome"
            " WHERE outcome.exit_time >= stretch.starts AND outcome.exit_time <= stretch.ends OFFSET 0) AS outcome"
        )
        if stretches
        else "{table} AS outcome"
    )
    return (
        f"SELECT 'real' AS kind, {columns} FROM {among.format(table='real_trade_outcomes')}"
        f" UNION ALL SELECT lower(trade.purpose), {columns} FROM {among.format(table='shadow_trade_outcomes')}"
        " JOIN shadow_trades AS trade USING (trade_id)"
    )


# What a closed trade can be filtered by.
PLACED = (
    "JOIN experiments USING (experiment_id) JOIN signals AS signal ON signal.signal_id = experiments.signal_id"
    " JOIN execution_policies AS policy ON policy.experiment_id = experiments.experiment_id"
)


def summed(rows: str, *, by: str) -> str:
    """Return the query for the sums of ``rows`` (kind, engine, day, pnl, exit_time, outcome_id), per ``by`` in order.

    The cumulated P&L of a day starts at 0, so its peak is never below 0 and its trough never above.
    """
    window = f"WINDOW so_far AS (PARTITION BY {by} ORDER BY exit_time, outcome_id ROWS UNBOUNDED PRECEDING)"
    return f"""
        SELECT {by}, count(*)::int AS trades, (count(*) FILTER (WHERE pnl > 0))::int AS wins,
               (count(*) FILTER (WHERE pnl < 0))::int AS losses, sum(pnl) AS total_pnl, sum(pnl * pnl) AS squares,
               sum(pnl * pnl * pnl) AS cubes, sum(pnl * pnl * pnl * pnl) AS fourths,
               coalesce(sum(pnl) FILTER (WHERE pnl > 0), 0) AS gross_profit,
               coalesce(sum(pnl) FILTER (WHERE pnl < 0), 0) AS gross_loss,
               coalesce(sum(pnl * pnl) FILTER (WHERE pnl < 0), 0) AS downside_squares,
               min(pnl) AS lowest, max(pnl) AS highest, greatest(0, max(level)) AS peak, least(0, min(level)) AS trough,
               max(fall) AS drawdown
          FROM (SELECT *, greatest(0, max(level) OVER so_far) - level AS fall
                  FROM (SELECT *, sum(pnl) OVER so_far AS level FROM ({rows}) AS rows {window}) AS curve {window}) AS falls
         GROUP BY {by}
    """


# A trade's own slice, the slices that one filter alone chooses, and the whole: their curves are kept as they are. Where
# several filters are combined, slices are put together, and trades are looked at where that is not exact (``curves``).
PARTS = """
    (signal.symbol, signal.timeframe, policy.execution_mode, experiments.policy_version),
    (signal.symbol, '', '', ''), ('', signal.timeframe, '', ''), ('', '', policy.execution_mode, ''),
    ('', '', '', experiments.policy_version), ('', '', '', '')
"""


def by_slice(stretches: str = "") -> str:
    """Return the query for the rows of ``daily_trades``: each closed trade counts in every slice that it is part of."""
    rows = f"""
        SELECT slice.id AS slice_id, closed.engine, closed.kind, closed.day, closed.pnl, closed.exit_time, closed.outcome_id
          FROM ({closed(stretches)}) AS closed {PLACED}
         CROSS JOIN LATERAL (VALUES {PARTS}) AS part (symbol, timeframe, mode, policy_version)
          JOIN report_slices AS slice
            ON slice.symbol = part.symbol AND slice.timeframe = part.timeframe AND slice.mode = part.mode
               AND slice.policy_version = part.policy_version
    """
    return summed(rows, by="slice_id, engine, kind, day")


def stretches_of(days: Iterable[date]) -> dict[str, list[datetime]]:
    """Return whole days (UTC) as the values of ``closed``; both ends are included, times have microseconds."""
    days = list(days)
    return {
        "starts": [datetime.combine(day, time.min, tzinfo=UTC) for day in days],
        "ends": [datetime.combine(day, time.max, tzinfo=UTC) for day in days],
    }
