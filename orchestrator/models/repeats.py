"""Questions that were put to an engine once more, to learn how often it agrees with itself."""

from typing import Any, ClassVar

import pgtrigger
from django.db import models

from config.keys import new_key
from orchestrator.domain.agreement import Agreement
from orchestrator.domain.vocabulary import Engine
from orchestrator.models.experiments import Experiment
from orchestrator.models.rules import created_at_field, kept, one_of, word_field


class RepeatedQuestion(models.Model):
    """The stored bytes of an experiment, sent to an engine again; its answer is compared and used for nothing else.

    ``agreement`` is null while there is no usable answer; ``detail`` then says why.
    """

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="repeats")
    engine = word_field(Engine)
    asked_at = created_at_field()
    answered_at = models.DateTimeField(null=True)
    latency = models.FloatField(null=True, help_text="seconds from sending to the answer; null for an event")
    agreement = word_field(Agreement, null=True)
    raw = models.TextField(blank=True, default="")
    detail = models.TextField(blank=True, default="")

    class Meta:
        db_table = "repeated_questions"
        constraints: ClassVar[list[Any]] = [
            one_of("repeat_engine_is_known", "engine", Engine),
            one_of("repeat_agreement_is_known", "agreement", Agreement),
            models.CheckConstraint(
                name="repeat_is_compared_when_answered",
                condition=models.Q(agreement__isnull=True, answered_at__isnull=True)
                | models.Q(agreement__isnull=False, answered_at__isnull=False),
            ),
        ]
        indexes: ClassVar[list[Any]] = [
            # serves repeats.unanswered: is a second answer of this engine one that was asked for?
            models.Index(
                fields=["experiment", "engine"], name="repeats_unanswered", condition=models.Q(agreement__isnull=True)
            ),
        ]
        triggers: ClassVar[list[Any]] = [
            *kept("repeats", except_for=["answered_at", "latency", "agreement", "raw", "detail"]),
            pgtrigger.Protect(
                name="repeats_answer_is_final",
                operation=pgtrigger.Update,
                condition=pgtrigger.Q(old__agreement__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.engine} {self.agreement or 'unanswered'}"
