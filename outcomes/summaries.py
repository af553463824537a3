"""Sums per engine, kind and day: kept in the transaction that records an outcome, and recomputable from the outcomes."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from django.db import connection, transaction

from config.keys import new_key
from orchestrator.domain.amounts import decimal_string
from orchestrator.domain.vocabulary import Engine, Purpose
from outcomes.recounting import Difference, recount

REAL = "real"
KIND_OF_PURPOSE = {Purpose.SHADOW: "shadow", Purpose.TWIN: "twin"}

_KEPT = "SELECT engine, kind, day, trades, wins, losses, total_pnl FROM daily_results"
_RECOMPUTED = """
    SELECT engine, kind, (exit_time AT TIME ZONE 'UTC')::date AS day, count(*)::int AS trades,
           (count(*) FILTER (WHERE pnl > 0))::int AS wins, (count(*) FILTER (WHERE pnl < 0))::int AS losses,
           sum(pnl) AS total_pnl
      FROM (SELECT engine, 'real' AS kind, exit_time, pnl FROM real_trade_outcomes
            UNION ALL
            SELECT outcome.engine, lower(trade.purpose), outcome.exit_time, outcome.pnl
              FROM shadow_trade_outcomes AS outcome JOIN shadow_trades AS trade USING (trade_id)) AS closed
     GROUP BY engine, kind, day
"""


@dataclass(frozen=True, slots=True)
class OutcomeSum:
    """One newly recorded outcome as the sums see it. ``kind`` is real, shadow or twin; ``pnl`` in currency."""

    engine: Engine
    kind: str
    exit_time: datetime
    pnl: Decimal


@dataclass(frozen=True, slots=True, order=True)
class DayKey:
    """Which row of ``daily_results``; the day is the UTC date of the exit. Rows are always locked in this order."""

    engine: str
    kind: str
    day: date


@dataclass(frozen=True, slots=True)
class DaySum:
    trades: int
    wins: int
    losses: int
    total_pnl: Decimal


NO_TRADES = DaySum(0, 0, 0, Decimal(0))


def add_to_summaries(outcomes: Sequence[OutcomeSum]) -> None:
    """Add newly recorded outcomes to the sums of their days.

    Call it once, last, in the transaction that records them: one statement, which locks its rows in the order of their
    keys, so that two transactions cannot hold what the other one needs.
    """
    if not outcomes:
        return
    sums = sorted(_summed(outcomes).items())
    keys, days = [key for key, _ in sums], [day for _, day in sums]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO daily_results (id, engine, kind, day, trades, wins, losses, total_pnl)
            SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::date[], %s::int[], %s::int[], %s::int[],
                                 %s::numeric[])
            ON CONFLICT (engine, kind, day) DO UPDATE
               SET trades = daily_results.trades + excluded.trades, wins = daily_results.wins + excluded.wins,
                   losses = daily_results.losses + excluded.losses,
                   total_pnl = daily_results.total_pnl + excluded.total_pnl
            """,
            [
                [new_key() for _ in sums],
                [key.engine for key in keys],
                [key.kind for key in keys],
                [key.day for key in keys],
                [day.trades for day in days],
                [day.wins for day in days],
                [day.losses for day in days],
                [day.total_pnl for day in days],
            ],
        )


def rebuild_summaries() -> list[Difference]:
    """Recompute every sum from the outcomes, correct what differs, and return what differed."""
    return [*rebuild_daily_results(), *recount()]


def rebuild_daily_results() -> list[Difference]:
    """The lock keeps other transactions from adding meanwhile: what they record is either seen here or added afterwards."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE daily_results IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute(_KEPT)
        kept = _by_key(cursor.fetchall())
        cursor.execute(_RECOMPUTED)
        recomputed = _by_key(cursor.fetchall())
        differences = [
            Difference(
                f"{key.day} engine {key.engine} {key.kind}",
                _told(kept.get(key, NO_TRADES)),
                _told(recomputed.get(key, NO_TRADES)),
            )
            for key in sorted(kept.keys() | recomputed.keys())
            if kept.get(key) != recomputed.get(key)
        ]
        if differences:
            cursor.execute("DELETE FROM daily_results")
            cursor.execute(
                "INSERT INTO daily_results (id, engine, kind, day, trades, wins, losses, total_pnl) "  # noqa: S608 - constant
                f"SELECT gen_random_uuid(), * FROM ({_RECOMPUTED}) AS sums"
            )
    return differences


def _told(sums: DaySum) -> str:
    return f"{sums.trades} trades, {sums.wins} won, {sums.losses} lost, {decimal_string(sums.total_pnl)}"


def _summed(outcomes: Sequence[OutcomeSum]) -> dict[DayKey, DaySum]:
    days: defaultdict[DayKey, DaySum] = defaultdict(lambda: NO_TRADES)
    for outcome in outcomes:
        key = DayKey(str(outcome.engine), outcome.kind, outcome.exit_time.astimezone(UTC).date())
        sums = days[key]
        days[key] = DaySum(
            trades=sums.trades + 1,
            wins=sums.wins + (outcome.pnl > 0),
            losses=sums.losses + (outcome.pnl < 0),
            total_pnl=sums.total_pnl + outcome.pnl,
        )
    return days


def _by_key(rows: Sequence[tuple[str, str, date, int, int, int, Decimal]]) -> dict[DayKey, DaySum]:
    return {
        DayKey(engine, kind, day): DaySum(trades, wins, losses, total)
        for engine, kind, day, trades, wins, losses, total in rows
    }
