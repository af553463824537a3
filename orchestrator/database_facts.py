"""What the database server says about itself: whether it may forget commits, and whether it is the one that is known."""

from dataclasses import dataclass
from functools import cache

from django.conf import settings
from django.db import connection

from orchestrator.domain.vocabulary import AppMode

FACTS = """
SELECT current_setting('synchronous_commit'), current_setting('fsync'), current_setting('full_page_writes'),
       pg_is_in_recovery(), {system_identifier},
       CASE WHEN pg_is_in_recovery() THEN '' ELSE left(pg_walfile_name(pg_current_wal_flush_lsn()), 8) END,
       (SELECT oid::bigint FROM pg_database WHERE datname = current_database()),
       'execution_permits'::regclass::oid::bigint,
       known.system_identifier, known.timeline, known.database_oid, known.table_oid
  FROM (SELECT) AS here
  LEFT JOIN (SELECT * FROM database_identities ORDER BY number DESC LIMIT 1) AS known ON TRUE
"""
READABLE_IDENTIFIER = "(SELECT system_identifier::text FROM pg_control_system())"
# A function that a role may not call fails even in a branch that is never taken, so this is asked before, once.
MAY_READ_IDENTIFIER = "SELECT has_function_privilege('pg_control_system()', 'EXECUTE')"


class UnsafeDatabase(Exception):
    """The database may forget what it has committed; the message names the setting and what to do."""


class ChangedDatabase(Exception):
    """The database is another one than real trading went on with before."""


@dataclass(frozen=True, slots=True)
class Identity:
    """``system_identifier`` is empty where this role may not read it, ``timeline`` while the server is a standby."""

    system_identifier: str
    timeline: str
    database_oid: int
    table_oid: int

    def is_same(self, other: "Identity") -> bool:
        """Compare what can be compared: an identifier that a role may not read contradicts nothing."""
        unreadable = not (self.system_identifier and other.system_identifier)
        rest = (self.timeline, self.database_oid, self.table_oid)
        return (unreadable or self.system_identifier == other.system_identifier) and rest == (
            other.timeline,
            other.database_oid,
            other.table_oid,
        )


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What the server says about itself, and as which it is known."""

    synchronous_commit: str
    fsync: str
    full_page_writes: str
    in_recovery: bool
    identity: Identity
    known: Identity | None


def check_database_before_arming() -> None:
    """Look at the database in the transaction that is about to arm permits: one small statement.

    :raises UnsafeDatabase: when it may forget what it commits.
    :raises ChangedDatabase: when it is not the one that is known.
    """
    if settings.APP_MODE != AppMode.LIVE:
        return
    facts = read_facts()
    if sentence := what_is_wrong(facts):
        raise UnsafeDatabase(sentence)
    if facts.known is None or not facts.known.is_same(facts.identity):
        raise ChangedDatabase


def read_facts() -> DatabaseFacts:
    """Return what the server says about itself, and as which it is known."""
    query = FACTS.format(system_identifier=READABLE_IDENTIFIER if may_read_identifier() else "''")
    with connection.cursor() as cursor:
        cursor.execute(query)
        row = cursor.fetchone()
    return DatabaseFacts(
        synchronous_commit=row[0],
        fsync=row[1],
        full_page_writes=row[2],
        in_recovery=row[3],
        identity=Identity(*row[4:8]),
        known=Identity(*row[8:12]) if row[9] is not None else None,
    )


@cache
def may_read_identifier() -> bool:
    """Tell whether this role may read the cluster's identifier."""
    with connection.cursor() as cursor:
        cursor.execute(MAY_READ_IDENTIFIER)
        return bool(cursor.fetchone()[0])


def what_is_wrong(facts: DatabaseFacts) -> str:
    """Return a sentence about what may be forgotten, empty when nothing may."""
    if facts.in_recovery:
        return "The database server is a standby that takes no writes; DATABASE_URL must name the primary."
    names = ("synchronous_commit", "fsync", "full_page_writes")
    wrong = [name for name in names if getattr(facts, name) == "off"]
    if not wrong:
        return ""
    said = " and ".join(f"{name} is off" for name in wrong)
    return f"{said}: the database may forget what it has committed. With APP_MODE=LIVE it must be on."
