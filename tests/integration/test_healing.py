"""What heals without people: work of the dead is taken over, silence is asked about."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import override_settings
from pytest_django import Settings

from orchestrator.domain.vocabulary import Engine
from orchestrator.exit_polls import MOST_AT_ONCE, claim_exit_questions
from orchestrator.models import (
    EngineCall,
    EngineEvent,
    ExecutionPermit,
    ExecutionPolicy,
    Experiment,
    Incident,
    RealTrade,
    Recommendation,
)
from orchestrator.queue import claim_calls, claim_signals, claim_unsettled, database_clock
from outcomes.models import RealTradeOutcome
from tests.engine_server import EXECUTE, EXECUTION, RECOMMEND, Behaviour, EngineServer, Recorded
from tests.factories import make_experiment, make_signal
from tests.protocol_steps import a_worker, again, apply_everything, granted, make_due, now
from tests.waiting import eventually
from tests.working import in_threads, is_settled, work_once, working
from webhooks.models import Signal

pytestmark = pytest.mark.django_db(transaction=True)

Engines = dict[str, EngineServer]
LEASE, POLL = 1.0, 0.2
SLACK = 2.0  # what a busy machine adds


@pytest.fixture
def able_a(settings: Settings) -> Iterator["AskedEngine"]:
    """Engine A, which can be asked about its executions and says how its trades ended."""
    with AskedEngine("A", idempotent=False) as engine, EngineServer("B") as other:
        settings.ENGINES = {"A": engine.settings(queryable=True), "B": other.settings(url="")}
        yield engine


class AskedEngine(EngineServer):
    """Tells an exit only when it is asked, and only once it knows of one."""

    def __init__(self, name: str, **how: Any) -> None:
        super().__init__(name, **how)
        self.exits: dict[str, dict[str, Any]] = {}

    def answer(self, request: Recorded, behaviour: Behaviour) -> tuple[int, Any]:
        status, proper = super().answer(request, behaviour)
        left = self.exits.get(request.path.rpartition("/")[2]) if request.operation == EXECUTION else None
        return status, proper | ({"exit": left} if left else {})

    def leave(self, permit: ExecutionPermit, **changes: Any) -> None:
        """End a trade, and tell nobody."""
        self.exits[str(permit.pk)] = {
            "exit_price": "5.10",
            "exit_time": now().isoformat(),
            "exit_reason": "target",
            "fees": "1.30",
            "market_conditions": {"underlying_price": "590.10", "quotes": {}},
        } | changes


def executed() -> ExecutionPermit:
    """Execute one order for real, and let its trade be due to be asked about."""
    permit = granted()
    with a_worker() as worker:
        worker.execute()
    assert again(permit).state == "EXECUTED"
    due(permit)
    return again(permit)


def due(*permits: ExecutionPermit) -> None:
    long_ago = now() - timedelta(hours=1)
    ExecutionPermit.objects.filter(pk__in=[permit.pk for permit in permits]).update(next_attempt_at=long_ago)


def ask() -> int:
    """Ask about the open trades that are due, record and apply what comes back, and return how many were asked about."""
    with a_worker() as worker:
        did = worker._ask_for_exits()
        worker.record()
    apply_everything()
    return did


def make_older(*, seconds: float) -> None:
    """Let all real trades have been opened long ago, which the database would not let anybody else do."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE real_trades DISABLE TRIGGER USER")
        cursor.execute("UPDATE real_trades SET created_at = clock_timestamp() - make_interval(secs => %s)", [seconds])
        cursor.execute("ALTER TABLE real_trades ENABLE TRIGGER USER")


# Exits that never arrived


@pytest.mark.requirement("4.2", "property-17")
def test_an_exit_that_never_arrived_is_asked_for_and_applied_once(able_a: AskedEngine) -> None:
    permit = executed()
    able_a.leave(permit)
    assert ask() == 1
    outcome = RealTradeOutcome.objects.get()
    assert (str(outcome.exit_price), outcome.exit_reason, outcome.trade.permit_id) == (
        "5.10000000",
        "target",
        permit.pk,
    )
    assert RealTrade.objects.get().status == "CLOSED"
    due(permit)
    assert ask() == 0
    assert Incident.objects.count() == 0
    # the event that comes late after all is the same exit
    left = able_a.exits[str(permit.pk)]
    body = {"experiment_id": str(permit.experiment_id), "trade": {"external_id": outcome.trade.external_id}} | left
    EngineEvent.objects.create(
        engine="A",
        message_id="late",
        type="trade.exited",
        body=json.dumps({"type": "trade.exited", "data": body}),
        experiment_id=permit.experiment_id,
    )
    apply_everything()
    assert EngineEvent.objects.get(message_id="late").verdict == "DUPLICATE"
    assert Incident.objects.count() == 0


def test_a_trade_that_is_still_open_stays_open_and_is_asked_about_again_only_after_the_pause(
    able_a: AskedEngine,
) -> None:
    executed()
    assert [ask(), ask()] == [1, 0]
    assert RealTrade.objects.get().status == "OPEN"
    assert len(able_a.requests_of(EXECUTION)) == 1
    assert Incident.objects.count() == 0


def test_the_pause_grows_with_the_age_of_the_trade_up_to_twelve_times(able_a: AskedEngine, settings: Settings) -> None:
    settings.EXIT_POLL_SECONDS = 100
    permit = executed()
    for age, wait in ((0, 100), (5_000, 500), (1_000_000, 1200)):
        at = database_clock()
        make_older(seconds=age)
        for waited, is_asked in ((wait - 5, False), (wait + 5, True)):
            ExecutionPermit.objects.filter(pk=permit.pk).update(next_attempt_at=at - timedelta(seconds=waited))
            assert bool(claim_exit_questions(Engine.A, limit=10)) is is_asked, (age, waited)


def test_only_a_few_are_asked_about_at_once_and_each_by_one_worker(able_a: AskedEngine) -> None:
    permits = [granted() for _ in range(2 * MOST_AT_ONCE + 3)]
    with a_worker() as worker:
        while worker.execute():
            pass
    due(*permits)
    questions = in_threads(*[lambda: claim_exit_questions(Engine.A, limit=100)] * 4)
    asked = [question.permit.pk for found in questions for question in found]  # type: ignore[attr-defined]
    assert max(len(found) for found in questions) <= MOST_AT_ONCE  # type: ignore[arg-type]
    assert len(asked) == len(set(asked)) == len(permits)


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(status=404),
        Behaviour(status=202),
        Behaviour(status=500),
        Behaviour(body="garbage"),
        Behaviour(reset=True),
        Behaviour(changes={"permit_id": "01a1fdc4-60c1-8620-97da-e8740709ef25"}),
    ],
)
def test_what_is_no_answer_changes_nothing(able_a: AskedEngine, behaviour: Behaviour) -> None:
    permit = executed()
    before = again(permit)
    able_a.leave(permit)
    able_a.will(EXECUTION, behaviour)
    assert ask() == 1
    after = again(permit)
    assert (after.state, after.detail, after.accepted_at, after.fence) == (
        "EXECUTED",
        before.detail,
        before.accepted_at,
        before.fence,
    )
    assert (RealTrade.objects.get().status, Incident.objects.count()) == ("OPEN", 0)
    due(permit)
    ask()
    assert RealTrade.objects.get().status == "CLOSED"


@pytest.mark.parametrize(
    "changes", [{"status": "REJECTED", "reason": "never heard of it"}, {"trade": {"external_id": "another"}}]
)
def test_an_engine_that_contradicts_itself_is_one_incident_however_often_it_is_asked(
    able_a: AskedEngine, changes: dict[str, Any]
) -> None:
    permit = executed()
    proper = {"entry_price": "4.40", "entry_time": now().isoformat(), "quantity": "2", "fees": "1.30"}
    if "trade" in changes:
        changes = {"trade": proper | {"external_id": RealTrade.objects.get().external_id, "entry_price": "4.99"}}
    able_a.always(EXECUTION, Behaviour(changes=changes))
    for _ in range(3):
        due(permit)
        ask()
    assert [incident.kind for incident in Incident.objects.all()] == ["CONFLICTING_EVENT"]
    Incident.objects.update(resolved_at=now(), resolved_by="olivia", resolution="the first stands")
    due(permit)
    ask()
    assert Incident.objects.unresolved().count() == 0
    assert (again(permit).state, str(RealTrade.objects.get().entry_price)) == ("EXECUTED", "4.40000000")


def test_an_engine_that_cannot_be_asked_is_not(able_a: AskedEngine, settings: Settings) -> None:
    executed()
    settings.ENGINES = {**settings.ENGINES, "A": able_a.settings(queryable=False)}
    assert ask() == 0


def test_a_running_worker_asks_and_a_hanging_engine_does_not_hold_it_up(able_a: AskedEngine) -> None:
    permit = executed()
    able_a.leave(permit)
    able_a.will(EXECUTION, Behaviour(delay_seconds=3))
    with override_settings(EXIT_POLL_SECONDS=1.0), working(poll_interval=0.05):
        able_a.wait_for(EXECUTION)
        signal = make_signal()
        eventually(lambda: Signal.objects.get(pk=signal.pk).processed, seconds=2)
        eventually(lambda: RealTrade.objects.get(permit=permit).status == "CLOSED")


# What the dead had in hand


def test_a_signal_that_a_dead_worker_held_is_taken_over_within_a_lease_and_a_poll(engines: Engines) -> None:
    signal = make_signal()
    assert claim_signals(limit=1, lease_seconds=LEASE)
    began = time.monotonic()
    with working(poll_interval=POLL):
        eventually(lambda: Experiment.objects.filter(signal=signal).exists())
        assert LEASE - 0.3 < time.monotonic() - began < LEASE + POLL + SLACK


def test_a_question_that_a_dead_worker_had_half_sent_is_asked_again_within_a_lease_and_a_poll(
    engines: Engines,
) -> None:
    experiment = make_experiment(at=datetime.now(UTC))
    [call] = claim_calls(Engine.A, limit=1, lease="the dead", lease_seconds=LEASE)
    began = time.monotonic()
    with working(poll_interval=POLL):
        engines["A"].wait_for(RECOMMEND)
        assert LEASE - 0.3 < time.monotonic() - began < LEASE + POLL + SLACK
        eventually(lambda: Recommendation.objects.filter(experiment=experiment, engine="A").exists())
    again_sent = EngineCall.objects.get(pk=call.pk)
    assert (again_sent.state, again_sent.attempts) == ("ANSWERED", 2)


def test_an_order_whose_worker_died_is_doubted_asked_about_and_settled_by_the_engines_word(
    able_a: AskedEngine,
) -> None:
    permit = granted()
    with a_worker() as worker:
        worker.send()  # the engine places it, and the worker dies before it records that
        able_a.wait_for(EXECUTE)
    ExecutionPermit.objects.filter(pk=permit.pk).update(lease_expires_at=F("armed_at"))
    with working(poll_interval=POLL):
        eventually(lambda: again(permit).state == "EXECUTED")
    assert able_a.executions == [str(permit.pk)]
    incident = Incident.objects.get(kind="UNKNOWN_EXECUTION")
    assert incident.resolved_by == "engine A"


def test_an_accepted_order_is_asked_about_until_it_is_done(able_a: AskedEngine) -> None:
    able_a.will(EXECUTE, Behaviour(status=202))
    able_a.will(EXECUTION, Behaviour(status=202), Behaviour(status=202))
    permit = granted()
    with working(poll_interval=POLL):
        eventually(lambda: again(permit).accepted_at is not None)
        for count in (1, 2, 3):
            make_due(permit)
            able_a.wait_for(EXECUTION, count=count)
        eventually(lambda: again(permit).state == "EXECUTED")
    assert len(able_a.requests_of(EXECUTE)) == 1


def test_what_is_sent_again_is_counted_as_leaving(able_a: AskedEngine, settings: Settings) -> None:
    settings.ENGINES = {**settings.ENGINES, "A": able_a.settings(idempotent=True)}
    permit = granted(state="UNKNOWN")
    [held] = claim_unsettled(Engine.A, limit=1, lease="w", lease_seconds=30, queryable=False, idempotent=True)
    assert held.pk == permit.pk
    assert held.may_send_until is not None
    assert held.may_send_until > database_clock()


# Old orders


@pytest.mark.requirement("3.4")
def test_a_queue_that_slept_for_an_hour_fires_no_old_orders(engines: Engines) -> None:
    for _ in range(20):
        make_signal(received_at=datetime.now(UTC) - timedelta(hours=1))
    fresh = make_signal()
    work_once()
    codes = dict(ExecutionPolicy.objects.values_list("experiment__signal_id", "reason_code"))
    assert codes.pop(fresh.pk) == "PAPER_ENGINE_A"
    assert list(codes.values()) == ["STALE_SIGNAL"] * 20
    assert len(engines["A"].executions) == 1
    assert is_settled()
