"""What check_engine found of the engines' claims, and what it asked them about."""

from typing import Any, ClassVar

from django.db import models

from config.keys import new_key
from orchestrator.domain.vocabulary import Capability, Engine
from orchestrator.models.rules import created_at_field, immutable, one_of, word_field


class EngineProof(models.Model):
    """One capability of one engine, looked at once; the newest row counts, until it is too old.

    ``claimed``: the settings, or the contract itself, say that the engine can. ``proved`` is null when it could not be
    judged.
    """

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    engine = word_field(Engine)
    capability = word_field(Capability)
    claimed = models.BooleanField()
    proved = models.BooleanField(null=True)
    detail = models.TextField(blank=True, default="")
    address = models.TextField(blank=True, default="", help_text="which instance was asked")
    checked_at = created_at_field()

    class Meta:
        db_table = "engine_proofs"
        constraints: ClassVar[list[Any]] = [
            one_of("proof_engine_is_known", "engine", Engine),
            one_of("proof_capability_is_known", "capability", Capability),
        ]
        indexes: ClassVar[list[Any]] = [
            # serves proofs.newest_proofs
            models.Index(fields=["engine", "capability", "-checked_at", "-id"], name="proofs_newest"),
        ]
        triggers: ClassVar[list[Any]] = immutable("engine_proofs")

    def __str__(self) -> str:
        return f"{self.engine} {self.capability}"


class EngineTrial(models.Model):
    """An experiment or a permit that check_engine made up: what the engine reports about it is no trade of ours."""

    id = models.UUIDField(primary_key=True, editable=False)
    engine = word_field(Engine)
    created_at = created_at_field()

    class Meta:
        db_table = "engine_trials"
        constraints: ClassVar[list[Any]] = [one_of("trial_engine_is_known", "engine", Engine)]
        triggers: ClassVar[list[Any]] = immutable("engine_trials")

    def __str__(self) -> str:
        return f"{self.engine} {self.id}"
