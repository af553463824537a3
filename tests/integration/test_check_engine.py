"""check_engine against real servers: an engine that keeps the contract, and one for each way of breaking it."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from config.environment import EngineSettings
from tests.engine_server import EXECUTE, EXECUTION, HEALTH, RECOMMEND, RECOMMENDATION, Behaviour, EngineServer

ABLE = {"idempotent": True, "queryable": True, "honours_not_after": True}
HASH, WORDS, AGAIN = (
    "the input's hash is echoed",
    "OPEN and PASS can be read",
    "the same question gets the same answer",
)
SIGNED, SEEN = "wrong signatures are refused", "a permit never seen is not found"
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
        for result in ("held", "REFUTED", "not checked"):
            name, separator, _ = line.partition(f"  {result} ")
            if separator and name.strip():
                found[name.strip()] = result
    return found, sentence


def test_an_engine_that_keeps_the_contract_is_not_refuted(engine_a: EngineServer) -> None:
    engine_a.will(RECOMMEND, Behaviour(), Behaviour(), Behaviour(passes="no setup"))
    found, sentence = check(engine_a.settings(**ABLE))
    assert sentence == ""
    assert found == dict.fromkeys(["GET /health", AGAIN, HASH, WORDS, SIGNED, SEEN, LATE, TWICE, QUERY], "held")
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


def test_a_second_different_answer_is_refuted(engine_a: EngineServer) -> None:
    engine_a.will(RECOMMEND, Behaviour(), Behaviour(recommendation={"quantity": "3"}))
    found, sentence = check(engine_a.settings())
    assert found[AGAIN] == "REFUTED"
    assert AGAIN in sentence


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
    assert found == {"GET /health": "REFUTED"}
    assert sentence == "Engine A is refuted: GET /health."


def test_without_an_address_or_with_real_money_nothing_is_sent(engine_a: EngineServer) -> None:
    assert "ENGINE_A_URL is not set" in check(engine_a.settings(url=""))[1]
    with override_settings(APP_MODE="LIVE"):
        assert "APP_MODE=PAPER only" in check(engine_a.settings())[1]
    assert not engine_a.requests
