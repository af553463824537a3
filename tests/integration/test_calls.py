"""Engine calls: what is sent, and what becomes of a call by what comes back."""

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from orchestrator.calls import fail_overdue_calls, record_call_answers, requests_for
from orchestrator.dispatch import Answered
from orchestrator.domain.vocabulary import Engine
from orchestrator.engines.protocol import NoAnswer, NotSent, Operation, Reply, UnusableAnswer
from orchestrator.models import EngineCall, EngineEvent, Experiment, Incident, MarketContext, Recommendation
from orchestrator.queue import claim_calls, database_clock
from orchestrator.recommendations import Received, record_recommendations
from tests.conftest import LogLines
from tests.engine_server import TERMS
from tests.factories import make_event, make_experiment, make_shadow_trade

pytestmark = pytest.mark.django_db


def asked(*, age: float = 1, **fields: Any) -> Experiment:
    return make_experiment(at=database_clock() - timedelta(seconds=age), **fields)


def claim(engine: str = "A", *, limit: int = 100) -> list[EngineCall]:
    return claim_calls(Engine(engine), limit=limit, lease="worker", lease_seconds=30)


def come_back(
    call: EngineCall, outcome: Reply | NotSent | NoAnswer, *, age: float = 0, latency: float = 0.25
) -> EngineCall:
    """Record what came back for a claimed call ``age`` seconds ago, and return the call as it is then."""
    [made] = requests_for([call])
    record_call_answers([Answered(made, Engine(call.engine), outcome, time.monotonic() - age, latency)])
    return EngineCall.objects.get(pk=call.pk)


def answer(experiment: Experiment, **changes: Any) -> Reply:
    context = MarketContext.objects.get(signal=experiment.signal_id)
    whole = {
        "experiment_id": str(experiment.pk),
        "input_hash": context.context_hash,
        "recommendation": TERMS,
        "reason": "",
    }
    return Reply(200, json.dumps(whole | changes).encode())


def make_due(call: EngineCall) -> None:
    EngineCall.objects.filter(pk=call.pk).update(next_attempt_at=database_clock())


def wait_of(call: EngineCall) -> float:
    return (call.next_attempt_at - database_clock()).total_seconds()


def told(experiment: Experiment, *kinds: str) -> list[EngineCall]:
    make_shadow_trade(experiment, "B")
    now = database_clock()
    return [
        EngineCall.objects.create(
            experiment=experiment,
            engine="B",
            kind=kind,
            request='{"exact":1.50}',
            next_attempt_at=now,
            deadline_at=now + timedelta(minutes=5),
        )
        for kind in kinds
    ]


# What is sent


@pytest.mark.requirement("1.3", "9.1", "9.2", "9.3", "property-3")
def test_both_engines_are_sent_the_stored_text_under_the_same_key() -> None:
    experiments = [asked() for _ in range(3)]
    inputs = {one.pk: MarketContext.objects.get(signal=one.signal_id).engine_input for one in experiments}
    for engine in "AB":
        for made in requests_for(claim(engine)):
            assert made.request.operation is Operation.RECOMMEND
            assert made.request.key == made.call.experiment_id
            assert made.request.body == inputs[made.call.experiment_id]
            assert made.signal_id == str(Experiment.objects.get(pk=made.call.experiment_id).signal_id)


def test_an_accepted_call_is_asked_about_and_shadow_trades_are_told_under_their_own_id() -> None:
    experiment = asked(execution_mode="SHADOW_ONLY")
    [call] = claim("A")
    come_back(call, Reply(202, b""))
    make_due(call)
    [asking] = requests_for(claim("A"))
    assert (asking.request.operation, asking.request.key, asking.request.body) == (
        Operation.RECOMMENDATION,
        experiment.pk,
        "",
    )
    opening, closing = told(experiment, "SHADOW_TRADE", "SHADOW_EXIT")
    first, second = requests_for([opening, closing])
    trade_id = experiment.shadow_trades.get().pk
    assert (first.request.operation, first.request.key) == (Operation.OPEN_SHADOW_TRADE, trade_id)
    assert (second.request.operation, second.request.key) == (Operation.CLOSE_SHADOW_TRADE, trade_id)
    assert first.request.body == second.request.body == '{"exact":1.50}'


def test_what_to_send_is_read_with_the_same_number_of_queries_whatever_the_batch() -> None:
    counts = []
    for size in (1, 20):
        for _ in range(size):
            asked()
        calls = claim("A")
        with CaptureQueriesContext(connection) as captured:
            assert len(requests_for(calls)) == size
        counts.append(len(captured))
    assert counts[0] == counts[1]


# What comes back from a request for a recommendation


@pytest.mark.parametrize(
    "outcome",
    [
        Reply(500, b"oops"),
        Reply(502, b""),
        Reply(503, b"\x00\xff"),
        Reply(599, b""),
        NoAnswer("no whole answer within 30 s"),
        NoAnswer("ReadError: reset \x00 \ud800"),
        NotSent("no connection"),
    ],
)
def test_what_may_pass_is_tried_again_after_a_growing_pause(outcome: Any, log_lines: LogLines) -> None:
    experiment = asked()
    waits = []
    for attempt in (1, 2, 3):
        [call] = claim("A")
        back = come_back(call, outcome)
        assert (back.state, back.attempts, back.lease, back.lease_expires_at) == ("PENDING", attempt, "", None)
        assert back.error
        waits.append(wait_of(back))
        assert claim("A") == []
        make_due(back)
    assert 0.2 < waits[0] <= 0.5 < waits[1] <= 1 < waits[2] <= 2
    failed = log_lines.of("engine.failed")
    assert len(failed) == 3
    assert {line["signal_id"] for line in failed} == {str(experiment.signal_id)}
    assert {line["experiment_id"] for line in failed} == {str(experiment.pk)}
    assert {(line["engine"], line["kind"]) for line in failed} == {("A", "RECOMMENDATION")}
    assert all(line["error_type"] and line["error_message"] and line["stack"] for line in failed)


@pytest.mark.parametrize(
    "status", [201, 204, 301, 302, 307, 400, 401, 403, 404, 405, 409, 408, 413, 418, 422, 425, 429]
)
def test_every_other_answer_ends_the_call_with_the_reason(status: int) -> None:
    asked()
    [call] = claim("A")
    back = come_back(call, Reply(status, b"because \x00 \xff"))
    assert (back.state, back.lease) == ("FAILED", "")
    assert f"status {status}: because" in back.error
    assert claim("A") == []
    assert EngineCall.objects.get(engine="B").state == "PENDING"
    assert Recommendation.objects.count() == 0


def test_an_answer_that_is_too_long_ends_the_call() -> None:
    asked()
    [call] = claim("A")
    assert come_back(call, UnusableAnswer("the answer is longer than 1048576 bytes")).state == "FAILED"


def test_an_answer_is_recorded_at_the_time_it_came_by_the_clock_of_the_database() -> None:
    experiment = asked(age=10)
    [call] = claim("A")
    back = come_back(call, answer(experiment), age=4, latency=2.5)
    recommendation = Recommendation.objects.get()
    ago = (database_clock() - recommendation.received_at).total_seconds()
    assert 4 <= ago < 5
    assert (back.state, back.latency, back.answered_at) == ("ANSWERED", 2.5, recommendation.received_at)


def test_an_accepted_call_waits_for_its_event_and_asks_until_it_is_answered() -> None:
    experiment = asked()
    [call] = claim("A")
    accepted = come_back(call, Reply(202, b'{"status":"ACCEPTED"}'))
    assert (accepted.state, accepted.error) == ("ACCEPTED", "")
    assert 1.5 < wait_of(accepted) <= 2
    for outcome in (
        Reply(202, b""),
        Reply(404, b""),
        Reply(405, b""),
        Reply(503, b""),
        NoAnswer("reset"),
        NotSent("x"),
    ):
        make_due(call)
        [asking] = claim("A")
        assert come_back(asking, outcome).state == "ACCEPTED"
    make_due(call)
    [asking] = claim("A")
    assert come_back(asking, answer(experiment)).state == "ANSWERED"
    assert Recommendation.objects.get().engine == "A"


def test_an_event_ends_an_accepted_call_and_what_the_question_brings_changes_nothing() -> None:
    experiment = asked()
    [call] = claim("A")
    come_back(call, Reply(202, b""))
    make_due(call)
    [asking] = claim("A")
    body = answer(experiment).body
    record_recommendations([Received(experiment.pk, Engine.A, body, database_clock())])
    for outcome in (Reply(202, b""), Reply(500, b""), Reply(404, b""), NoAnswer("x"), answer(experiment)):
        assert come_back(asking, outcome).state == "ANSWERED"
    assert Recommendation.objects.count() == 1
    assert Incident.objects.count() == 0


def test_a_worker_that_lost_its_lease_changes_nothing_but_its_answer_is_a_fact() -> None:
    experiment = asked()
    [paused] = claim("A")
    EngineCall.objects.filter(pk=paused.pk).update(lease_expires_at=database_clock(), next_attempt_at=database_clock())
    [current] = claim("A")
    for outcome in (Reply(500, b""), Reply(400, b""), Reply(202, b""), NoAnswer("x")):
        back = come_back(paused, outcome)
        assert (back.state, back.fence, back.lease) == ("SENT", current.fence, "worker")
    assert come_back(paused, answer(experiment)).state == "ANSWERED"
    assert come_back(current, Reply(500, b"")).state == "ANSWERED"


def test_the_deadline_ends_a_call_and_what_waited_for_it_is_looked_at_again(log_lines: LogLines) -> None:
    experiment = asked(age=301)
    waiting = make_event("B", experiment=experiment, verdict="WAITING")
    assert fail_overdue_calls() == 2
    for call in EngineCall.objects.all():
        assert (call.state, call.error) == ("FAILED", "no answer before the deadline")
    assert EngineEvent.objects.get(pk=waiting.pk).verdict is None
    assert fail_overdue_calls() == 0
    assert {line["engine"] for line in log_lines.of("engine.failed")} == {"A", "B"}


def test_the_deadline_tells_what_the_last_failure_was() -> None:
    with override_settings(RECOMMENDATION_DEADLINE_SECONDS=300):
        asked(age=299.7)
    [call] = claim("A")
    come_back(call, Reply(503, b"warming up"))
    connection.cursor().execute("SELECT pg_sleep(0.4)")
    fail_overdue_calls()
    assert EngineCall.objects.get(pk=call.pk).error == "no answer before the deadline; last: status 503: warming up"


def test_one_engine_failing_never_touches_the_side_of_the_other() -> None:
    experiment = asked()
    [of_a], [of_b] = claim("A"), claim("B")
    made = requests_for([of_a, of_b])
    record_call_answers(
        [
            Answered(made[0], Engine.A, Reply(200, b"garbage"), time.monotonic(), 0.1),
            Answered(made[1], Engine.B, answer(experiment), time.monotonic(), 0.1),
        ]
    )
    states = dict(EngineCall.objects.filter(kind="RECOMMENDATION").values_list("engine", "state"))
    assert states == {"A": "FAILED", "B": "ANSWERED"}
    assert list(Recommendation.objects.values_list("engine", flat=True)) == ["B"]


@pytest.fixture
def refusing_database(db: None) -> None:
    """Let the database refuse recommendations of one word, until the test's transaction is rolled back."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE recommendations ADD CONSTRAINT no_cursed_ones CHECK (raw NOT LIKE '%cursed%')")


@pytest.mark.requirement("11.5", "property-31")
def test_an_answer_that_cannot_be_stored_is_an_incident_and_holds_up_no_other(
    refusing_database: None, log_lines: LogLines
) -> None:
    experiments = [asked() for _ in range(3)]
    made = {one.call.experiment_id: one for one in requests_for(claim("A"))}
    answers = [answer(one, reason="cursed" if place == 1 else "fine") for place, one in enumerate(experiments)]
    record_call_answers(
        [
            Answered(made[experiment.pk], Engine.A, reply, time.monotonic(), 0.1)
            for experiment, reply in zip(experiments, answers, strict=True)
        ]
    )
    states = [EngineCall.objects.get(experiment=one, engine="A", kind="RECOMMENDATION").state for one in experiments]
    assert states == ["ANSWERED", "FAILED", "ANSWERED"]
    incident = Incident.objects.get()
    assert (incident.kind, incident.experiment_id) == ("POISON_WORK", experiments[1].pk)
    assert "cursed" in incident.detail["answer"]
    [line] = log_lines.of("answer.failed")
    assert (line["signal_id"], line["experiment_id"]) == (str(experiments[1].signal_id), str(experiments[1].pk))
    assert line["error_type"] == "IntegrityError"
    assert "Traceback" in line["stack"]


# What comes back when an engine is told of its shadow trade


@pytest.mark.parametrize(
    ("outcome", "state", "response", "error"),
    [
        (Reply(200, b'{"exit_price":"5.10"}'), "ANSWERED", '{"exit_price":"5.10"}', ""),
        (Reply(201, b""), "ANSWERED", "", ""),
        (Reply(204, b"\x00"), "ANSWERED", "\N{REPLACEMENT CHARACTER}", ""),
        (Reply(404, b""), "FAILED", "", "not offered: status 404"),
        (Reply(501, b""), "FAILED", "", "not offered: status 501"),
        (Reply(400, b"why"), "FAILED", "", "status 400: why"),
        (Reply(302, b""), "FAILED", "", "status 302: "),
        (Reply(500, b"x"), "PENDING", "", "status 500: x"),
        (Reply(429, b"x"), "FAILED", "", "status 429: x"),
        (NoAnswer("reset"), "PENDING", "", "reset"),
        (NotSent("refused"), "PENDING", "", "refused"),
    ],
)
@pytest.mark.parametrize("kind", ["SHADOW_TRADE", "SHADOW_EXIT"])
def test_telling_an_engine_is_answered_refused_or_tried_again(
    kind: str, outcome: Any, state: str, response: str, error: str
) -> None:
    experiment = asked()
    EngineCall.objects.update(state="FAILED")
    told(experiment, kind)
    [call] = claim("B")
    back = come_back(call, outcome)
    assert (back.state, back.response, back.error) == (state, response, error)
    assert Incident.objects.count() == 0
