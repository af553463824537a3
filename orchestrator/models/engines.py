"""What is asked of the engines and what they say: the outbox, the answers, the inbox, and their health."""

from typing import Any, ClassVar

import pgtrigger
from django.db import models

from config.keys import new_key
from orchestrator.domain.transitions import CALL_MOVES
from orchestrator.domain.vocabulary import Action, CallKind, CallState, Engine, Verdict
from orchestrator.models.experiments import Experiment
from orchestrator.models.rules import (
    a_hash,
    created_at_field,
    immutable,
    kept,
    moves,
    one_of,
    word_field,
)


class EngineCall(models.Model):
    """One outbox row: ask an engine for a recommendation, tell it of its shadow trade, or of that trade's exit."""

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="calls")
    engine = word_field(Engine)
    kind = word_field(CallKind)
    state = word_field(CallState, default=CallState.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    lease = models.CharField(max_length=100, blank=True, default="")
    lease_expires_at = models.DateTimeField(null=True)
    fence = models.PositiveBigIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    deadline_at = models.DateTimeField()
    input_hash = models.CharField(max_length=64, null=True)  # noqa: DJ001 - only a recommendation has an input
    request = models.TextField(blank=True, default="", help_text="the body; of a recommendation: the engine_input")
    error = models.TextField(blank=True, default="")
    latency = models.FloatField(null=True, help_text="seconds from sending to the answer")
    response = models.TextField(blank=True, default="")
    sent_at = models.DateTimeField(null=True)
    answered_at = models.DateTimeField(null=True)
    created_at = created_at_field()

    class Meta:
        db_table = "engine_calls"
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["experiment", "engine", "kind"], name="one_call_of_a_kind_per_engine"),
            one_of("call_engine_is_known", "engine", Engine),
            one_of("call_kind_is_known", "kind", CallKind),
            one_of("call_state_is_known", "state", CallState),
            a_hash("call_input_hash_is_a_hash", "input_hash"),
        ]
        indexes: ClassVar[list[Any]] = [
            # serves queue.claim_calls: what an engine is due to be asked, oldest first
            models.Index(
                fields=["engine", "next_attempt_at", "id"],
                name="calls_to_make",
                condition=models.Q(state__in=["PENDING", "SENT", "ACCEPTED"]),
            ),
        ]
        triggers: ClassVar[list[Any]] = [
            *kept(
                "calls",
                except_for=[
                    "state",
                    "attempts",
                    "lease",
                    "lease_expires_at",
                    "fence",
                    "next_attempt_at",
                    "error",
                    "latency",
                    "response",
                    "sent_at",
                    "answered_at",
                ],
            ),
            moves("calls", "state", CALL_MOVES),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.engine} {self.state}"


class Recommendation(models.Model):
    """An engine's answer, stored verbatim (requirement 7.5)."""

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    call = models.OneToOneField(EngineCall, on_delete=models.PROTECT, related_name="recommendation")
    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="recommendations")
    engine = word_field(Engine)
    action = word_field(Action)
    raw = models.TextField()
    terms = models.JSONField(null=True)
    reason = models.TextField(blank=True, default="")
    received_at = models.DateTimeField()

    class Meta:
        db_table = "recommendations"
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["experiment", "engine"], name="one_recommendation_per_engine"),
            one_of("recommendation_engine_is_known", "engine", Engine),
            models.CheckConstraint(
                name="open_has_terms_and_pass_has_none",
                condition=models.Q(action="OPEN", terms__isnull=False) | models.Q(action="PASS", terms__isnull=True),
            ),
        ]
        triggers: ClassVar[list[Any]] = immutable("recommendations")

    def __str__(self) -> str:
        return f"{self.engine} {self.action}"


class EngineEvent(models.Model):
    """A fact that an engine reported: stored first, then applied, in any order, any number of times."""

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    engine = word_field(Engine)
    message_id = models.CharField(max_length=200)
    type = models.CharField(max_length=64)
    body = models.TextField()
    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="events", null=True)
    received_at = created_at_field()
    applied_at = models.DateTimeField(null=True)
    verdict = word_field(Verdict, null=True)
    detail = models.TextField(blank=True, default="")

    class Meta:
        db_table = "engine_events"
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["engine", "message_id"], name="one_event_per_engine_and_message"),
            one_of("event_engine_is_known", "engine", Engine),
            one_of("event_verdict_is_known", "verdict", Verdict),
        ]
        indexes: ClassVar[list[Any]] = [
            # serves queue.pending_events: facts not applied yet, oldest first
            models.Index(fields=["received_at", "id"], name="events_to_apply", condition=models.Q(verdict=None)),
            # serves the second look at facts that wait for another one
            models.Index(fields=["experiment"], name="events_waiting", condition=models.Q(verdict="WAITING")),
        ]
        triggers: ClassVar[list[Any]] = [
            *kept("events", except_for=["applied_at", "verdict", "detail"]),
            pgtrigger.Protect(
                name="events_verdict_is_final",
                operation=pgtrigger.Update,
                # an exit that matched nothing may still match a trade that nobody expected
                condition=pgtrigger.Q(old__verdict__in=["APPLIED", "DUPLICATE", "CONFLICT"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.engine} {self.type} {self.message_id}"


class EngineHealth(models.Model):
    """The newest probe of an engine; a fact that ages: older than three probes it counts as unavailable."""

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    engine = word_field(Engine, unique=True)
    ok = models.BooleanField()
    detail = models.TextField(blank=True, default="")
    checked_at = models.DateTimeField()

    class Meta:
        db_table = "engine_health"
        verbose_name_plural = "engine health"
        constraints: ClassVar[list[Any]] = [one_of("health_engine_is_known", "engine", Engine)]

    def __str__(self) -> str:
        return f"{self.engine} {'available' if self.ok else 'unavailable'}"


class WorkerHeartbeat(models.Model):
    """The last sign of life of a worker process."""

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    name = models.CharField(max_length=100, unique=True)
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()
    stopped_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "worker_heartbeats"

    def __str__(self) -> str:
        return self.name
