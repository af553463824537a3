"""What monitoring sees: a look at the database that ends within seconds, and that costs the same after years of signals.

It uses a connection of its own, because a probe has to hear at once that the server is away instead of waiting in the pool.
Nothing here walks the history: what is open is read from partial indexes and capped, totals are estimates of the
planner's statistics above the cap, and settled states are counted among the newest rows only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import psycopg
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from psycopg.rows import TupleRow

CONNECT_SECONDS = 2
STATEMENT_MILLISECONDS = 2000
CAP = 10_000
ALIVE_SECONDS = 3600

# served by signals_claimable
_BACKLOG = f"""
    SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(received_at)), 0)::float
      FROM (SELECT received_at FROM signals WHERE NOT processed AND parked_at IS NULL
             ORDER BY received_at, signal_id LIMIT {CAP}) AS waiting
"""  # noqa: S608 - a constant
_ESTIMATE = """
    SELECT CASE WHEN found.number <= {cap} THEN found.number
                ELSE greatest(found.number, (SELECT reltuples::bigint FROM pg_class WHERE oid = '{table}'::regclass)) END
      FROM (SELECT count(*) AS number FROM (SELECT FROM {table} LIMIT {cap} + 1) AS counted) AS found
"""
_NEWEST_BY = """
    SELECT {column}, count(*) FROM (SELECT {column} FROM {table} ORDER BY {key} DESC LIMIT {cap}) AS newest GROUP BY 1
"""
# served by calls_to_make
_CALLS_IN_FLIGHT = f"""
    SELECT engine, kind, state, count(*)
      FROM (SELECT engine, kind, state FROM engine_calls WHERE state IN ('PENDING', 'SENT', 'ACCEPTED') LIMIT {CAP}) AS open
     GROUP BY 1, 2, 3
"""  # noqa: S608 - a constant
_CALLS_ENDED = f"""
    SELECT engine, kind, state, count(*)
      FROM (SELECT engine, kind, state FROM engine_calls ORDER BY id DESC LIMIT {CAP}) AS newest
     WHERE state IN ('ANSWERED', 'FAILED')
     GROUP BY 1, 2, 3
"""  # noqa: S608 - a constant
# served by permits_to_settle
_PERMITS_UNSETTLED = f"""
    SELECT state, count(*)
      FROM (SELECT state FROM execution_permits WHERE state IN ('GRANTED', 'ARMED', 'UNKNOWN') LIMIT {CAP}) AS open
     GROUP BY 1
"""  # noqa: S608 - a constant
# served by one_open_incident_per_subject
_OPEN_INCIDENTS = f"""
    SELECT severity, count(*) FROM (SELECT severity FROM incidents WHERE resolved_at IS NULL LIMIT {CAP}) AS open GROUP BY 1
"""  # noqa: S608 - a constant
_OUTCOMES = "SELECT engine, kind, sum(trades), sum(total_pnl)::float FROM daily_results GROUP BY 1, 2"
_WORKERS = f"""
    SELECT name, extract(epoch FROM clock_timestamp() - beat_at)::float FROM worker_heartbeats
     WHERE stopped_at IS NULL AND beat_at > clock_timestamp() - interval '{ALIVE_SECONDS} seconds'
     ORDER BY beat_at DESC LIMIT 100
"""  # noqa: S608 - a constant
_ENGINES = """
    SELECT engine, ok, extract(epoch FROM clock_timestamp() - checked_at)::float, detail FROM engine_health ORDER BY engine
"""
# served by proofs_newest
_PROOFS = """
    SELECT DISTINCT ON (engine, capability) engine, capability, claimed, proved,
           extract(epoch FROM clock_timestamp() - checked_at)::float
      FROM engine_proofs ORDER BY engine, capability, checked_at DESC, id DESC
"""


class Unready(Exception):
    """The service cannot work yet; the message says what is missing."""


@contextmanager
def probe() -> Iterator["psycopg.Connection[TupleRow]"]:
    """Open a connection that gives up quickly.

    :raises psycopg.OperationalError: when the database cannot be reached within seconds.
    :raises django.db.OperationalError: when the embedded server cannot be started.
    """
    params = connection.get_connection_params()
    params |= {
        "connect_timeout": CONNECT_SECONDS,
        "options": f"{params.get('options', '')} -c statement_timeout={STATEMENT_MILLISECONDS}".strip(),
        "autocommit": True,
    }
    with psycopg.connect(**params) as opened:
        yield opened


def check_migrations(opened: "psycopg.Connection[TupleRow]") -> None:
    """Return when the database is as this version of the service needs it.

    :raises Unready: when migrations are missing.
    """
    if not rows(opened, "SELECT FROM pg_class WHERE oid = to_regclass('django_migrations')"):
        raise Unready("The database has no tables yet. Run: manage.py migrate")
    applied = set(rows(opened, "SELECT app, name FROM django_migrations"))
    missing = sorted(f"{app}.{name}" for app, name in _known_migrations() - applied)
    if missing:
        raise Unready(f"Migrations are missing: {', '.join(missing[:5])}. Run: manage.py migrate")


def rows(opened: "psycopg.Connection[TupleRow]", sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of one statement of this module."""
    return opened.execute(sql.encode()).fetchall()


def backlog(opened: "psycopg.Connection[TupleRow]") -> tuple[int, float]:
    """Return how many signals wait (at most 10,000) and the age of the oldest in seconds, 0 when none waits."""
    ((waiting, age),) = rows(opened, _BACKLOG)
    return waiting, age


def workers(opened: "psycopg.Connection[TupleRow]") -> list[tuple[str, float]]:
    """Return the workers that did not stop and the seconds since their last sign of life, the freshest first."""
    return [(name, age) for name, age in rows(opened, _WORKERS)]


def engines(opened: "psycopg.Connection[TupleRow]") -> list[tuple[str, bool, float, str]]:
    """Return each engine's newest probe: engine, ok, its age in seconds, detail."""
    return [(engine, ok, age, detail) for engine, ok, age, detail in rows(opened, _ENGINES)]


def proofs(opened: "psycopg.Connection[TupleRow]") -> dict[str, dict[str, Any]]:
    """Return the newest proof of each engine's capabilities, under its engine and its name."""
    found: dict[str, dict[str, Any]] = {}
    for engine, capability, claimed, proved, age in rows(opened, _PROOFS):
        found.setdefault(engine, {})[capability] = {"claimed": claimed, "proved": proved, "age_seconds": age}
    return found


def estimated_rows(opened: "psycopg.Connection[TupleRow]", table: str) -> int:
    """Return the number of rows, exact up to 10,000 and above that as good as the planner's statistics."""
    return int(rows(opened, _ESTIMATE.format(table=table, cap=CAP))[0][0])


def newest_by(opened: "psycopg.Connection[TupleRow]", table: str, *, column: str, key: str) -> dict[str, int]:
    """Return the newest 10,000 rows of a table, counted by a column."""
    return dict(rows(opened, _NEWEST_BY.format(table=table, column=column, key=key, cap=CAP)))


def calls_in_flight(opened: "psycopg.Connection[TupleRow]") -> list[tuple[Any, ...]]:
    """Return (engine, kind, state, number) of the calls that are not answered yet."""
    return rows(opened, _CALLS_IN_FLIGHT)


def ended_calls(opened: "psycopg.Connection[TupleRow]") -> list[tuple[Any, ...]]:
    """Return (engine, kind, state, number) of the ended calls among the newest 10,000."""
    return rows(opened, _CALLS_ENDED)


def unsettled_permits(opened: "psycopg.Connection[TupleRow]") -> dict[str, int]:
    return dict(rows(opened, _PERMITS_UNSETTLED))


def open_incidents(opened: "psycopg.Connection[TupleRow]") -> dict[str, int]:
    return dict(rows(opened, _OPEN_INCIDENTS))


def outcomes(opened: "psycopg.Connection[TupleRow]") -> list[tuple[Any, ...]]:
    """Return (engine, kind, trades, total P&L), from the daily sums."""
    return rows(opened, _OUTCOMES)


@cache
def _known_migrations() -> frozenset[tuple[str, str]]:
    """Return the migrations that ship with this version; read once, they cannot change while the process lives."""
    return frozenset(MigrationLoader(None).disk_migrations)
