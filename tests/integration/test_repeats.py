"""Asking the engines again: with the stored bytes, without trading, and only to learn how often each agrees with itself."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client, override_settings

from orchestrator.asking_again import BY_EVENT, repeat_questions
from orchestrator.domain.agreement import Agreement
from orchestrator.domain.vocabulary import Engine
from orchestrator.models import ExecutionPermit, Incident, MarketContext, Recommendation, RepeatedQuestion
from orchestrator.repeats import self_agreement
from tests.engine_server import EXECUTE, RECOMMEND, RECOMMENDATION, TERMS, Behaviour
from tests.factories import make_signal
from tests.working import Engines, work_once

pytestmark = pytest.mark.django_db(transaction=True)


def processed(count: int = 3) -> None:
    """Let a worker take ``count`` signals to both engines; engine A trades."""
    for number in range(count):
        make_signal(payload={"close": 580 + number})
    work_once()


def told(*arguments: str) -> str:
    out = StringIO()
    call_command("replay_experiments", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.requirement("6.4")
def test_the_stored_bytes_are_sent_again_and_nothing_is_traded(engines: Engines) -> None:
    processed()
    orders = len(engines["A"].requests_of(EXECUTE))
    first = {name: len(engine.requests_of(RECOMMEND)) for name, engine in engines.items()}
    engines["B"].will(RECOMMEND, Behaviour(passes="changed its mind"), Behaviour(recommendation={"quantity": "9"}))
    output = told("--engines")
    stored = {str(one.signal.experiment_id): one.engine_input for one in MarketContext.objects.select_related("signal")}
    for name, engine in engines.items():
        again = engine.requests_of(RECOMMEND)[first[name] :]
        assert {request.key: request.body.decode() for request in again} == stored
    assert len(engines["A"].requests_of(EXECUTE)) == orders
    assert not engines["B"].requests_of(EXECUTE)
    assert ExecutionPermit.objects.count() == 3
    assert Recommendation.objects.count() == 6
    assert not Incident.objects.exists()
    assert self_agreement() == {
        Engine.A: {Agreement.SAME_TEXT: 3},
        Engine.B: {Agreement.SAME_TEXT: 1, Agreement.SAME_TRADE: 1, Agreement.OTHER_ACTION: 1},
    }
    assert "engine A: asked again 3 times, 3 answers" in output
    assert "decided otherwise in 33.3%" in output
    assert "3 experiments, 0 differences" in output


def test_an_engine_that_answers_later_is_asked_until_it_has(engines: Engines) -> None:
    processed(1)
    engines["A"].will(RECOMMEND, Behaviour(status=202))
    [found] = repeat_questions([Engine.A])
    assert found.levels == {Agreement.SAME_TEXT: 1}
    assert len(engines["A"].requests_of(RECOMMENDATION)) == 1


def test_an_answer_by_event_is_taken_for_the_repeated_one(engines: Engines, client: Client) -> None:
    processed(1)
    engine = engines["B"]
    engine.will(RECOMMEND, Behaviour(status=202))
    engine.will(RECOMMENDATION, Behaviour(status=404))
    with override_settings(ENGINES={"A": engines["A"].settings(), "B": engine.settings(timeout_seconds=0.3)}):
        [found] = repeat_questions([Engine.B])
    assert found.unanswered == {BY_EVENT: 1}
    recorded = Recommendation.objects.get(engine="B")
    answer = {
        "experiment_id": str(recorded.experiment_id),
        "input_hash": recorded.call.input_hash,
        "recommendation": {**TERMS, "side": "SELL"},
        "reason": "thought again",
    }
    event = engine.event("recommendation.completed", answer)
    headers = {name: value for name, value in event.header_items() if name.startswith("Webhook")}
    posted = client.post("/api/v1/engines/B/events/", data=event.data, content_type="application/json", headers=headers)
    assert posted.status_code == 202
    work_once()
    row = RepeatedQuestion.objects.get()
    assert (row.agreement, row.latency) == (Agreement.SAME_ACTION, None)
    assert not Incident.objects.exists()
    assert Recommendation.objects.get(engine="B").raw == recorded.raw


def test_what_cannot_be_compared_is_counted_with_its_reason(engines: Engines) -> None:
    processed(2)
    engines["A"].will(RECOMMEND, Behaviour(status=500), Behaviour(alters_its_copy=True))
    [found] = repeat_questions([Engine.A])
    assert found.answered == 0
    assert "status 500" in found.unanswered
    assert any("hash" in reason for reason in found.unanswered)


def test_new_keys_are_used_only_when_asked_for(engines: Engines) -> None:
    processed(1)
    repeat_questions([Engine.A], under_new_keys=True)
    first, again = engines["A"].requests_of(RECOMMEND)
    assert first.body == again.body
    assert first.key != again.key


def test_a_limit_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(CommandError, match="--limit is 0"):
        told("--engines", "--limit", "0")
