"""What only an operator can settle, open until it is settled."""

from typing import Any, ClassVar

from django.db import models

from config.keys import new_key
from orchestrator.domain.vocabulary import Channel, IncidentKind, Severity
from orchestrator.models.experiments import Experiment
from orchestrator.models.permits import ExecutionPermit
from orchestrator.models.rules import created_at_field, kept, one_of, word_field


class IncidentQuerySet(models.QuerySet["Incident"]):
    def unresolved(self) -> "IncidentQuerySet":
        return self.filter(resolved_at=None)


class Incident(models.Model):
    """``subject`` names what it is about, so that one trouble is one open incident however often it is seen."""

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    kind = word_field(IncidentKind)
    severity = word_field(Severity)
    subject = models.CharField(max_length=200)
    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="incidents", null=True)
    permit = models.ForeignKey(ExecutionPermit, on_delete=models.PROTECT, related_name="incidents", null=True)
    detail = models.JSONField(default=dict)
    opened_at = created_at_field()
    resolved_at = models.DateTimeField(null=True)
    resolved_by = models.CharField(max_length=150, blank=True, default="")
    resolution = models.TextField(blank=True, default="")

    objects = IncidentQuerySet.as_manager()

    class Meta:
        db_table = "incidents"
        permissions: ClassVar[list[Any]] = [("settle_incident", "Can settle incidents")]
        constraints: ClassVar[list[Any]] = [
            one_of("incident_kind_is_known", "kind", IncidentKind),
            one_of("incident_severity_is_known", "severity", Severity),
            # also serves the list of open incidents
            models.UniqueConstraint(
                fields=["kind", "subject"], name="one_open_incident_per_subject", condition=models.Q(resolved_at=None)
            ),
        ]
        triggers: ClassVar[list[Any]] = kept("incidents", except_for=["resolved_at", "resolved_by", "resolution"])

    def __str__(self) -> str:
        return f"{self.severity} {self.kind}"


class IncidentNotification(models.Model):
    """That operators are told of an incident: one row per incident and channel, for ever, so that it is told once."""

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="notifications")
    channel = word_field(Channel)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    given_up_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True, default="")
    created_at = created_at_field()

    class Meta:
        db_table = "incident_notifications"
        constraints: ClassVar[list[Any]] = [
            one_of("notification_channel_is_known", "channel", Channel),
            models.UniqueConstraint(fields=["incident", "channel"], name="one_notification_per_incident_and_channel"),
        ]
        indexes: ClassVar[list[Any]] = [
            # serves notifications.claim_due
            models.Index(
                fields=["next_attempt_at", "id"],
                name="notifications_to_send",
                condition=models.Q(sent_at=None, given_up_at=None),
            ),
        ]
        triggers: ClassVar[list[Any]] = kept(
            "notifications", except_for=["attempts", "next_attempt_at", "sent_at", "given_up_at", "error"]
        )

    def __str__(self) -> str:
        return f"{self.channel} about {self.incident_id}"
