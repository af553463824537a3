"""What operators asked for, and what was decided from it."""

from typing import Any, ClassVar

from django.db import models

from config.keys import new_key
from orchestrator.domain.policy import RULES_VERSION, Revision
from orchestrator.domain.vocabulary import (
    AppMode,
    Engine,
    ExecutionMode,
    ReasonCode,
    RequestedMode,
    ShadowEngine,
)
from orchestrator.models.experiments import Experiment
from orchestrator.models.rules import created_at_field, immutable, one_of, word_field


class PolicyRevision(models.Model):
    """One numbered, immutable snapshot of the settings that operators edit."""

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    number = models.PositiveIntegerField(unique=True)
    execution_mode = word_field(RequestedMode)
    split_percentage = models.PositiveSmallIntegerField()
    trading_halted = models.BooleanField()
    max_signal_age_seconds = models.PositiveIntegerField()
    app_mode = word_field(AppMode)
    changed_by = models.CharField(max_length=150)
    created_at = created_at_field()

    class Meta:
        db_table = "policy_revisions"
        constraints: ClassVar[list[Any]] = [
            one_of("revision_mode_is_known", "execution_mode", RequestedMode),
            one_of("revision_app_mode_is_known", "app_mode", AppMode),
            models.CheckConstraint(
                name="revision_split_is_a_percentage", condition=models.Q(split_percentage__range=(0, 100))
            ),
            models.CheckConstraint(name="revision_numbers_start_at_1", condition=models.Q(number__gte=1)),
        ]
        triggers: ClassVar[list[Any]] = immutable("revisions")

    def __str__(self) -> str:
        return f"r{self.number} {self.execution_mode}"

    @property
    def policy_version(self) -> str:
        return f"{RULES_VERSION}-r{self.number}"

    def as_domain(self) -> Revision:
        """Return the snapshot as the pure policy takes it."""
        return Revision(
            number=self.number,
            execution_mode=RequestedMode(self.execution_mode),
            split_percentage=self.split_percentage,
            trading_halted=self.trading_halted,
            max_signal_age_seconds=self.max_signal_age_seconds,
            app_mode=AppMode(self.app_mode),
        )


class ExecutionPolicy(models.Model):
    """The recorded decision who executes an experiment, why, and everything that the decision saw."""

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    experiment = models.OneToOneField(Experiment, on_delete=models.PROTECT, related_name="policy")
    execution_mode = word_field(ExecutionMode)
    executed_engine = word_field(Engine, null=True)
    shadow_engine = word_field(ShadowEngine)
    reason = models.TextField()
    reason_code = word_field(ReasonCode)
    policy_version = models.CharField(max_length=32)
    inputs = models.JSONField()
    created_at = created_at_field()

    class Meta:
        db_table = "execution_policies"
        verbose_name_plural = "execution policies"
        constraints: ClassVar[list[Any]] = [
            one_of("policy_mode_is_known", "execution_mode", ExecutionMode),
            one_of("policy_reason_is_known", "reason_code", ReasonCode),
            # the target of the permits' foreign key: only the engine named here can ever get a permit
            models.UniqueConstraint(fields=["experiment", "executed_engine"], name="policy_names_the_permitted_engine"),
            models.CheckConstraint(
                name="policy_mode_agrees_with_engines",
                condition=(
                    models.Q(execution_mode="SHADOW_ONLY", executed_engine__isnull=True, shadow_engine="BOTH")
                    | models.Q(execution_mode="ENGINE_A_PRIMARY", executed_engine="A", shadow_engine="B")
                    | models.Q(execution_mode="ENGINE_B_PRIMARY", executed_engine="B", shadow_engine="A")
                    | models.Q(execution_mode="SPLIT_CAPITAL", executed_engine="A", shadow_engine="B")
                    | models.Q(execution_mode="SPLIT_CAPITAL", executed_engine="B", shadow_engine="A")
                ),
            ),
            # three-valued logic: a CHECK that comes out as NULL passes, so the nullable column is named apart
            models.CheckConstraint(
                name="policy_executes_unless_shadow_only",
                condition=models.Q(execution_mode="SHADOW_ONLY", executed_engine__isnull=True)
                | (~models.Q(execution_mode="SHADOW_ONLY") & models.Q(executed_engine__isnull=False)),
            ),
        ]
        triggers: ClassVar[list[Any]] = immutable("policies")

    def __str__(self) -> str:
        return f"{self.execution_mode} ({self.reason_code})"
