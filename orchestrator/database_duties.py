"""What real trading demands of the database: that it forgets nothing, and that it is the one that was traded with before.

Only with APP_MODE=LIVE. At a worker's start a database that may forget is refused; before permits are armed, in their own
transaction, the same is looked at again. A database that is another one than before (restored, failed over) halts trading:
its last permits may be missing although their orders have left, and only an operator can compare.
"""

from dataclasses import asdict, dataclass
from functools import cache

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max

from orchestrator.domain.vocabulary import AppMode, IncidentKind
from orchestrator.incidents import open_incident, resolve_incidents
from orchestrator.models import DatabaseIdentity
from orchestrator.revisions import POLICY_LOCK, record_revision

log = structlog.get_logger(__name__)

BY = "orchestrator"
NOT_DURABLE_SUBJECT = "database"

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


def check_database_at_start() -> None:
    """Look at the database before real trading begins; note which one it is when none is known.

    :raises UnsafeDatabase: when it may forget what it commits.
    """
    if settings.APP_MODE != AppMode.LIVE:
        return
    facts = read_facts()
    if sentence := what_is_wrong(facts):
        raise UnsafeDatabase(sentence)
    resolve_incidents(
        IncidentKind.DATABASE_NOT_DURABLE,
        subject=NOT_DURABLE_SUBJECT,
        by=BY,
        resolution="A worker started and found every setting as it must be.",
    )
    note_identity()


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


def withhold_arming(error: UnsafeDatabase | ChangedDatabase) -> None:
    """Say why nothing was armed: an incident, and for another database a halt."""
    if isinstance(error, ChangedDatabase):
        note_identity()
        return
    open_incident(
        IncidentKind.DATABASE_NOT_DURABLE,
        subject=NOT_DURABLE_SUBJECT,
        detail={"what": f"{error} No order is sent until then."},
    )


def note_identity() -> None:
    """Keep which database this is; when another one was known, halt trading and open an incident, once.

    The exclusive lock of the policy puts two workers that notice at the same time in an order, and both behind any permit
    that is just being armed.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [POLICY_LOCK])
        facts = read_facts()
        known, found = facts.known, facts.identity
        if known is not None and known.is_same(found):
            return
        newest = DatabaseIdentity.objects.aggregate(newest=Max("number"))["newest"] or 0
        row = DatabaseIdentity.objects.create(number=newest + 1, noted_by=BY, **asdict(found))
        if known is None:
            log.info("database.noted", **asdict(found))
            return
        record_revision({"TRADING_HALTED": True}, changed_by=BY)
        open_incident(
            IncidentKind.DATABASE_CHANGED,
            subject=f"database:{row.pk}",
            detail={"what": _what_changed(known, found), "before": asdict(known), "now": asdict(found)},
        )


def read_facts() -> DatabaseFacts:
    """Return what the server says about itself, and as which it is known."""
    query = FACTS.format(system_identifier=READABLE_IDENTIFIER if may_read_identifier() else "''")
    with connection.cursor() as cursor:
        cursor.execute(query)
        row = cursor.fetchone()
    return DatabaseFacts(*row[:4], Identity(*row[4:8]), Identity(*row[8:12]) if row[9] is not None else None)


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


def _what_changed(known: Identity, found: Identity) -> str:
    if known.system_identifier and found.system_identifier and known.system_identifier != found.system_identifier:
        how = "it is another PostgreSQL cluster"
    elif known.timeline != found.timeline:
        how = f"its timeline went from {known.timeline} to {found.timeline}, as after a failover or a recovery"
    elif known.database_oid != found.database_oid:
        how = "it is another database of the same cluster"
    else:
        how = "its tables were made anew, as when a dump is read back"
    return f"The database is not the one that real trading went on with before: {how}. Trading was halted."
