"""Counting everything again from the facts, and saying where what was kept differs."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from outcomes import counting, pair_sql, trade_sql

_EVERYTHING = 2**31 - 1
_MOST_TOLD = 10_000
_WORK_MEMORY = "256MB"


@dataclass(frozen=True, slots=True)
class Difference:
    """A kept row that was not what the outcomes say: which one it is, and both in words."""

    row: str
    kept: str
    recomputed: str


@dataclass(frozen=True, slots=True)
class _Kept:
    """A table of kept sums: its key, what is kept, and how to make it again from ``recounted_…`` and the facts."""

    table: str
    key: tuple[str, ...]
    values: tuple[str, ...]
    query: str
    has_own_id: bool = True

    @property
    def recounted(self) -> str:
        return f"recounted_{self.table}"


# In this order: the sums of pairs are made from the pairs that were just made again.
_TABLES = (
    _Kept(
        "pairs",
        ("experiment_id",),
        ("slice_id", *pair_sql.COLUMNS),
        f"SELECT experiment_id, slice.id AS slice_id, {', '.join(pair_sql.COLUMNS)}"
        f" FROM ({pair_sql.fresh()}) AS fresh {counting.own_slice('fresh')}",
        has_own_id=False,
    ),
    _Kept(
        "daily_pairs",
        ("slice_id", "basis", "day"),
        pair_sql.PAIR_SUMS,
        counting.sums_of_pairs("(SELECT 1 AS times, recounted_pairs.* FROM recounted_pairs)", placed=True),
    ),
    _Kept(
        "daily_experiments",
        ("slice_id", "day", "share"),
        pair_sql.EXPERIMENT_SUMS,
        counting.sums_of_experiments("(SELECT 1 AS times, recounted_pairs.* FROM recounted_pairs)", placed=True),
    ),
    _Kept("daily_trades", ("slice_id", "day", "engine", "kind"), trade_sql.SUMS, trade_sql.by_slice()),
)


def recount() -> list[Difference]:
    """Make pairs and sums again, put right what differs, and return what differed.

    What is noted is counted first: that it was not counted yet is no difference. What is recorded meanwhile is not seen
    here, and its notes remain.
    """
    with _alone() as cursor:
        counting.count_noted(cursor, limit=_EVERYTHING)
        _make_again(cursor)
        differences = [found for kept in _TABLES for found in _differences(cursor, kept)]
        if differences:
            _replace(cursor)
        _drop(cursor)
    return differences


def count_from_nothing() -> None:
    """Make pairs and sums from the facts at once, in place of counting note by note; for a database just loaded."""
    with _alone() as cursor:
        cursor.execute("DELETE FROM changed_pairs")
        cursor.execute("DELETE FROM changed_days")
        _make_again(cursor)
        _replace(cursor)
        _drop(cursor)


def _make_again(cursor: CursorWrapper) -> None:
    # one transaction that joins and sorts everything there is
    cursor.execute(f"SET LOCAL work_mem = '{_WORK_MEMORY}'")
    cursor.execute(counting.SLICES.format(experiments="experiments"))
    for kept in _TABLES:
        cursor.execute(f"DROP TABLE IF EXISTS {kept.recounted}")
        cursor.execute(f"CREATE TEMPORARY TABLE {kept.recounted} ON COMMIT DROP AS {kept.query}")
        cursor.execute(f"ANALYZE {kept.recounted}")


def _drop(cursor: CursorWrapper) -> None:
    for kept in _TABLES:
        cursor.execute(f"DROP TABLE {kept.recounted}")


@contextmanager
def _alone() -> Iterator[CursorWrapper]:
    """Open a transaction in which nobody else counts and that sees one moment; inside a caller's, see what the caller sees."""
    if connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [counting.LOCK])
            yield cursor
        return
    with connection.cursor() as cursor:
        # before the transaction, whose one moment must be after the last count of another one
        cursor.execute("SELECT pg_advisory_lock(%s)", [counting.LOCK])
        try:
            with transaction.atomic():
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                yield cursor
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [counting.LOCK])


def _differences(cursor: CursorWrapper, kept: _Kept) -> list[Difference]:
    both = f"kept FULL JOIN {kept.recounted} AS again USING ({', '.join(kept.key)})"
    values = [", ".join(f"{side}.{name}" for name in kept.values) for side in ("kept", "again")]
    # a pair that moved to another day may leave a sum of nothing behind
    something = "WHERE pairs <> 0" if kept.table == "daily_pairs" else ""
    cursor.execute(
        f"SELECT jsonb_build_array({', '.join(kept.key)}), to_jsonb(kept), to_jsonb(again), count(*) OVER ()"
        f" FROM (SELECT * FROM {kept.table} {something}) AS {both}"
        f" WHERE ({values[0]}) IS DISTINCT FROM ({values[1]}) ORDER BY {', '.join(kept.key)} LIMIT {_MOST_TOLD}"
    )
    rows = [(*map(_read, row[:3]), row[3]) for row in cursor.fetchall()]
    told = [
        Difference(f"{kept.table} {' '.join(map(str, key))}", _told(kept, before, after), _told(kept, after, before))
        for key, before, after, _ in rows
    ]
    more = rows[0][3] - len(rows) if rows else 0
    return [*told, Difference(f"{kept.table}, {more} more rows", "…", "…")] if more else told


def _read(text: str | None) -> Any:
    return None if text is None else json.loads(text, parse_float=Decimal)


def _told(kept: _Kept, row: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> str:
    """Return the values in which a row differs from another one."""
    if row is None:
        return "no such row"
    differing = [name for name in kept.values if other is None or row[name] != other[name]]
    return ", ".join(f"{name} {row[name]}" for name in differing)


def _replace(cursor: CursorWrapper) -> None:
    for kept in _TABLES:
        names = ", ".join((*kept.key, *kept.values))
        id_name, id_value = ("id, ", "gen_random_uuid(), ") if kept.has_own_id else ("", "")
        cursor.execute(f"DELETE FROM {kept.table}")
        cursor.execute(f"INSERT INTO {kept.table} ({id_name}{names}) SELECT {id_value}{names} FROM {kept.recounted}")
