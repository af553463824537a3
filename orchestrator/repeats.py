"""Second answers that were asked for: what an engine says to a repeated question is compared, and used for nothing else."""

from collections import Counter
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Count

from orchestrator.domain.agreement import Agreement, agreement
from orchestrator.domain.recommendation import Recommendation
from orchestrator.domain.vocabulary import Engine
from orchestrator.models import RepeatedQuestion
from orchestrator.queue import database_clock


def note_repeat(
    experiment_id: UUID, engine: Engine, *, recorded: Recommendation, again: Recommendation, at: datetime
) -> bool:
    """Take a second answer for what it is when it was asked for; False when nobody asked."""
    oldest = database_clock() - timedelta(seconds=settings.RECOMMENDATION_DEADLINE_SECONDS)
    asked = (
        RepeatedQuestion.objects.filter(
            experiment_id=experiment_id, engine=engine.value, agreement=None, asked_at__gte=oldest
        )
        .order_by("asked_at", "id")
        .first()
    )
    return asked is not None and note_answer(asked, recorded, again, at=at, latency=None)


def note_answer(
    row: RepeatedQuestion, recorded: Recommendation, again: Recommendation, *, at: datetime, latency: float | None
) -> bool:
    """Write how far the second answer agrees; whoever is first, the reply or the event, is the one that counts."""
    return bool(
        RepeatedQuestion.objects.filter(pk=row.pk, agreement=None).update(
            agreement=agreement(recorded, again).value, answered_at=at, latency=latency, raw=again.raw, detail=""
        )
    )


def self_agreement() -> dict[Engine, Counter[Agreement]]:
    """Return how often each engine agreed with itself so far, over all repeated questions; one statement."""
    rows = RepeatedQuestion.objects.filter(agreement__isnull=False).values_list("engine", "agreement")
    found: dict[Engine, Counter[Agreement]] = {engine: Counter() for engine in Engine}
    for engine, level, number in rows.annotate(number=Count("id")).order_by("engine", "agreement"):
        found[Engine(engine)][Agreement(level)] = number
    return found
