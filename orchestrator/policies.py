"""What a decision sees: the newest revision of the settings and the aging facts about the engines' health."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from orchestrator.domain.moments import moment_string
from orchestrator.domain.policy import Availability
from orchestrator.domain.vocabulary import Engine
from orchestrator.models import EngineHealth, PolicyRevision

PROBES_UNTIL_STALE = 3


def current_availability(*, at: datetime) -> dict[Engine, Availability]:
    """Return what is known of both engines; a fact older than three probes, or none, is "unavailable".

    :param at: the database clock at the decision.
    """
    oldest = at - timedelta(seconds=PROBES_UNTIL_STALE * settings.ENGINE_PROBE_SECONDS)
    facts = {fact.engine: fact for fact in EngineHealth.objects.all()}
    return {engine: _availability(facts.get(engine), oldest) for engine in Engine}


def revision_row(revision: PolicyRevision) -> Mapping[str, Any]:
    """Return the row of a revision as JSON, for ``execution_policies.inputs``."""
    return {
        "id": str(revision.id),
        "number": revision.number,
        "execution_mode": revision.execution_mode,
        "split_percentage": revision.split_percentage,
        "trading_halted": revision.trading_halted,
        "max_signal_age_seconds": revision.max_signal_age_seconds,
        "app_mode": revision.app_mode,
        "changed_by": revision.changed_by,
        "created_at": moment_string(revision.created_at),
    }


def _availability(fact: EngineHealth | None, oldest: datetime) -> Availability:
    if fact is None:
        return Availability(ok=False, checked_at=None)
    return Availability(ok=fact.ok and fact.checked_at >= oldest, checked_at=fact.checked_at)
