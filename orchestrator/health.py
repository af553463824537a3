"""Whether an engine can be reached, as a stored fact that ages: decisions read the fact and never probe themselves."""

from http import HTTPStatus

from django.db.models.functions import Now

from orchestrator.domain.strict_json import UnreadableJson, printable, read_object
from orchestrator.domain.vocabulary import Engine
from orchestrator.engines.protocol import NoAnswer, NotSent, Reply
from orchestrator.models import EngineHealth


def record_health(engine: Engine, outcome: Reply | NotSent | NoAnswer) -> None:
    """Store the newest probe of an engine; anything but 200 ``{"status": "ok"}`` is unavailable."""
    ok, detail = _judge(outcome)
    EngineHealth.objects.bulk_create(
        [EngineHealth(engine=engine.value, ok=ok, detail=detail[:2000], checked_at=Now())],
        update_conflicts=True,
        unique_fields=["engine"],
        update_fields=["ok", "detail", "checked_at"],
    )


def _judge(outcome: Reply | NotSent | NoAnswer) -> tuple[bool, str]:
    if not isinstance(outcome, Reply):
        return False, str(outcome)
    if outcome.status != HTTPStatus.OK:
        return False, f"status {outcome.status}: {printable(outcome.body, most=200)}"
    try:
        status = read_object(outcome.body).get("status")
    except UnreadableJson as error:
        return False, f"the answer cannot be read: {error}"
    return status == "ok", "" if status == "ok" else f"it says {str(status)[:100]!r}"
