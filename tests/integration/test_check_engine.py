"""check_engine against real servers: an engine that keeps the contract, and one for each way of breaking it."""

import base64
import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test import Client, override_settings

from config.environment import EngineSettings
from orchestrator.domain.vocabulary import Capability, Engine
from orchestrator.engines.protocol import Reply
from orchestrator.events import apply_events, read_event, store_event
from orchestrator.experiments import create_experiments
from orchestrator.health import record_health
from orchestrator.models import EngineEvent, EngineHealth, EngineProof, EngineTrial, ExecutionPolicy, Incident
from orchestrator.proofs import what_is_unproved
from orchestrator.queue import claim_signals, database_clock
from orchestrator.revisions import current_revision
from tests.engine_server import EXECUTE, EXECUTION, HEALTH, RECOMMEND, RECOMMENDATION, Behaviour, EngineServer, Recorded
from tests.factories import make_revision, make_signal

pytestmark = pytest.mark.django_db

OK = Reply(200, b'{"status":"ok"}')
ABLE = {"idempotent": True, "queryable": True, "honours_not_after": True}
HASH, WORDS, AGAIN = (
    "the input's hash is echoed",
    "OPEN and PASS can be read",
    "the same question gets the same answer",
)
SIGNED, SEEN = "wrong signatures are refused", "a permit never seen is not found"
IN_TIME, EVENTS = "answers come in time", "events are signed"
LATE, TWICE, QUERY = (
    "not_after is honoured",
    "a repeated execution gives one fill",
    "an execution can be asked about",
)


def check(settings: EngineSettings) -> tuple[dict[str, str], str]:
    """Run the command and return the result of each check with the sentence of its failure, empty when it passed."""
    printed, sentence = StringIO(), ""
    with override_settings(ENGINES={"A": settings, "B": settings}):
        try:
            call_command("check_engine", settings.name, stdout=printed)
        except CommandError as error:
            sentence = str(error)
    found = {}
    for line in printed.getvalue().splitlines():
        for result in ("held", "noted", "REFUTED", "not checked"):
            name, separator, _ = line.partition(f"  {result} ")
            if separator and name.strip():
                found[name.strip()] = result
    return found, sentence


def test_an_engine_that_keeps_the_contract_is_not_refuted(engine_a: EngineServer) -> None:
    engine_a.will(RECOMMEND, Behaviour(), Behaviour(), Behaviour(passes="no setup"))
    found, sentence = check(engine_a.settings(**ABLE))
    assert sentence == ""
    held = dict.fromkeys(["GET /health", AGAIN, HASH, IN_TIME, WORDS, SIGNED, SEEN, LATE, TWICE, QUERY], "held")
    assert found == held | {EVENTS: "not checked"}
    assert len(engine_a.executions) == 1
    assert all(request.json["app_mode"] == "PAPER" for request in engine_a.requests_of(EXECUTE))


@pytest.mark.parametrize(
    ("operation", "behaviour", "refuted"),
    [
        (HEALTH, Behaviour(status=503), "GET /health"),
        (HEALTH, Behaviour(reset=True), "GET /health"),
        (RECOMMEND, Behaviour(alters_its_copy=True), HASH),
        (RECOMMEND, Behaviour(recommendation={"quantity": "-1"}), WORDS),
        (RECOMMEND, Behaviour(body="not json"), WORDS),
        (RECOMMEND, Behaviour(status=422), "POST /recommendations"),
    ],
)
def test_what_breaks_the_contract_is_refuted(
    engine_a: EngineServer, operation: str, behaviour: Behaviour, refuted: str
) -> None:
    engine_a.always(operation, behaviour)
    found, sentence = check(engine_a.settings())
    assert found[refuted] == "REFUTED"
    assert sentence == f"Engine A is refuted: {refuted}."


def test_a_second_different_answer_is_noted_and_the_first_stands(engine_a: EngineServer) -> None:
    engine_a.will(RECOMMEND, Behaviour(), Behaviour(recommendation={"quantity": "3"}))
    found, sentence = check(engine_a.settings())
    assert (found[AGAIN], sentence) == ("noted", "")


def test_an_engine_that_takes_any_signature_is_refuted(engine_a: EngineServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.engine_server._Handler._is_signed", lambda *_: True)
    found, sentence = check(engine_a.settings())
    assert found[SIGNED] == "REFUTED"
    assert SIGNED in sentence


@pytest.mark.parametrize(
    ("lacks", "claim", "refuted"),
    [("idempotent", "IDEMPOTENT", TWICE), ("honours_not_after", "HONOURS_NOT_AFTER", LATE)],
)
def test_a_capability_that_is_claimed_and_missing_is_refuted_and_otherwise_told(
    lacks: str, claim: str, refuted: str
) -> None:
    missing: dict[str, Any] = {lacks: False}
    with EngineServer("B", **missing) as engine:
        found, sentence = check(engine.settings(**ABLE))
        assert found[refuted] == "REFUTED"
        assert refuted in sentence
        found, sentence = check(engine.settings(**(ABLE | {lacks: False})))
        assert found[refuted] == "not checked"
        assert sentence == ""


def test_an_engine_without_queries_is_refuted_only_when_it_claims_them(engine_a: EngineServer) -> None:
    engine_a.always(EXECUTION, Behaviour(status=501))
    found, _ = check(engine_a.settings())
    assert (found[SEEN], found[QUERY]) == ("not checked", "not checked")
    found, _ = check(engine_a.settings(queryable=True))
    assert (found[SEEN], found[QUERY]) == ("REFUTED", "REFUTED")


def test_an_engine_that_answers_later_is_asked_again(engine_a: EngineServer) -> None:
    engine_a.always(RECOMMEND, Behaviour(status=202))
    found, sentence = check(engine_a.settings(**ABLE))
    assert (found[HASH], sentence) == ("held", "")
    assert engine_a.requests_of(RECOMMENDATION)


def test_an_engine_that_answers_by_event_only_is_not_refuted(engine_a: EngineServer) -> None:
    engine_a.always(RECOMMEND, Behaviour(status=202))
    engine_a.always(RECOMMENDATION, Behaviour(status=404))
    found, sentence = check(engine_a.settings())
    assert (found[HASH], found[TWICE], sentence) == ("not checked", "not checked", "")


def test_an_engine_that_is_not_there_is_refuted_in_a_sentence(engine_a: EngineServer) -> None:
    settings = engine_a.settings()
    engine_a.close()
    found, sentence = check(settings)
    assert found == {"GET /health": "REFUTED", EVENTS: "not checked"}
    assert sentence == "Engine A is refuted: GET /health."


def test_without_an_address_nothing_is_sent(engine_a: EngineServer) -> None:
    assert "ENGINE_A_URL is not set" in check(engine_a.settings(url=""))[1]
    assert not engine_a.requests


@pytest.mark.parametrize("mode", ["", "LIVE", "paper"])
def test_with_real_money_an_engine_that_does_not_say_that_it_is_in_paper_mode_is_sent_nothing(
    engine_a: EngineServer, mode: str
) -> None:
    engine_a.always(HEALTH, Behaviour(changes={"app_mode": mode} if mode else {}))
    with override_settings(APP_MODE="LIVE"):
        found, sentence = check(engine_a.settings(**ABLE))
    assert found["GET /health"] == "REFUTED"
    assert sentence == "Engine A is refuted: GET /health."
    assert {request.operation for request in engine_a.requests} == {HEALTH}


def test_with_real_money_an_engine_in_paper_mode_is_checked_with_paper_orders(engine_a: EngineServer) -> None:
    engine_a.always(HEALTH, Behaviour(changes={"app_mode": "PAPER"}))
    with override_settings(APP_MODE="LIVE"):
        found, sentence = check(engine_a.settings(**ABLE))
    assert (found[TWICE], sentence) == ("held", "")
    assert {request.json["app_mode"] for request in engine_a.requests_of(EXECUTE)} == {"PAPER"}


def test_another_instance_of_the_engine_can_be_named(engine_a: EngineServer) -> None:
    with override_settings(ENGINES={"A": engine_a.settings(url="http://127.0.0.1:9"), "B": engine_a.settings(url="")}):
        call_command("check_engine", "A", f"--url={engine_a.url}", stdout=StringIO())
    assert len(engine_a.executions) == 1
    assert set(EngineProof.objects.values_list("engine", "address")) == {("A", engine_a.url)}


# What is kept


def verdicts() -> dict[str, bool | None]:
    """Return what was proved at the newest check."""
    return dict(EngineProof.objects.order_by("checked_at", "id").values_list("capability", "proved"))


def test_every_capability_is_kept_with_its_date_and_whether_it_was_claimed(engine_a: EngineServer) -> None:
    before = database_clock()
    check(engine_a.settings(**ABLE))
    assert verdicts() == dict.fromkeys((one.value for one in Capability), True) | {"SIGNS_EVENTS": None}
    claimed = set(EngineProof.objects.filter(claimed=True).values_list("capability", flat=True))
    assert claimed == {one.value for one in Capability}
    assert all(
        proof.detail and proof.checked_at >= before - timedelta(seconds=5) for proof in EngineProof.objects.all()
    )
    check(engine_a.settings())
    assert EngineProof.objects.count() == 2 * len(Capability)
    claimed = set(EngineProof.objects.order_by("-id")[: len(Capability)].values_list("capability", "claimed"))
    assert ("IDEMPOTENT", False) in claimed
    assert ("ECHOES_HASH", True) in claimed


@pytest.mark.parametrize(
    ("lacks", "capability"), [("idempotent", "IDEMPOTENT"), ("honours_not_after", "HONOURS_NOT_AFTER")]
)
def test_a_claim_that_does_not_hold_is_kept_as_refuted(lacks: str, capability: str) -> None:
    missing: dict[str, Any] = {lacks: False}
    with EngineServer("A", **missing) as engine:
        check(engine.settings(**ABLE))
    assert {name for name, proved in verdicts().items() if proved is False} == {capability}


def test_an_engine_that_is_late_is_kept_as_refuted(engine_a: EngineServer) -> None:
    engine_a.always(RECOMMEND, Behaviour(delay_seconds=1.5))
    found, _ = check(engine_a.settings(timeout_seconds=0.4))
    assert found[IN_TIME] == "REFUTED"
    assert verdicts()["ANSWERS_IN_TIME"] is False


def test_an_engine_that_refuses_late_orders_in_no_words_is_not_believed(engine_a: EngineServer) -> None:
    engine_a.will(EXECUTE, Behaviour(status=401), Behaviour(status=500))  # the impostor's, and the late one
    found, _ = check(engine_a.settings(honours_not_after=True))
    assert found[LATE] == "REFUTED"
    assert verdicts()["HONOURS_NOT_AFTER"] is False


def test_what_the_engine_reports_about_a_check_is_kept_and_is_no_trade_of_ours(engine_a: EngineServer) -> None:
    check(engine_a.settings(**ABLE))
    [permit_id] = engine_a.executions
    asked = engine_a.requests_of(RECOMMEND)[0].json["experiment_id"]
    trade = {"external_id": "x", "entry_price": "1", "entry_time": "2026-03-02T14:30:00Z", "quantity": "1", "fees": "0"}
    filled: dict[str, Any] = {"permit_id": permit_id, "trade": trade}
    for number, (kind, data) in enumerate(
        [
            ("execution.filled", filled),
            ("execution.filled", filled | {"experiment_id": asked}),
            ("recommendation.completed", {"experiment_id": asked}),
        ]
    ):
        stored = store_event(Engine.A, f"m{number}", read_event(json.dumps({"type": kind, "data": data}).encode()))
        assert stored.is_known
    apply_events()
    assert set(EngineEvent.objects.values_list("verdict", flat=True)) == {"UNMATCHED"}
    assert Incident.objects.count() == 0
    assert not current_revision().trading_halted
    assert EngineTrial.objects.filter(engine="A", id=permit_id).exists()
    # the other engine, or a permit that was never part of a check, cannot hide behind it
    store_event(Engine.B, "m", read_event(json.dumps({"type": "execution.filled", "data": filled}).encode()))
    assert Incident.objects.filter(kind="UNMATCHED_EVENT").count() == 1


class ReportingEngine(EngineServer):
    """Tells of every order that it gets by an event as well, through the inbox that a signed event ends in."""

    def answer(self, request: Recorded, behaviour: Behaviour) -> tuple[int, Any]:
        status, proper = super().answer(request, behaviour)
        if request.operation == EXECUTE and proper.get("trade"):
            event = json.dumps({"type": "execution.filled", "data": proper})
            try:
                assert store_event(
                    Engine(self.name), request.headers["webhook-id"], read_event(event.encode())
                ).is_known
            finally:
                connection.close()
        return status, proper


@pytest.mark.django_db(transaction=True)
def test_an_event_about_a_check_proves_that_events_are_signed() -> None:
    with ReportingEngine("A") as engine:
        found, sentence = check(engine.settings(**ABLE))
    assert (found[EVENTS], sentence) == ("held", "")
    assert verdicts()["SIGNS_EVENTS"] is True
    assert Incident.objects.count() == 0


class UnsignedEngine(EngineServer):
    """Tells of every order by an event that is signed with a secret of its own."""

    def answer(self, request: Recorded, behaviour: Behaviour) -> tuple[int, Any]:
        status, proper = super().answer(request, behaviour)
        if request.operation == EXECUTE and proper.get("trade"):
            own, other = self.secret, base64.b64encode(b"another secret than ours ...").decode()
            self.secret = f"whsec_{other}"
            event = self.event("execution.filled", proper)
            self.secret = own
            try:
                headers = {name.lower(): value for name, value in event.header_items()}
                answer = Client().post(
                    f"/api/v1/engines/{self.name}/events/", event.data, content_type="application/json", headers=headers
                )
                assert answer.status_code == 401
            finally:
                connection.close()
        return status, proper


@pytest.mark.django_db(transaction=True)
def test_an_event_about_a_check_with_a_wrong_signature_refutes_that_events_are_signed() -> None:
    with UnsignedEngine("A") as engine, override_settings(ENGINES={"A": engine.settings(**ABLE)}):
        found, sentence = check(engine.settings(**ABLE))
        assert found[EVENTS] == "REFUTED"
        assert EVENTS in sentence
        assert verdicts()["SIGNS_EVENTS"] is False
        assert "SIGNS_EVENTS was refuted" in what_is_unproved(Engine.A)
    assert not EngineEvent.objects.exists()


# Real money asks for proofs


@pytest.fixture
def live(engine_a: EngineServer) -> Any:
    engine_a.always(HEALTH, Behaviour(changes={"app_mode": "PAPER"}))
    with override_settings(APP_MODE="LIVE", ENGINES={"A": engine_a.settings(**ABLE), "B": engine_a.settings(url="")}):
        yield engine_a


def probe() -> EngineHealth:
    record_health(Engine.A, OK)
    return EngineHealth.objects.get(engine="A")


def test_an_engine_that_was_never_checked_is_unavailable_with_real_money(live: EngineServer) -> None:
    health = probe()
    assert not health.ok
    assert "IDEMPOTENT was never checked" in health.detail
    assert "Run manage.py check_engine A" in health.detail
    with override_settings(APP_MODE="PAPER"):
        assert probe().ok


def test_an_engine_that_claims_nothing_needs_no_check_unless_one_refuted_it(live: EngineServer) -> None:
    with override_settings(ENGINES={"A": live.settings(), "B": live.settings(url="")}):
        assert (probe().ok, probe().detail) == (True, "")
        live.always(HEALTH, Behaviour(changes={"app_mode": "PAPER"}))
        live.always(RECOMMEND, Behaviour(changes={"input_hash": "0" * 64}))
        with pytest.raises(CommandError):
            call_command("check_engine", "A", stdout=StringIO())
        assert "ECHOES_HASH was refuted" in probe().detail


def test_a_checked_engine_is_available_with_real_money_until_its_proofs_are_too_old(live: EngineServer) -> None:
    call_command("check_engine", "A", stdout=StringIO())
    assert (probe().ok, probe().detail) == (True, "")
    with override_settings(ENGINE_PROOF_MAX_AGE_DAYS=0):
        assert "is too old" in probe().detail
    assert probe().ok


def test_the_newest_check_counts(live: EngineServer) -> None:
    call_command("check_engine", "A", stdout=StringIO())
    live.always(EXECUTION, Behaviour(status=501))
    with pytest.raises(CommandError):
        call_command("check_engine", "A", stdout=StringIO())
    assert "QUERYABLE was refuted" in probe().detail
    with override_settings(ENGINES={"A": live.settings(idempotent=True), "B": live.settings(url="")}):
        assert "QUERYABLE" not in what_is_unproved(Engine.A)  # it is not claimed any more


def test_a_decision_sees_an_unproved_engine_as_unavailable_and_is_repeated_exactly(live: EngineServer) -> None:
    make_revision(execution_mode="ENGINE_A_PRIMARY", app_mode="LIVE")
    probe()
    make_signal()
    create_experiments(claim_signals(limit=1, lease_seconds=30))
    call_command("check_engine", "A", stdout=StringIO())
    probe()
    make_signal()
    create_experiments(claim_signals(limit=1, lease_seconds=30))
    before, after = ExecutionPolicy.objects.order_by("created_at", "pk")
    assert (before.execution_mode, before.reason_code) == ("SHADOW_ONLY", "ENGINE_A_UNAVAILABLE")
    assert (after.execution_mode, after.executed_engine) == ("ENGINE_A_PRIMARY", "A")
    assert before.inputs["availability"]["A"]["ok"] is False
    call_command("replay_experiments", stdout=StringIO())  # exits non-zero on a difference
