"""The single authorisation to place a real trade for an experiment."""

from typing import Any, ClassVar

from django.db import models

from orchestrator.domain.transitions import PERMIT_MOVES
from orchestrator.domain.vocabulary import Engine, PermitState
from orchestrator.models.experiments import Experiment
from orchestrator.models.rules import created_at_field, kept, moves, one_of, word_field


class ExecutionPermit(models.Model):
    """One per experiment, for ever, and only for the engine that the policy named (foreign key in the migration)."""

    permit_id = models.UUIDField(primary_key=True, editable=False)
    experiment = models.OneToOneField(Experiment, on_delete=models.PROTECT, related_name="permit")
    engine = word_field(Engine)
    state = word_field(PermitState, default=PermitState.GRANTED)
    not_after = models.DateTimeField()
    attempts = models.PositiveIntegerField(default=0)
    lease = models.CharField(max_length=100, blank=True, default="")
    lease_expires_at = models.DateTimeField(null=True)
    fence = models.PositiveBigIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    granted_at = created_at_field()
    armed_at = models.DateTimeField(null=True)
    accepted_at = models.DateTimeField(null=True)
    may_send_until = models.DateTimeField(
        null=True, help_text="until then an order may begin to leave; null once its answer is in"
    )
    resolved_at = models.DateTimeField(null=True)
    resolved_by = models.CharField(max_length=150, blank=True, default="")
    detail = models.TextField(blank=True, default="")

    class Meta:
        db_table = "execution_permits"
        constraints: ClassVar[list[Any]] = [
            one_of("permit_engine_is_known", "engine", Engine),
            one_of("permit_state_is_known", "state", PermitState),
            # the target of the real trades' foreign key
            models.UniqueConstraint(
                fields=["permit_id", "experiment", "engine"], name="permit_of_experiment_and_engine"
            ),
            models.CheckConstraint(
                name="permit_was_armed_before_it_was_executed",
                condition=models.Q(armed_at__isnull=False) | ~models.Q(state__in=["ARMED", "EXECUTED", "UNKNOWN"]),
            ),
        ]
        indexes: ClassVar[list[Any]] = [
            # serves queue.arm_permits and the sweeps over permits that are not settled
            models.Index(
                fields=["next_attempt_at", "permit_id"],
                name="permits_to_settle",
                condition=models.Q(state__in=["GRANTED", "ARMED", "UNKNOWN"]),
            ),
            # serves revisions: a halt waits for the orders that may still be leaving
            models.Index(
                fields=["may_send_until"],
                name="permits_that_may_leave",
                condition=models.Q(may_send_until__isnull=False),
            ),
        ]
        triggers: ClassVar[list[Any]] = [
            *kept(
                "permits",
                except_for=[
                    "state",
                    "attempts",
                    "lease",
                    "lease_expires_at",
                    "fence",
                    "next_attempt_at",
                    "armed_at",
                    "accepted_at",
                    "may_send_until",
                    "resolved_at",
                    "resolved_by",
                    "detail",
                ],
            ),
            moves("permits", "state", PERMIT_MOVES),
        ]

    def __str__(self) -> str:
        return f"{self.engine} {self.state}"
