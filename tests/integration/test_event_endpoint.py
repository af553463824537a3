"""What engines post: signed, stored before anything is done about it, and answered in the words of the contract."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any
from urllib.request import Request
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings
from standardwebhooks.webhooks import Webhook

from orchestrator.event_views import MAX_EVENT_BYTES
from orchestrator.models import EngineEvent, Incident
from tests.conftest import LogLines
from tests.engine_server import SECRETS, EngineServer
from tests.factories import make_experiment
from tests.protocol_steps import apply_everything, experiment_of, granted
from webhooks import notifications

PATH = "/api/v1/engines/{}/events/"
FILL = {"external_id": "order-7", "entry_price": "4.40", "entry_time": "2026-03-02T14:30:02Z", "quantity": "2"}
EXIT = {"trade": None, "exit_price": "5.10", "exit_time": "2026-03-02T15:00:00Z", "exit_reason": "target"}

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engines")]


@pytest.fixture(scope="module", autouse=True)
def _close_the_wake_sender() -> Iterator[None]:
    yield
    notifications.stop()  # its connection would keep the test database from being dropped


def send(event: Request, *, engine: str = "A", **headers: str) -> Any:
    """Post a signed event; ``headers`` (with underscores) replace its own."""
    assert isinstance(event.data, bytes)
    own = {name.lower(): str(value) for name, value in event.headers.items()}
    own |= {name.replace("_", "-"): value for name, value in headers.items()}
    content_type = own.pop("content-type")
    return Client().post(PATH.format(engine), data=event.data, content_type=content_type, headers=own)


def send_raw(body: bytes, *, message_id: str = "msg_raw", engine: str = "A") -> Any:
    """Post any bytes, signed as far as they can be."""
    at = datetime.now(UTC)
    signature = Webhook(SECRETS[engine]).sign(message_id, at, body.decode(errors="replace"))
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signature,
    }
    return Client().post(PATH.format(engine), data=body, content_type="application/json", headers=headers)


def is_problem(response: Any, status: int, code: str) -> bool:
    body = response.json()
    assert response["content-type"] == "application/problem+json"
    assert body["detail"]
    return (response.status_code, body["status"], body["code"]) == (status, status, code)


def test_an_event_is_stored_to_the_letter_and_acknowledged(engine_a: EngineServer) -> None:
    experiment = make_experiment()
    event = engine_a.event("trade.exited", EXIT | {"experiment_id": str(experiment.pk)}, message_id="msg_1")
    response = send(event)
    assert response.status_code == 202
    stored = EngineEvent.objects.get()
    assert response.json() == {"event_id": str(stored.pk)}
    assert (stored.engine, stored.message_id, stored.type, stored.verdict) == ("A", "msg_1", "trade.exited", None)
    assert stored.body.encode() == event.data
    assert stored.experiment_id == experiment.pk


def test_an_event_seen_before_is_acknowledged_and_stored_once(engine_a: EngineServer) -> None:
    data = EXIT | {"experiment_id": str(make_experiment().pk)}
    first = send(engine_a.event("trade.exited", data, message_id="msg_1"))
    second = send(engine_a.event("trade.exited", data, message_id="msg_1"))
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json() == second.json()
    assert EngineEvent.objects.count() == 1
    assert Incident.objects.count() == 0


def test_the_same_message_id_from_the_other_engine_is_another_message(
    engine_a: EngineServer, engine_b: EngineServer
) -> None:
    data = EXIT | {"experiment_id": str(make_experiment().pk)}
    for engine in (engine_a, engine_b):
        assert send(engine.event("trade.exited", data, message_id="msg_1"), engine=engine.name).status_code == 202


def test_the_same_message_id_with_other_content_is_an_incident_and_the_first_stands(engine_a: EngineServer) -> None:
    data = EXIT | {"experiment_id": str(make_experiment().pk)}
    send(engine_a.event("trade.exited", data, message_id="msg_1"))
    for price in ("9.99", "8.88", "9.99"):
        other = engine_a.event("trade.exited", data | {"exit_price": price}, message_id="msg_1")
        assert send(other).status_code == 200
    assert json.loads(EngineEvent.objects.get().body)["data"]["exit_price"] == "5.10"
    incidents = Incident.objects.filter(kind="CONFLICTING_EVENT")
    assert len(incidents) == 2  # one for each other content
    assert {json.loads(one.detail["second"])["data"]["exit_price"] for one in incidents} == {"9.99", "8.88"}


def test_the_same_event_many_times_at_once_is_stored_once(transactional_db: None, engine_a: EngineServer) -> None:
    event = engine_a.event("trade.exited", EXIT | {"experiment_id": str(make_experiment().pk)}, message_id="msg_1")
    start = Barrier(6)

    def deliver(_: int) -> int:
        start.wait(10)
        try:
            return int(send(event).status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(deliver, range(6)))
    assert statuses == [200] * 5 + [202]
    assert EngineEvent.objects.count() == 1


# What it refers to


UNKNOWN_REFERENCES = [
    ("execution.filled", {"permit_id": str(uuid4()), "trade": FILL}),
    ("execution.filled", {"permit_id": "order-7", "trade": FILL}),
    ("execution.filled", {"trade": FILL}),
    ("execution.rejected", {"permit_id": str(uuid4()), "reason": "no"}),
    ("execution.rejected", {"reason": "no"}),
    ("trade.exited", EXIT | {"experiment_id": str(uuid4())}),
    ("trade.exited", EXIT | {"experiment_id": None}),
    ("trade.exited", EXIT),
    ("recommendation.completed", {"experiment_id": str(uuid4()), "input_hash": "", "recommendation": None}),
    ("recommendation.completed", {"experiment_id": 7}),
]


@pytest.mark.parametrize(("kind", "data"), UNKNOWN_REFERENCES)
def test_an_unknown_reference_is_told_so_and_stored_all_the_same_with_an_incident(
    engine_a: EngineServer, kind: str, data: dict[str, Any]
) -> None:
    event = engine_a.event(kind, data, message_id="msg_1")
    assert is_problem(send(event), 404, "unknown_reference")
    stored = EngineEvent.objects.get()
    [incident] = Incident.objects.unresolved()
    assert (incident.kind, incident.subject) == ("UNMATCHED_EVENT", f"event:{stored.pk}")
    assert incident.detail["body"] == stored.body
    apply_everything()
    stored.refresh_from_db()
    assert stored.verdict == "UNMATCHED"
    assert is_problem(send(event), 404, "unknown_reference")
    assert EngineEvent.objects.count() == 1


@pytest.mark.parametrize("kind", ["execution.filled", "execution.rejected"])
def test_an_engine_cannot_speak_for_the_permit_of_the_other_one(engine_b: EngineServer, kind: str) -> None:
    permit = granted(engine="A", state="ARMED")
    event = engine_b.event(kind, {"permit_id": str(permit.pk), "trade": FILL, "reason": "no"})
    assert is_problem(send(event, engine="B"), 404, "unknown_reference")
    apply_everything()
    permit.refresh_from_db()
    assert permit.state == "ARMED"


def test_a_fill_without_a_permit_but_of_a_known_experiment_is_known(engine_b: EngineServer) -> None:
    experiment = experiment_of("SHADOW_ONLY")
    data = {"permit_id": None, "experiment_id": str(experiment.pk), "trade": FILL}
    assert send(engine_b.event("execution.filled", data), engine="B").status_code == 202
    named = {"permit_id": str(uuid4()), "experiment_id": str(experiment.pk), "trade": FILL}
    assert is_problem(send(engine_b.event("execution.filled", named), engine="B"), 404, "unknown_reference")
    assert set(EngineEvent.objects.values_list("experiment", flat=True)) == {experiment.pk}


# Signatures


@pytest.mark.parametrize(
    "headers",
    [
        {"webhook_signature": "v1,AAAA"},
        {"webhook_signature": ""},
        {"webhook_signature": "garbage"},
        {"webhook_signature": "v1," + "A" * 5000},
        {"webhook_id": "another"},
        {"webhook_id": ""},
        {"webhook_timestamp": "0"},
        {"webhook_timestamp": "now"},
        {"webhook_timestamp": "99999999999999999999"},
    ],
)
def test_a_bad_signature_is_refused_and_nothing_is_stored(
    engine_a: EngineServer, headers: dict[str, str], log_lines: LogLines
) -> None:
    event = engine_a.event("trade.exited", EXIT | {"experiment_id": str(make_experiment().pk)})
    assert is_problem(send(event, **headers), 401, "bad_signature")
    assert EngineEvent.objects.count() == 0
    assert [line["engine"] for line in log_lines.of("event.refused")] == ["A"]
    assert engine_a.secret not in json.dumps(log_lines)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_an_old_event_and_one_from_the_future_are_refused(engine_a: EngineServer, minutes: int) -> None:
    data = EXIT | {"experiment_id": str(make_experiment().pk)}
    event = engine_a.event("trade.exited", data, at=datetime.now(UTC) + timedelta(minutes=minutes))
    assert is_problem(send(event), 401, "bad_signature")
    assert EngineEvent.objects.count() == 0


def test_the_other_engines_secret_and_a_changed_body_are_refused(
    engine_a: EngineServer, engine_b: EngineServer
) -> None:
    data = EXIT | {"experiment_id": str(make_experiment().pk)}
    assert is_problem(send(engine_b.event("trade.exited", data), engine="A"), 401, "bad_signature")
    changed = engine_a.event("trade.exited", data)
    assert isinstance(changed.data, bytes)
    changed.data = changed.data.replace(b"5.10", b"9.10")
    assert is_problem(send(changed), 401, "bad_signature")
    assert EngineEvent.objects.count() == 0


def test_both_secrets_are_accepted_while_one_is_rotated_and_none_when_there_is_none(
    engine_a: EngineServer, settings: Settings
) -> None:
    event = engine_a.event("trade.exited", EXIT | {"experiment_id": str(make_experiment().pk)})
    rotating = engine_a.settings(secrets=(SECRETS["B"], engine_a.secret))
    settings.ENGINES = settings.ENGINES | {"A": rotating}
    assert send(event).status_code == 202
    settings.ENGINES = settings.ENGINES | {"A": engine_a.settings(secrets=())}
    assert is_problem(send(event), 401, "bad_signature")


# Garbage


GARBAGE = [
    b"",
    b"hello",
    b"null",
    b"[]",
    b'"trade.exited"',
    b"{}",
    b'{"type": "trade.exited"}',
    b'{"type": "trade.exited", "data": []}',
    b'{"type": "trade.exited", "data": null}',
    b'{"type": "trade.entered", "data": {}}',
    b'{"type": ["trade.exited"], "data": {}}',
    b'{"type": {"a": 1}, "data": {}}',
    b'{"type": null, "data": {}}',
    b'{"type": "trade.exited", "type": "trade.exited", "data": {}}',
    b'{"type": "trade.exited", "data": {"exit_price": NaN}}',
    b'{"type": "trade.exited", "data": {"exit_price": -Infinity}}',
    b'{"type": "trade.exited", "data": {"exit_price": 1e999}}',
    b'{"type": "trade.exited", "data": {"reason": "\\u0000"}}',
    b'{"type": "trade.exited", "data": {"\\u0000": 1}}',
    b'{"type": "trade.exited", "data": {"reason": "\\ud800"}}',
    b'{"type": "trade.exited", "data": ' + b'{"a":' * 40 + b"1" + b"}" * 40 + b"}",
    b"[" * 100_000,
    b'{"type": "trade.exited", "data": {}',
    b'{"type": "trade.exited", "data": {"n": ' + b"9" * 5000 + b"}}",
]


@pytest.mark.parametrize("body", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_refused_in_a_sentence_and_not_stored(body: bytes) -> None:
    assert is_problem(send_raw(body), 400, "unreadable")
    assert EngineEvent.objects.count() == 0


@pytest.mark.parametrize("body", [b"\xff\xfe", b'{"type": "\x80"}'])
def test_bytes_that_are_no_text_cannot_have_been_signed(body: bytes) -> None:
    assert is_problem(send_raw(body), 401, "bad_signature")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    ),
    st.sampled_from(["execution.filled", "execution.rejected", "trade.exited", "recommendation.completed"]),
)
def test_no_body_is_answered_with_a_crash_and_none_holds_up_the_inbox(data: Any, kind: str) -> None:
    body = json.dumps({"type": kind, "data": data}).encode()
    response = send_raw(body, message_id=f"msg_{uuid4()}")
    assert response.status_code in {400, 404}
    apply_everything()
    assert not EngineEvent.objects.filter(verdict=None).exists()


KNOWN_BUT_SENSELESS: list[tuple[str, dict[str, Any]]] = [
    ("execution.filled", {}),
    ("execution.filled", {"trade": None}),
    ("execution.filled", {"trade": FILL | {"entry_price": "NaN"}}),
    ("execution.filled", {"trade": FILL | {"quantity": "-2"}}),
    ("execution.filled", {"trade": FILL | {"entry_time": "today"}}),
    ("trade.exited", {}),
    ("trade.exited", EXIT | {"exit_price": "NaN"}),
    ("trade.exited", EXIT | {"exit_price": "-1"}),
    ("trade.exited", EXIT | {"exit_time": "2126-03-02T15:00:00Z"}),
    ("trade.exited", EXIT | {"trade": {}}),
    ("trade.exited", EXIT | {"market_conditions": "calm"}),
    ("recommendation.completed", {"input_hash": "0" * 64, "recommendation": None, "reason": "no"}),
    ("recommendation.completed", {"recommendation": {"action": "OPEN"}}),
]


@pytest.mark.parametrize(("kind", "data"), KNOWN_BUT_SENSELESS)
def test_a_fact_that_makes_no_sense_is_kept_with_an_incident_or_the_calls_reason(
    engine_a: EngineServer, kind: str, data: dict[str, Any]
) -> None:
    permit = granted(engine="A", state="ARMED")
    # an answer is one to an experiment that still waits for it
    experiment = experiment_of() if kind == "recommendation.completed" else permit.experiment
    about = {"permit_id": str(permit.pk)} if kind.startswith("execution") else {"experiment_id": str(experiment.pk)}
    assert send(engine_a.event(kind, data | about)).status_code == 202
    apply_everything()
    event = EngineEvent.objects.get()
    assert event.verdict == "CONFLICT"
    assert event.detail
    if kind != "recommendation.completed":
        assert Incident.objects.unresolved().get().kind == "CONFLICTING_EVENT"
    permit.refresh_from_db()
    assert permit.state == "ARMED"


def test_an_event_that_is_too_large_is_refused(engine_a: EngineServer) -> None:
    event = engine_a.event("trade.exited", {"experiment_id": str(uuid4()), "padding": "x" * MAX_EVENT_BYTES})
    assert is_problem(send(event), 413, "too_large")
    assert EngineEvent.objects.count() == 0


@pytest.mark.parametrize("message_id", ["x" * 201, "msg\u00a0\u200b"])
def test_a_message_id_that_cannot_be_kept_is_refused(message_id: str) -> None:
    assert is_problem(send_raw(b'{"type": "trade.exited", "data": {}}', message_id=message_id), 400, "bad_message_id")


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_only_posts_are_taken(method: str) -> None:
    response = getattr(Client(), method)(PATH.format("A"))
    assert response.status_code == 405
    assert "POST" in response["allow"]


@pytest.mark.parametrize("engine", ["C", "a", "AB", ""])
def test_there_are_two_engines(engine: str) -> None:
    assert Client().post(PATH.format(engine)).status_code == 404


def test_a_database_that_cannot_take_it_is_told_so_that_the_engine_sends_it_again(engine_a: EngineServer) -> None:
    event = engine_a.event("trade.exited", EXIT | {"experiment_id": str(make_experiment().pk)})
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE engine_events ADD CONSTRAINT out_of_order CHECK (message_id = '')")
    assert is_problem(send(event), 503, "unavailable")
