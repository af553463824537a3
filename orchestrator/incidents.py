"""Opening and closing incidents: one trouble is one open incident, however often it is seen."""

from typing import Any
from uuid import UUID

import structlog
from django.db.models.functions import Now

from config.fault_points import Commit
from config.faults import committed
from orchestrator.domain.vocabulary import IncidentKind, Severity
from orchestrator.models import Experiment, Incident
from orchestrator.notifications import announce

log = structlog.get_logger(__name__)

SEVERITIES = {
    IncidentKind.UNKNOWN_EXECUTION: Severity.HIGH,
    IncidentKind.UNAUTHORISED_EXECUTION: Severity.CRITICAL,
    IncidentKind.INPUT_HASH_MISMATCH: Severity.HIGH,
    IncidentKind.UNMATCHED_EVENT: Severity.MEDIUM,
    IncidentKind.CONFLICTING_EVENT: Severity.HIGH,
    IncidentKind.CONFLICTING_ANSWER: Severity.HIGH,
    IncidentKind.MISSING_EXIT_PRICE: Severity.MEDIUM,
    IncidentKind.EXPIRED_OPEN_TRADE: Severity.HIGH,
    IncidentKind.POISON_SIGNAL: Severity.HIGH,
    IncidentKind.POISON_WORK: Severity.HIGH,
    IncidentKind.SIGNAL_GAP: Severity.HIGH,
    IncidentKind.SILENT_SOURCE: Severity.MEDIUM,
    IncidentKind.DATABASE_CHANGED: Severity.CRITICAL,
    IncidentKind.DATABASE_NOT_DURABLE: Severity.CRITICAL,
}


def open_incident(
    kind: IncidentKind,
    *,
    subject: str,
    detail: dict[str, Any],
    experiment_id: UUID | None = None,
    permit_id: UUID | None = None,
) -> None:
    """Open an incident about ``subject`` unless one of that kind is open already.

    :param detail: JSON-able evidence; ``detail["what"]`` is the sentence that an operator reads first.
    """
    incident = Incident(
        kind=kind,
        severity=SEVERITIES[kind],
        subject=subject,
        detail=detail,
        experiment_id=experiment_id,
        permit_id=permit_id,
    )
    with committed(Commit.OPEN_INCIDENT):
        Incident.objects.bulk_create([incident], ignore_conflicts=True)
        if not Incident.objects.filter(pk=incident.pk).exists():
            return
        announce(incident)
    signal_ids = Experiment.objects.signal_ids([experiment_id] if experiment_id else [])
    log.warning(
        "incident.opened",
        signal_id=signal_ids.get(experiment_id) if experiment_id else detail.get("signal_id"),
        kind=kind.value,
        severity=SEVERITIES[kind].value,
        subject=subject,
        experiment_id=str(experiment_id) if experiment_id else None,
        incident_id=str(incident.pk),
        what=detail.get("what"),
    )


def resolve_incidents(kind: IncidentKind, *, subject: str, by: str, resolution: str) -> None:
    """Close the open incident of that kind about ``subject``, if there is one."""
    Incident.objects.unresolved().filter(kind=kind, subject=subject).update(
        resolved_at=Now(), resolved_by=by, resolution=resolution
    )
