"""The execution protocol against real engines over HTTP: an order leaves at most once, and what is unknown is said to be so."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from pytest_django import Settings

from orchestrator.domain.vocabulary import Engine
from orchestrator.events import read_event, store_event
from orchestrator.experiments import create_experiments
from orchestrator.models import (
    ExecutionPermit,
    Experiment,
    Incident,
    RealTrade,
    Recommendation,
    ShadowTrade,
)
from orchestrator.permits import doubt_silent_permits, void_expired_permits
from orchestrator.queue import claim_signals
from orchestrator.revisions import record_revision
from outcomes.models import RealTradeOutcome
from tests.conftest import LogLines
from tests.engine_server import (
    EXECUTE,
    EXECUTION,
    OPEN_SHADOW_TRADE,
    RECOMMEND,
    Behaviour,
    EngineServer,
    Recorded,
)
from tests.factories import make_health, make_revision, make_signal
from tests.protocol_steps import SteppedWorker, a_worker, again, apply_everything, granted, lose_lease, make_due, now

pytestmark = pytest.mark.django_db(transaction=True)


def configure(settings: Settings, *engines: EngineServer, **abilities: Any) -> None:
    """Configure these engines, the other one as absent."""
    found = {engine.name: engine.settings(**({"timeout_seconds": 1.0} | abilities)) for engine in engines}
    for name in {"A", "B"} - set(found):
        absent = EngineServer(name)
        found[name] = absent.settings(url="")
        absent.close()
    settings.ENGINES = found


def incidents(permit: ExecutionPermit) -> list[str]:
    return sorted(Incident.objects.unresolved().filter(experiment=permit.experiment).values_list("kind", flat=True))


@pytest.fixture
def forgetful_a() -> Iterator[EngineServer]:
    """Engine A as one that does not deduplicate: every order that reaches it is placed."""
    with EngineServer("A", idempotent=False, honours_not_after=False) as engine:
        yield engine


@pytest.fixture
def worker(settings: Settings, forgetful_a: EngineServer) -> Iterator[SteppedWorker]:
    """A worker whose engine A can do nothing but execute."""
    configure(settings, forgetful_a)
    with a_worker() as one:
        yield one


# The order itself


class LookingEngine(EngineServer):
    """Looks into the database, on a connection of its own, at the moment when an order arrives."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.seen: list[tuple[str, int, str]] = []

    def note(self, request: Recorded) -> Behaviour:
        if request.operation == EXECUTE:
            permit = ExecutionPermit.objects.get(pk=request.key)
            self.seen.append((permit.state, permit.attempts, permit.lease))
            connection.close()
        return super().note(request)


@pytest.mark.requirement("10.2")
def test_armed_is_committed_before_the_order_leaves(settings: Settings) -> None:
    with LookingEngine("A") as engine:
        configure(settings, engine)
        permit = granted()
        with a_worker("worker 7") as worker:
            worker.execute()
    assert engine.seen == [("ARMED", 1, "worker 7")]
    assert again(permit).state == "EXECUTED"


@pytest.mark.requirement("3.2", "7.4", "7.5")
def test_the_order_is_the_engines_own_recommendation_to_the_letter_under_the_permits_key(
    worker: SteppedWorker, forgetful_a: EngineServer
) -> None:
    permit = granted()
    raw = '{"experiment_id":"%s","recommendation": {"action":"OPEN",  "quantity":2.50, "strange\\u00e9": [1e2]} }'
    with connection.cursor() as cursor:  # immutable: another text is written behind its trigger
        cursor.execute("ALTER TABLE recommendations DISABLE TRIGGER USER")
        cursor.execute("UPDATE recommendations SET raw = %s", [raw % permit.experiment_id])
        cursor.execute("ALTER TABLE recommendations ENABLE TRIGGER USER")
    worker.execute()
    [order] = forgetful_a.requests_of(EXECUTE)
    assert order.is_signed
    assert order.key == str(permit.pk)
    assert b'"recommendation":{"action":"OPEN",  "quantity":2.50, "strange\\u00e9": [1e2]}' in order.body
    assert {key: order.json[key] for key in ("permit_id", "experiment_id", "app_mode")} == {
        "permit_id": str(permit.pk),
        "experiment_id": str(permit.experiment_id),
        "app_mode": "PAPER",
    }
    assert order.json["not_after"] == permit.not_after.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.mark.requirement("3.2", "10.4")
def test_a_filled_order_is_the_one_authorised_trade(
    worker: SteppedWorker, forgetful_a: EngineServer, log_lines: LogLines
) -> None:
    permit = granted()
    worker.execute()
    assert worker.execute() == 0
    permit = again(permit)
    assert (permit.state, permit.resolved_by, permit.lease) == ("EXECUTED", "engine A", "")
    trade = RealTrade.objects.get()
    assert (trade.authorised, trade.permit_id, trade.engine, trade.status) == (True, permit.pk, "A", "OPEN")
    assert (str(trade.entry_price), str(trade.fees), str(trade.quantity)) == ("4.40000000", "1.30000000", "2.00000000")
    assert forgetful_a.executions == [str(permit.pk)]
    [armed] = log_lines.of("permit.armed")
    assert (armed["permit_id"], armed["signal_id"]) == (str(permit.pk), str(permit.experiment.signal_id))


def test_a_refused_order_is_not_executed_and_its_twin_is_told(worker: SteppedWorker, forgetful_a: EngineServer) -> None:
    permit = granted()
    answer = {"permit_id": str(permit.pk), "status": "REJECTED", "reason": "no margin"}
    forgetful_a.will(EXECUTE, Behaviour(body=json.dumps(answer)))
    worker.execute()
    assert (again(permit).state, again(permit).detail, incidents(permit)) == ("NOT_EXECUTED", "no margin", [])
    worker.call()
    [told] = forgetful_a.requests_of(OPEN_SHADOW_TRADE)
    twin = ShadowTrade.objects.get(experiment=permit.experiment, engine="A")
    assert (told.key, told.json["trade_id"]) == (str(twin.pk), str(twin.pk))


@pytest.mark.requirement("3.4")
def test_nothing_leaves_after_a_halt(worker: SteppedWorker, forgetful_a: EngineServer) -> None:
    permit = granted()
    record_revision({"TRADING_HALTED": True}, changed_by="operator")
    assert worker.execute() == 0
    assert again(permit).state == "GRANTED"
    assert forgetful_a.requests_of(EXECUTE) == []


def test_a_worker_that_was_held_up_since_arming_sends_nothing(
    worker: SteppedWorker, forgetful_a: EngineServer, settings: Settings
) -> None:
    settings.LEASE_SECONDS = -1.0  # the moment until which it may send has passed when it arms
    permit = granted()
    worker.execute()
    assert forgetful_a.requests_of(EXECUTE) == []
    assert again(permit).state == "GRANTED"
    assert "held up" in again(permit).detail


# What may have left is unknown, and is never sent again to an engine that does not deduplicate


UNKNOWN = {
    "no answer in time": Behaviour(delay_seconds=1.6),
    "a dripping answer": Behaviour(drip_seconds=0.05),
    "500 before the effect": Behaviour(status=500),
    "503 in words of refusal": Behaviour(status=503, body='{"status": "REJECTED", "reason": "busy"}'),
    "400": Behaviour(status=400),
    "a reset after the effect": Behaviour(reset=True),
    "a reset before the effect": Behaviour(reset_before_work=True),
    "the connection ends in the answer": Behaviour(cut=True),
    "not HTTP": Behaviour(not_http=True),
    "garbage": Behaviour(body="<html>it worked</html>"),
    "bytes that are no text": Behaviour(body="\udcff\udcfe"),
    "an empty answer": Behaviour(body=""),
    "NaN": Behaviour(changes={"trade": {"entry_price": float("nan")}}),
    "another permit's answer": Behaviour(changes={"permit_id": str(uuid4())}),
    "a fill without a trade": Behaviour(changes={"trade": None}),
    "a status that is none": Behaviour(changes={"status": "PARTIALLY"}),
    "a huge answer": Behaviour(body="[" + "1," * 600_000 + "1]"),
}


@pytest.mark.requirement("3.5", "10.4", "property-12")
@pytest.mark.parametrize("trouble", UNKNOWN)
def test_an_order_whose_effect_is_not_known_is_unknown_and_never_sent_again(
    worker: SteppedWorker, forgetful_a: EngineServer, trouble: str
) -> None:
    permit = granted()
    forgetful_a.will(EXECUTE, UNKNOWN[trouble])
    worker.execute()
    assert (again(permit).state, incidents(permit)) == ("UNKNOWN", ["UNKNOWN_EXECUTION"])
    for _ in range(3):
        make_due(permit)
        worker.execute()
        void_expired_permits()
        doubt_silent_permits()
    assert len(forgetful_a.requests_of(EXECUTE)) == 1
    assert len(forgetful_a.executions) <= 1
    assert again(permit).state == "UNKNOWN"
    assert RealTrade.objects.count() == 0


def test_a_redirect_is_not_followed(settings: Settings, forgetful_a: EngineServer, engine_b: EngineServer) -> None:
    configure(settings, forgetful_a, engine_b)
    for status in (301, 302, 307, 308):
        permit = granted()
        forgetful_a.will(EXECUTE, Behaviour(status=status, headers={"Location": f"{engine_b.url}/executions"}))
        with a_worker() as worker:
            worker.execute()
        assert again(permit).state == "UNKNOWN"
    assert engine_b.requests == []
    assert len(forgetful_a.requests_of(EXECUTE)) == 4


def test_a_fill_that_comes_by_event_settles_what_was_unknown(worker: SteppedWorker, forgetful_a: EngineServer) -> None:
    permit = granted()
    forgetful_a.will(EXECUTE, Behaviour(reset=True))
    worker.execute()
    placed = forgetful_a._placed[str(permit.pk)]
    event = {"type": "execution.filled", "data": {"permit_id": str(permit.pk), "trade": placed["trade"]}}
    store_event(Engine.A, "msg_1", read_event(json.dumps(event).encode()))
    apply_everything()
    assert (again(permit).state, incidents(permit)) == ("EXECUTED", [])
    assert RealTrade.objects.get().external_id == placed["trade"]["external_id"]


# A connection that was refused sent nothing


def test_an_engine_that_is_away_is_tried_again_and_executes_once_when_it_is_back(settings: Settings) -> None:
    away = EngineServer("A", idempotent=False)
    configure(settings, away)
    away.close()
    permit = granted()
    with a_worker() as worker:
        for attempt in (1, 2, 3):
            make_due(permit)
            worker.execute()
            assert (again(permit).state, again(permit).attempts, incidents(permit)) == ("GRANTED", attempt, [])
        with EngineServer("A", port=away.port, idempotent=False) as back:
            make_due(permit)
            worker.execute()
            assert back.executions == [str(permit.pk)]
    assert (again(permit).state, RealTrade.objects.count()) == ("EXECUTED", 1)


def test_an_engine_that_stays_away_leaves_a_void_permit(settings: Settings) -> None:
    away = EngineServer("A")
    configure(settings, away)
    away.close()
    permit = granted(seconds=0.3)
    with a_worker() as worker:
        worker.execute()
        assert again(permit).state == "GRANTED"
        time.sleep(0.4)
        make_due(permit)
        worker.execute()
    assert void_expired_permits() == 1
    assert (again(permit).state, incidents(permit)) == ("VOID", [])


def test_what_could_not_be_prepared_for_sending_was_not_sent(worker: SteppedWorker, forgetful_a: EngineServer) -> None:
    permit = granted()
    with connection.cursor() as cursor:  # the database is lost between arming and reading what to send
        cursor.execute("ALTER TABLE recommendations RENAME TO gone")
    try:
        with pytest.raises(Exception, match="recommendations"):
            worker.send()
        assert again(permit).state == "ARMED"
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE gone RENAME TO recommendations")
    worker.record()
    assert again(permit).state == "GRANTED"
    make_due(permit)
    worker.execute()
    assert (again(permit).state, forgetful_a.executions) == ("EXECUTED", [str(permit.pk)])


# An engine that deduplicates may be sent the same again, one that can be asked is asked


def test_an_idempotent_engine_is_sent_the_same_again_before_not_after(
    settings: Settings, engine_a: EngineServer
) -> None:
    configure(settings, engine_a, idempotent=True)
    permit = granted()
    engine_a.will(EXECUTE, Behaviour(reset=True), Behaviour(status=500), Behaviour(delay_seconds=1.3))
    with a_worker() as worker:
        for _ in range(4):
            make_due(permit)
            worker.execute()
    first, *others = engine_a.requests_of(EXECUTE)
    assert len(others) == 3
    assert {(one.key, one.body) for one in others} == {(first.key, first.body)}
    assert engine_a.executions == [str(permit.pk)]
    assert (again(permit).state, incidents(permit), RealTrade.objects.count()) == ("EXECUTED", [], 1)


def test_an_idempotent_engine_is_sent_nothing_after_not_after(settings: Settings, engine_a: EngineServer) -> None:
    configure(settings, engine_a, idempotent=True)
    permit = granted(seconds=0.5)
    engine_a.will(EXECUTE, Behaviour(reset=True))
    with a_worker() as worker:
        worker.execute()
        time.sleep(0.6)
        make_due(permit)
        assert worker.execute() == 0
    assert len(engine_a.requests_of(EXECUTE)) == 1
    assert (again(permit).state, incidents(permit)) == ("UNKNOWN", ["UNKNOWN_EXECUTION"])


def test_a_queryable_engine_is_asked_and_its_word_settles_the_permit(
    settings: Settings, forgetful_a: EngineServer
) -> None:
    configure(settings, forgetful_a, queryable=True)
    permit = granted()
    forgetful_a.will(EXECUTE, Behaviour(reset=True))
    forgetful_a.will(EXECUTION, Behaviour(status=500), Behaviour(status=202, body=""))
    with a_worker() as worker:
        worker.execute()
        for _ in range(3):
            assert again(permit).state == "UNKNOWN"
            make_due(permit)
            worker.execute()
    questions = forgetful_a.requests_of(EXECUTION)
    assert [(one.path, one.body) for one in questions] == [(f"/executions/{permit.pk}", b"")] * 3
    assert all(one.is_signed for one in questions)
    assert forgetful_a.executions == [str(permit.pk)]
    assert (again(permit).state, incidents(permit), RealTrade.objects.count()) == ("EXECUTED", [], 1)


def test_never_seen_is_believed_only_after_not_after_and_the_margin(settings: Settings, engine_a: EngineServer) -> None:
    settings.CLOCK_MARGIN_SECONDS = 0.3
    configure(settings, engine_a, queryable=True, honours_not_after=True)
    permit = granted(seconds=0.4)
    engine_a.will(EXECUTE, Behaviour(reset_before_work=True))
    with a_worker() as worker:
        worker.execute()
        make_due(permit)
        worker.execute()
        assert again(permit).state == "UNKNOWN"
        time.sleep(0.8)
        make_due(permit)
        worker.execute()
    assert (again(permit).state, incidents(permit)) == ("NOT_EXECUTED", [])
    assert len(engine_a.requests_of(EXECUTE)) == 1
    assert engine_a.executions == []


def test_an_exit_that_only_a_question_brings_is_applied(settings: Settings, forgetful_a: EngineServer) -> None:
    configure(settings, forgetful_a, queryable=True)
    permit = granted()
    forgetful_a.will(EXECUTE, Behaviour(reset=True))
    left = {"exit_price": "5.10", "exit_time": "", "exit_reason": "target", "fees": "1.30", "market_conditions": {}}
    with a_worker() as worker:
        worker.execute()
        left["exit_time"] = (now() + timedelta(seconds=5)).isoformat()
        forgetful_a.will(EXECUTION, Behaviour(changes={"exit": left}))
        make_due(permit)
        worker.execute()
    apply_everything()
    outcome = RealTradeOutcome.objects.get()
    assert (str(outcome.pnl), outcome.exit_reason) == ("137.40000000", "target")  # (5.10 - 4.40) * 2 * 100 - 2.60


# Accepted


@pytest.mark.parametrize("body", ["", "{}", '{"status": "ACCEPTED"}'])
def test_an_accepted_order_waits_for_its_event(worker: SteppedWorker, forgetful_a: EngineServer, body: str) -> None:
    permit = granted()
    forgetful_a.will(EXECUTE, Behaviour(status=202, body=body))
    worker.execute()
    make_due(permit)
    assert (again(permit).state, incidents(permit), worker.execute(), doubt_silent_permits()) == ("ARMED", [], 0, 0)
    placed = forgetful_a._placed[str(permit.pk)]
    event = {"type": "execution.filled", "data": {"permit_id": str(permit.pk), "trade": placed["trade"]}}
    store_event(Engine.A, "msg_1", read_event(json.dumps(event).encode()))
    apply_everything()
    assert (again(permit).state, RealTrade.objects.count()) == ("EXECUTED", 1)
    assert len(forgetful_a.requests_of(EXECUTE)) == 1


def test_an_accepted_order_can_be_refused_by_event(worker: SteppedWorker, forgetful_a: EngineServer) -> None:
    permit = granted()
    forgetful_a.will(EXECUTE, Behaviour(status=202))
    worker.execute()
    event = {"type": "execution.rejected", "data": {"permit_id": str(permit.pk), "reason": "no margin"}}
    store_event(Engine.A, "msg_1", read_event(json.dumps(event).encode()))
    apply_everything()
    assert (again(permit).state, again(permit).detail) == ("NOT_EXECUTED", "no margin")


def test_an_accepted_order_that_is_never_finished_is_unknown_after_not_after_and_the_margin(
    worker: SteppedWorker, forgetful_a: EngineServer, settings: Settings
) -> None:
    settings.CLOCK_MARGIN_SECONDS = 0.2
    permit = granted(seconds=0.4)
    forgetful_a.will(EXECUTE, Behaviour(status=202))
    worker.execute()
    assert doubt_silent_permits() == 0
    time.sleep(0.7)
    assert doubt_silent_permits() == 1
    assert (again(permit).state, incidents(permit)) == ("UNKNOWN", ["UNKNOWN_EXECUTION"])


# Two workers


@pytest.mark.requirement("10.4", "property-12")
def test_a_doubted_order_is_not_sent_by_the_other_worker_and_the_late_answer_counts(
    settings: Settings, forgetful_a: EngineServer
) -> None:
    configure(settings, forgetful_a)
    permit = granted()
    forgetful_a.will(EXECUTE, Behaviour(delay_seconds=0.6))
    with a_worker("worker 1") as first, a_worker("worker 2") as second:
        first.send()
        forgetful_a.wait_for(EXECUTE)
        lose_lease(permit)
        assert doubt_silent_permits() == 1
        make_due(permit)
        assert second.execute() == 0
        assert again(permit).state == "UNKNOWN"
        first.record()
    assert (again(permit).state, incidents(permit)) == ("EXECUTED", [])
    assert forgetful_a.executions == [str(permit.pk)]


@pytest.mark.requirement("3.5", "10.1", "10.4", "property-12")
def test_many_workers_place_each_order_once_with_an_engine_that_does_not_deduplicate(
    settings: Settings, forgetful_a: EngineServer
) -> None:
    configure(settings, forgetful_a, timeout_seconds=10.0)
    permits = {str(granted().pk) for _ in range(20)}
    start = threading.Barrier(4)

    def work(number: int) -> None:
        with a_worker(f"worker {number}") as worker:
            start.wait(10)
            for _ in range(4):
                worker.execute()
                void_expired_permits()
                doubt_silent_permits()
        connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert sorted(forgetful_a.executions) == sorted(permits)
    assert len(forgetful_a.requests_of(EXECUTE)) == 20
    assert set(ExecutionPermit.objects.values_list("state", flat=True)) == {"EXECUTED"}
    assert {str(pk) for pk in RealTrade.objects.values_list("permit_id", flat=True)} == permits


# The whole experiment


def distribute(*, mode: str, count: int = 1, **asked: Any) -> list[Experiment]:
    """Turn signals into experiments as the worker does."""
    make_revision(execution_mode=mode, **asked)
    for engine in Engine:
        make_health(engine)
    for _ in range(count):
        make_signal()
    return [made.experiment for made in create_experiments(claim_signals(limit=count, lease_seconds=30))]


@pytest.mark.requirement("3.2", "4.1", "4.4", "property-14", "property-16")
def test_the_shadow_side_goes_on_while_the_execution_is_unknown_and_no_permit_changes_sides(
    engines: dict[str, EngineServer],
) -> None:
    [experiment] = distribute(mode="ENGINE_A_PRIMARY")
    engines["A"].will(EXECUTE, Behaviour(reset=True))
    with a_worker() as worker:
        worker.call()
        worker.execute()
        worker.call()
        worker.execute()
    permit = ExecutionPermit.objects.get()
    assert (permit.engine, permit.state, incidents(permit)) == ("A", "UNKNOWN", ["UNKNOWN_EXECUTION"])
    shadow, twin = ShadowTrade.objects.filter(experiment=experiment).order_by("-engine")
    assert (shadow.engine, shadow.purpose, shadow.status) == ("B", "SHADOW", "OPEN")
    assert (twin.engine, twin.purpose, twin.status) == ("A", "TWIN", "OPEN")
    [told] = engines["B"].requests_of(OPEN_SHADOW_TRADE)
    assert (told.key, told.json["experiment_id"]) == (str(shadow.pk), str(experiment.pk))
    assert told.json["recommendation"] == json.loads(Recommendation.objects.get(engine="B").raw)["recommendation"]
    assert engines["A"].requests_of(OPEN_SHADOW_TRADE) == []
    assert engines["B"].requests_of(EXECUTE) == []


@pytest.mark.requirement("3.2", "3.5", "property-12")
@pytest.mark.parametrize("mode", ["ENGINE_A_PRIMARY", "ENGINE_B_PRIMARY", "SPLIT_CAPITAL", "AUTO"])
def test_one_engine_executes_each_experiment_and_the_other_one_follows(
    engines: dict[str, EngineServer], mode: str
) -> None:
    experiments = distribute(mode=mode, count=8)
    with a_worker() as worker:
        for _ in range(3):
            worker.call()
            worker.execute()
    expected: dict[str, list[str]] = {"A": [], "B": []}
    for experiment in experiments:
        executed = experiment.policy.executed_engine
        assert executed == {"ENGINE_B_PRIMARY": "B", "SPLIT_CAPITAL": experiment.variant}.get(mode, "A")
        expected[executed].append(str(ExecutionPermit.objects.get(experiment=experiment).pk))
        trades = ShadowTrade.objects.filter(experiment=experiment)
        assert {trade.engine: trade.purpose for trade in trades} == {
            executed: "TWIN",
            "B" if executed == "A" else "A": "SHADOW",
        }
    assert {name: sorted(engine.executions) for name, engine in engines.items()} == {
        name: sorted(found) for name, found in expected.items()
    }
    assert RealTrade.objects.filter(authorised=True).count() == 8


@pytest.mark.requirement("3.4", "4.1", "property-11", "property-14")
def test_under_shadow_only_nobody_is_sent_an_order_and_both_are_followed(engines: dict[str, EngineServer]) -> None:
    experiments = distribute(mode="SHADOW_ONLY", count=4)
    with a_worker() as worker:
        for _ in range(3):
            worker.call()
            worker.execute()
    for name, engine in engines.items():
        assert engine.requests_of(EXECUTE) == []
        assert len(engine.requests_of(OPEN_SHADOW_TRADE)) == 4
        followed = ShadowTrade.objects.filter(engine=name, purpose="SHADOW", status="OPEN")
        assert {trade.experiment_id for trade in followed} == {one.pk for one in experiments}
    assert (ExecutionPermit.objects.count(), RealTrade.objects.count()) == (0, 0)


def test_an_engine_that_passes_gets_neither_permit_nor_shadow_trade(engines: dict[str, EngineServer]) -> None:
    distribute(mode="ENGINE_A_PRIMARY")
    engines["A"].will(RECOMMEND, Behaviour(passes="the spread is too wide"))
    with a_worker() as worker:
        worker.call()
        worker.execute()
    assert (ExecutionPermit.objects.count(), list(ShadowTrade.objects.values_list("engine", flat=True))) == (0, ["B"])
    assert Recommendation.objects.get(engine="A").reason == "the spread is too wide"
