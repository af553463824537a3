"""Counting what has changed into the sums that reports read, one worker at a time, apart from what trades.

Triggers note every day on which a trade closed and every experiment whose pair changed, in the transaction that changed it.
The reports add what is noted and not yet counted, so they are exact at every moment; counting only makes them cheap.

Nothing that trades locks or waits for a sum. One worker counts at a time; a second finds the lock taken and moves on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from django.db import connection
from django.db.backends.utils import CursorWrapper

from config.fault_points import Commit
from config.faults import committed
from outcomes import pair_sql, trade_sql

# "only one counts": an advisory lock, because nothing else may wait for it
LOCK = 0x5AFE_C0A7
# the slices that these experiments are part of, as far as they are not there yet
SLICES = f"""
    INSERT INTO report_slices (id, symbol, timeframe, mode, policy_version)
    SELECT gen_random_uuid(), wanted.*
      FROM (SELECT DISTINCT part.*
              FROM {{experiments}}
              JOIN signals AS signal ON signal.signal_id = experiments.signal_id
              JOIN execution_policies AS policy ON policy.experiment_id = experiments.experiment_id
             CROSS JOIN LATERAL (VALUES {trade_sql.PARTS}) AS part (symbol, timeframe, mode, policy_version)) AS wanted
     WHERE NOT EXISTS (SELECT FROM report_slices AS known
                        WHERE (known.symbol, known.timeframe, known.mode, known.policy_version)
                              = (wanted.symbol, wanted.timeframe, wanted.mode, wanted.policy_version))
"""

_WHOLE = "(SELECT id FROM report_slices WHERE symbol = '' AND timeframe = '' AND mode = '' AND policy_version = '')"


def own_slice(rows: str) -> str:
    """Return the join of rows with the slice that they belong to."""
    return (
        f"JOIN report_slices AS slice ON slice.symbol = {rows}.symbol AND slice.timeframe = {rows}.timeframe"
        f" AND slice.mode = {rows}.mode AND slice.policy_version = {rows}.policy_version"
    )


def _in_both_slices(rows: str, *, placed: bool) -> str:
    """Return the query for ``rows`` with the slice that each counts in: its own, and the whole."""
    names = ", ".join(("times", *pair_sql.COLUMNS))
    slice_id, joined = ("slice_id", "") if placed else ("slice.id AS slice_id", own_slice("mine"))
    return f"""
        SELECT {slice_id}, {names} FROM {rows} AS mine {joined}
        UNION ALL
        SELECT {_WHOLE}, {names} FROM {rows} AS every
    """


def sums_of_pairs(rows: str, *, placed: bool = False) -> str:
    """Return the query for what pairs (with ``times``) add to ``daily_pairs``, in the order of its keys.

    :param placed: the rows have their ``slice_id``.
    """
    bases = " UNION ALL ".join(f"({pair_sql.differences('placed', basis)})" for basis in pair_sql.BASES)
    return f"""
        WITH placed AS ({_in_both_slices(rows, placed=placed)})
        SELECT slice_id, basis, day, {pair_sql.SUM_OF_PAIRS} FROM ({bases}) AS complete
         GROUP BY slice_id, basis, day ORDER BY slice_id, basis, day
    """


def sums_of_experiments(rows: str, *, placed: bool = False) -> str:
    """Return the query for what pairs (with ``times``) add to ``daily_experiments``, in the order of its keys.

    :param placed: the rows have their ``slice_id``.
    """
    return f"""
        WITH placed AS ({_in_both_slices(rows, placed=placed)})
        SELECT slice_id, (created_at AT TIME ZONE 'UTC')::date AS day, share, {pair_sql.SUM_OF_EXPERIMENTS} FROM placed
         GROUP BY slice_id, day, share ORDER BY slice_id, day, share
    """


def _added(table: str, key: tuple[str, ...], sums: tuple[str, ...], rows: str) -> str:
    """Return the statement that adds sums to a table."""
    names = ", ".join((*key, *sums))
    more = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in sums)
    return (
        f"INSERT INTO {table} (id, {names}) SELECT gen_random_uuid(), {names} FROM ({rows}) AS added"
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {more}"
    )


_PAIR_COLUMNS = ", ".join(pair_sql.COLUMNS)
_WRITTEN = ", ".join(f"{name} = excluded.{name}" for name in pair_sql.COLUMNS)
# One statement, so that the sums and the pairs follow from the same look at the facts.
_COUNT_PAIRS = f"""
    WITH changed AS MATERIALIZED (SELECT DISTINCT unnest(%(ids)s::uuid[]) AS experiment_id),
         {pair_sql.MOVED},
         pairs_added AS ({_added("daily_pairs", ("slice_id", "basis", "day"), pair_sql.PAIR_SUMS, sums_of_pairs("moved"))}),
         experiments_added AS (
             {_added("daily_experiments", ("slice_id", "day", "share"), pair_sql.EXPERIMENT_SUMS, sums_of_experiments("moved"))}
         )
    INSERT INTO pairs (experiment_id, slice_id, {_PAIR_COLUMNS})
    SELECT experiment_id, slice.id, {_PAIR_COLUMNS} FROM moved {own_slice("moved")} WHERE times = 1
    ON CONFLICT (experiment_id) DO UPDATE SET {_WRITTEN}
"""
_SLICES_OF_DAYS = SLICES.format(
    experiments=f"(SELECT DISTINCT experiment_id FROM ({trade_sql.closed(trade_sql.STRETCHES)}) AS closed) AS those JOIN experiments USING (experiment_id)"
)
_SUM_DAYS = f"""
    INSERT INTO daily_trades (id, slice_id, engine, kind, day, {", ".join(trade_sql.SUMS)})
    SELECT gen_random_uuid(), * FROM ({trade_sql.by_slice(trade_sql.STRETCHES)}) AS sums
"""


def count_changes(*, limit: int = 2000) -> int:
    """Count what has been noted, oldest first, and return how much it was; 0 when another one counts."""
    with _only_one() as cursor:
        if cursor is None:
            return 0
        return count_noted(cursor, limit=limit)


def count_noted(cursor: CursorWrapper, *, limit: int) -> int:
    """Count in the caller's transaction, in which nobody else counts."""
    return _count_pairs(cursor, limit) + _count_days(cursor, limit)


def _count_pairs(cursor: CursorWrapper, limit: int) -> int:
    cursor.execute(
        "DELETE FROM changed_pairs WHERE id IN (SELECT id FROM changed_pairs ORDER BY id LIMIT %s) RETURNING experiment_id",
        [limit],
    )
    found = [experiment_id for (experiment_id,) in cursor.fetchall()]
    if found:
        ids = {"ids": sorted(set(found))}
        cursor.execute(
            SLICES.format(
                experiments="unnest(%(ids)s::uuid[]) AS changed (experiment_id) JOIN experiments USING (experiment_id)"
            ),
            ids,
        )
        cursor.execute(_COUNT_PAIRS, ids)
    return len(found)


def _count_days(cursor: CursorWrapper, limit: int) -> int:
    """Sum changed days again as a whole: a trade that closed late changes the curve of its day, not only its end.

    A trade whose note is committed after this look is seen or not; its note remains, and its day is summed again.
    """
    cursor.execute(
        "DELETE FROM changed_days WHERE id IN (SELECT id FROM changed_days ORDER BY id LIMIT %s) RETURNING day", [limit]
    )
    found: list[date] = [day for (day,) in cursor.fetchall()]
    if found:
        days = sorted(set(found))
        whole_days = trade_sql.stretches_of(days)
        cursor.execute("DELETE FROM daily_trades WHERE day = ANY(%s)", [days])
        cursor.execute(_SLICES_OF_DAYS, whole_days)
        cursor.execute(_SUM_DAYS, whole_days)
    return len(found)


@contextmanager
def _only_one() -> Iterator[CursorWrapper | None]:
    """Open a transaction in which nobody else counts; None when somebody does."""
    with committed(Commit.COUNT_SUMS), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        yield cursor if cursor.fetchone()[0] else None
