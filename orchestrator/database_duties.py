"""What real trading demands of the database: that it forgets nothing, and that it is the one that was traded with before.

Only with APP_MODE=LIVE. At a worker's start a database that may forget is refused; before permits are armed, in their own
transaction, the same is looked at again. A database that is another one than before (restored, failed over) halts trading:
its last permits may be missing although their orders have left, and only an operator can compare.
"""

from dataclasses import asdict

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max

from orchestrator.database_facts import ChangedDatabase, Identity, UnsafeDatabase, read_facts, what_is_wrong
from orchestrator.domain.vocabulary import AppMode, IncidentKind
from orchestrator.incidents import open_incident, resolve_incidents
from orchestrator.models import DatabaseIdentity
from orchestrator.revisions import POLICY_LOCK, record_revision

log = structlog.get_logger(__name__)

BY = "orchestrator"
NOT_DURABLE_SUBJECT = "database"


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
