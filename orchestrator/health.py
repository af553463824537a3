"""Whether an engine can be used, as a stored fact that ages: decisions read the fact and never probe themselves.

With real money an engine can be used when it answers and its claims were proved. That is part of the fact, so that a
decision sees it as availability and can be repeated from its stored inputs.
"""

from http import HTTPStatus

from django.conf import settings
from django.db import connection

from config.keys import new_key
from orchestrator.domain.strict_json import UnreadableJson, printable, read_object
from orchestrator.domain.vocabulary import AppMode, Engine
from orchestrator.engines.protocol import NoAnswer, NotSent, Reply
from orchestrator.proofs import what_is_unproved


def record_health(engine: Engine, outcome: Reply | NotSent | NoAnswer, *, seconds_ago: float = 0) -> None:
    """Store a probe of an engine unless a newer one is stored; anything but 200 ``{"status": "ok"}`` is unavailable.

    With APP_MODE=LIVE so is an engine that claims what was not proved; the detail says what to do.

    :param seconds_ago: the age of the outcome; while the database is away, probes grow old before they are stored.
    """
    ok, detail = _judge(outcome)
    if ok and settings.APP_MODE == AppMode.LIVE:
        detail = what_is_unproved(engine)
        ok = not detail
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
