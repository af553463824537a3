"""The one record per signal that says which variant it was assigned."""

from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import UUID

from django.db import models

from orchestrator.domain.vocabulary import Engine
from orchestrator.models.rules import a_hash, created_at_field, immutable, one_of, word_field
from webhooks.models import Signal


class ExperimentQuerySet(models.QuerySet["Experiment"]):
    def signal_ids(self, experiment_ids: Iterable[UUID]) -> dict[UUID, str]:
        """Return the signal of each experiment; every line of the log names both."""
        found = self.filter(experiment_id__in=set(experiment_ids)).values_list("experiment_id", "signal_id")
        return {experiment_id: str(signal_id) for experiment_id, signal_id in found}


class Experiment(models.Model):
    """Its row is also the lock under which everything that happens to an experiment is put in order."""

    experiment_id = models.UUIDField(primary_key=True, editable=False)
    signal = models.OneToOneField(Signal, on_delete=models.PROTECT, related_name="experiment")
    variant = word_field(Engine)
    assignment_hash = models.CharField(max_length=64)
    split_percentage = models.PositiveSmallIntegerField()
    policy_version = models.CharField(max_length=32)
    created_at = created_at_field()

    objects = ExperimentQuerySet.as_manager()

    class Meta:
        db_table = "experiments"
        constraints: ClassVar[list[Any]] = [
            one_of("experiment_variant_is_an_engine", "variant", Engine),
            a_hash("assignment_hash_is_a_hash", "assignment_hash"),
            models.CheckConstraint(
                name="experiment_split_is_a_percentage", condition=models.Q(split_percentage__range=(0, 100))
            ),
        ]
        triggers: ClassVar[list[Any]] = immutable("experiments")
        indexes: ClassVar[list[Any]] = [
            # the newest experiments first, in the admin and the API
            models.Index(fields=["-created_at", "-experiment_id"], name="experiments_newest"),
        ]

    def __str__(self) -> str:
        return str(self.experiment_id)
