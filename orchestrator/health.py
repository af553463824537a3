"""Whether an engine can be reached, as a stored fact that ages: decisions read the fact and never probe themselves."""

from http import HTTPStatus

from django.db import connection

from config.keys import new_key
from orchestrator.domain.strict_json import UnreadableJson, printable, read_object
from orchestrator.domain.vocabulary import Engine
from orchestrator.engines.protocol import NoAnswer, NotSent, Reply


def record_health(engine: Engine, outcome: Reply | NotSent | NoAnswer, *, seconds_ago: float = 0) -> None:
    """Store a probe of an engine unless a newer one is stored; anything but 200 ``{"status": "ok"}`` is unavailable.

    :param seconds_ago: the age of the outcome; while the database is away, probes grow old before they are stored.
    """
    ok, detail = _judge(outcome)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO engine_health (id, engine, ok, detail, checked_at)
            VALUES (%s, %s, %s, %s, clock_timestamp() - make_interval(secs => %s))
            ON CONFLICT (engine) DO UPDATE
               SET ok = EXCLUDED.ok, detail = EXCLUDED.detail, checked_at = EXCLUDED.checked_at
             WHERE engine_health.checked_at <= EXCLUDED.checked_at
            """,
            [new_key(), engine.value, ok, detail[:2000], seconds_ago],
        )


def _judge(outcome: Reply | NotSent | NoAnswer) -> tuple[bool, str]:
    if not isinstance(outcome, Reply):
        return False, printable(str(outcome))
    if outcome.status != HTTPStatus.OK:
        return False, f"status {outcome.status}: {printable(outcome.body, most=200)}"
    try:
        status = read_object(outcome.body).get("status")
    except UnreadableJson as error:
        return False, f"the answer cannot be read: {error}"
    return status == "ok", "" if status == "ok" else f"it says {str(status)[:100]!r}"
