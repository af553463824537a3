"""What is known of an engine's health: the newest probe, as old as it is."""

from datetime import timedelta
from typing import Any

import pytest

from orchestrator.domain.vocabulary import Engine
from orchestrator.engines.protocol import NoAnswer, NotSent, Reply
from orchestrator.health import record_health
from orchestrator.models import EngineHealth
from orchestrator.policies import current_availability
from orchestrator.queue import database_clock

pytestmark = pytest.mark.django_db

OK = Reply(200, b'{"status":"ok"}')


@pytest.mark.parametrize(
    ("outcome", "ok", "detail"),
    [
        (OK, True, ""),
        (Reply(200, b'{"status":"ok","load":0.5}'), True, ""),
        (Reply(204, b""), False, "status 204"),
        (Reply(503, b"\x00 busy"), False, "busy"),
        (Reply(302, b""), False, "status 302"),
        (Reply(200, b"ok"), False, "cannot be read"),
        (Reply(200, b'"ok"'), False, "cannot be read"),
        (Reply(200, b'{"status":"OK"}'), False, "it says 'OK'"),
        (Reply(200, b'{"status":true}'), False, "it says"),
        (Reply(200, b"{}"), False, "it says 'None'"),
        (NoAnswer("no whole answer \x00 \ud800"), False, "no whole answer"),
        (NotSent("no connection"), False, "no connection"),
    ],
)
def test_only_a_plain_ok_is_available(outcome: Any, ok: bool, detail: str) -> None:
    record_health(Engine.A, outcome)
    known = EngineHealth.objects.get()
    assert (known.engine, known.ok) == ("A", ok)
    assert detail in known.detail
    availability = current_availability(at=database_clock())
    assert (availability[Engine.A].ok, availability[Engine.B].ok) == (ok, False)


def test_a_probe_is_as_old_as_its_outcome() -> None:
    record_health(Engine.A, OK, seconds_ago=29)
    at = database_clock()
    assert current_availability(at=at)[Engine.A].ok
    assert not current_availability(at=at + timedelta(seconds=2))[Engine.A].ok


def test_an_older_probe_does_not_replace_a_newer_one() -> None:
    record_health(Engine.A, OK)
    newer = EngineHealth.objects.values().get()
    record_health(Engine.A, NotSent("no connection"), seconds_ago=5)
    assert EngineHealth.objects.values().get() == newer
    record_health(Engine.A, NotSent("no connection"))
    assert not EngineHealth.objects.get().ok
