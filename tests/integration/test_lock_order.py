"""One lock order: exits, events, operators, sweeps and arming on few experiments at once, and not one deadlock."""

import itertools
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, transaction
from django.test import override_settings

from orchestrator.calls import fail_overdue_calls, record_call_answers, requests_for
from orchestrator.database_duties import note_identity
from orchestrator.dispatch import Answered
from orchestrator.domain.vocabulary import Engine
from orchestrator.engines.protocol import NoAnswer, NotSent, Reply
from orchestrator.events import apply_events, read_event, store_event
from orchestrator.executions import executions_for
from orchestrator.exit_polls import claim_exit_questions, record_exit_answer
from orchestrator.experiments import process_signals
from orchestrator.models import EngineCall, ExecutionPermit, Experiment, Incident
from orchestrator.permits import (
    ExecutionAnswer,
    doubt_silent_permits,
    record_execution_answer,
    settle_not_executed,
    void_expired_permits,
)
from orchestrator.queue import arm_permits, claim_calls, claim_signals, claim_unsettled, lock_experiments
from orchestrator.revisions import current_revision, record_revision
from orchestrator.settlement import choices_for, settle
from outcomes.exits import apply_exits, price_followers, settle_late_followers
from outcomes.expiry import report_expired_trades
from tests.engine_server import TERMS
from tests.factories import CONDITIONS, make_recommendation, make_shadow_trade, make_signal
from tests.protocol_steps import experiment_of, granted, now
from tests.working import in_threads

THREADS = 8
SECONDS_A_ROUND = 2.0
# the long hunt: DEADLOCK_HUNT_SECONDS=600 make test ARGS="tests/integration/test_lock_order.py -rP"
ROUNDS = round(float(os.environ.get("DEADLOCK_HUNT_SECONDS", "10")) / SECONDS_A_ROUND)
FEW = 4

pytestmark = pytest.mark.django_db(transaction=True)
numbers = itertools.count()


def deadlocks() -> int:
    """Return how many deadlocks the server has ended in this database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot(), pg_stat_force_next_flush()")
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def few_experiments() -> list[Experiment]:
    """Write experiments with a permit to send, or one that was sent and is not known of, and a shadow beside it."""
    made = []
    for number in range(FEW):
        experiment = experiment_of("ENGINE_A_PRIMARY")
        make_recommendation(experiment, "B")
        make_shadow_trade(experiment, "B")
        granted(experiment=experiment, state=("GRANTED", "UNKNOWN", "ARMED")[number % 3], seconds=1.0)
        made.append(experiment)
    return made


def tell(engine: str, kind: str, data: Mapping[str, object]) -> None:
    body = json.dumps({"type": kind, "data": data}).encode()
    store_event(Engine(engine), f"msg_{next(numbers)}", read_event(body))


def actions(experiments: list[Experiment], order: int) -> Iterator[Callable[[], object]]:
    """Return what one thread does, again and again, to these experiments in an order of its own."""
    mine = experiments if order % 2 else experiments[::-1]
    for turn in itertools.count(order):
        experiment = mine[turn % len(mine)]
        permit = ExecutionPermit.objects.get(experiment=experiment)
        external_id = f"order-{experiment.pk}"
        fill = {
            "external_id": external_id,
            "entry_price": "4.40",
            "entry_time": now().isoformat(),
            "quantity": "2",
            "fees": "1",
        }
        left = {
            "experiment_id": str(experiment.pk),
            "exit_price": "5.10",
            "exit_time": (now() + timedelta(seconds=1)).isoformat(),
            "exit_reason": "target",
            "market_conditions": CONDITIONS,
        }
        doings: tuple[Callable[[], object], ...] = (
            lambda: tell("A", "execution.filled", {"permit_id": str(permit.pk), "trade": fill}),  # noqa: B023
            lambda: tell("A", "execution.rejected", {"permit_id": str(permit.pk), "reason": "no"}),  # noqa: B023
            lambda: tell("A", "trade.exited", left | {"trade": {"external_id": external_id}}),  # noqa: B023
            lambda: tell("B", "trade.exited", left | {"trade": None}),  # noqa: B023
            apply_events,
            apply_exits,
            price_followers,
            settle_late_followers,
            report_expired_trades,
            void_expired_permits,
            doubt_silent_permits,
            fail_overdue_calls,
            lambda: take_a_signal(turn),  # noqa: B023
            lambda: call(Engine("AB"[turn % 2]), turn),  # noqa: B023
            lambda: execute(order, turn, fill),  # noqa: B023
            lambda: ask_for_exits(fill, left),  # noqa: B023
            lambda: settle_not_executed(permit.pk, by="engine A", reason="no"),  # noqa: B023
            lambda: settle_something(turn),  # noqa: B023
            lambda: record_revision({"TRADING_HALTED": turn % 2 == 0}, changed_by=f"operator {order}"),  # noqa: B023
            note_identity,
        )
        start = (5 * order + turn) % len(doings)  # each thread begins with something else, each time
        yield from doings[start:] + doings[:start]


def take_a_signal(turn: int) -> None:
    """Turn the few signals that are there into experiments; now and then there is one more."""
    if turn % FEW == 0:
        make_signal()
    process_signals(claim_signals(limit=FEW, lease_seconds=0.2))


def call(engine: Engine, turn: int) -> None:
    """Claim calls as a worker does, and record what such an engine says or that it says nothing."""
    for made in requests_for(claim_calls(engine, limit=FEW, lease="worker", lease_seconds=0.2)):
        outcome: Reply | NoAnswer = NoAnswer("reset")
        if made.call.kind == "SHADOW_EXIT":
            outcome = Reply(200, b'{"exit_price": "5.05"}')
        elif made.call.kind == "SHADOW_TRADE":
            outcome = Reply(200, b"{}")
        elif turn % 3:
            whole = {
                "experiment_id": str(made.call.experiment_id),
                "input_hash": EngineCall.objects.get(pk=made.call.pk).input_hash,
                "recommendation": TERMS if turn % 2 else None,
                "reason": "why not",
            }
            outcome = Reply(200, json.dumps(whole).encode())
        record_call_answers([Answered(made, engine, outcome, time.monotonic(), 0.01)])


def execute(order: int, turn: int, fill: Mapping[str, object]) -> None:
    """Arm or ask about what is due as a worker does, and record one of the answers that may come back."""
    lease = {"limit": FEW, "lease": f"worker {order}", "lease_seconds": 0.2}
    armed = arm_permits(Engine.A, **lease)  # type: ignore[arg-type]
    unsettled = claim_unsettled(Engine.A, **lease, queryable=True, idempotent=True)  # type: ignore[arg-type]
    for one in executions_for([*armed, *unsettled]):
        trade = {**fill, "external_id": f"order-{one.permit.experiment_id}"}
        words = (
            {"permit_id": str(one.permit.pk), "status": "FILLED", "trade": trade},
            {"permit_id": str(one.permit.pk), "status": "REJECTED", "reason": "no"},
            {"status": "ACCEPTED"},
        )
        outcomes: tuple[Reply | NoAnswer | NotSent, ...] = (
            *(Reply(202 if word["status"] == "ACCEPTED" else 200, json.dumps(word).encode()) for word in words),
            NoAnswer("reset"),
            NotSent("refused"),
            Reply(404, b"{}"),
        )
        outcome = outcomes[turn % len(outcomes)]
        record_execution_answer(ExecutionAnswer(one.permit, outcome, is_query=one.is_query, is_resend=one.is_resend))


def ask_for_exits(fill: Mapping[str, object], left: Mapping[str, object]) -> None:
    """Ask about open trades as a worker does, and record that they have exited."""
    for question in claim_exit_questions(Engine.A, limit=FEW):
        permit = question.permit
        trade = {**fill, "external_id": f"order-{permit.experiment_id}"}
        ended = {key: value for key, value in left.items() if key != "experiment_id"}
        word = {"permit_id": str(permit.pk), "status": "FILLED", "trade": trade, "exit": ended}
        record_exit_answer(question, Reply(200, json.dumps(word).encode()))


def settle_something(turn: int) -> None:
    """Settle the oldest open incident in one of the ways that are offered."""
    incident = Incident.objects.unresolved().order_by("id").first()
    if incident is None:
        return
    choices = choices_for(incident)
    typed = {"price": "4.35", "quantity": "2", "time": now().isoformat(), "reference": f"operator-{turn}"}
    settle(incident.pk, choices[turn % len(choices)].name, given=typed | {"reason": "looked at the broker"}, by="ann")


def hammer(experiments: list[Experiment], order: int, until: float) -> Callable[[], Counter[str]]:
    """Return a thread's work: it tells how often it did something, and what it was refused."""

    def run() -> Counter[str]:
        told: Counter[str] = Counter()
        for action in actions(experiments, order):
            if time.monotonic() > until:
                return told
            try:
                action()
                told["did"] += 1
            except OperationalError as error:
                told[f"database: {str(error).splitlines()[0]}"] += 1
            except Exception as error:  # noqa: BLE001 - a refusal is an answer; what counts here are the locks
                told[f"refused: {type(error).__name__}"] += 1
        return told

    return run


@override_settings(QUIET_PERIOD_SECONDS=0.0, CLOCK_MARGIN_SECONDS=0.0, EXIT_POLL_SECONDS=0.1)
def test_nothing_ever_waits_in_a_circle() -> None:
    current_revision()
    before = deadlocks()
    told: Counter[str] = Counter()
    for _ in range(ROUNDS):
        experiments = few_experiments()
        until = time.monotonic() + SECONDS_A_ROUND
        for counted in in_threads(*[hammer(experiments, order, until) for order in range(THREADS)]):
            assert isinstance(counted, Counter)
            told.update(counted)
    print(f"{ROUNDS * SECONDS_A_ROUND:g} s, {THREADS} threads, {deadlocks() - before} deadlocks;", dict(told))  # noqa: T201
    assert deadlocks() == before
    assert [words for words in told if words.startswith("database: ")] == []
    assert told["did"] > 60, told
    ends = set(ExecutionPermit.objects.values_list("state", flat=True))
    assert ends & {"EXECUTED", "NOT_EXECUTED"}, (ends, told)


def test_a_deadlock_would_be_counted() -> None:
    """The instrument itself: two that take the same locks in opposite orders are told apart, and counted."""
    first, second = few_experiments()[:2]
    before = deadlocks()
    met = threading.Barrier(2)

    def take(one: Experiment, other: Experiment) -> Callable[[], str]:
        def run() -> str:
            try:
                with transaction.atomic():
                    lock_experiments([one.pk])
                    met.wait(timeout=10)
                    lock_experiments([other.pk])
            except OperationalError as error:
                return str(error).splitlines()[0]
            return ""

        return run

    assert sorted(map(str, in_threads(take(first, second), take(second, first)))) == ["", "deadlock detected"]
    until = time.monotonic() + 10
    while deadlocks() == before and time.monotonic() < until:
        time.sleep(0.1)
    assert deadlocks() == before + 1
