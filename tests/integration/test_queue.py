"""Claims: everything is taken by one worker at a time, oldest first, for as long as its lease lasts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.db import connection, connections, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.vocabulary import CallState, Engine
from orchestrator.experiments import create_experiments
from orchestrator.models import EngineCall, Experiment
from orchestrator.queue import (
    arm_permits,
    back_off,
    claim_calls,
    claim_signals,
    claim_unsettled,
    database_clock,
    end_call,
    fail_calls,
    is_doubtful,
    overdue_calls,
    put_back_call,
    release_signal,
)
from tests.factories import make_experiment, make_permit, make_revision, make_shadow_trade, make_signal
from tests.waiting import eventually
from tests.working import in_threads
from webhooks.models import Signal

pytestmark = pytest.mark.django_db

LEASE = 30.0


def claim(*, limit: int = 100, lease: float = LEASE) -> list[Signal]:
    return claim_signals(limit=limit, lease_seconds=lease)


def claim_of(engine: str = "A", *, limit: int = 100, lease: float = LEASE) -> list[EngineCall]:
    return claim_calls(Engine(engine), limit=limit, lease="worker", lease_seconds=lease)


def ids(signals: list[Signal]) -> list[UUID]:
    return [signal.signal_id for signal in signals]


def change(signal: Signal, **columns: Any) -> None:
    Signal.objects.filter(pk=signal.pk).update(**columns)


def change_call(call: EngineCall, **columns: Any) -> None:
    EngineCall.objects.filter(pk=call.pk).update(**columns)


def seconds_from_now(seconds: float) -> datetime:
    return database_clock() + timedelta(seconds=seconds)


@contextmanager
def undone() -> Iterator[None]:
    """Undo everything that was written inside, so that each generated case starts afresh."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


# Signals


@pytest.mark.requirement("1.1", "property-1")
def test_a_claimed_signal_carries_everything_that_was_stored() -> None:
    stored = make_signal(symbol="QQQ", direction="short", timeframe="60")
    [claimed] = claim()
    for name in (
        "signal_id",
        "symbol",
        "direction",
        "timeframe",
        "timestamp",
        "signal_hash",
        "raw_payload",
        "raw_body",
    ):
        assert getattr(claimed, name) == getattr(stored, name)
        assert getattr(claimed, name)


@pytest.mark.requirement("10.5", "property-26")
def test_a_claim_locks_the_signal_until_its_lease_ends_by_the_clock_of_the_database() -> None:
    make_signal()
    with time_machine.travel(datetime(2050, 1, 1, tzinfo=UTC)):
        [claimed] = claim()
    assert claimed.processing_lock is not None
    assert claimed.attempts == 1
    assert abs((claimed.lock_expires_at - seconds_from_now(LEASE)).total_seconds()) < 5  # type: ignore[operator]
    assert list(Signal.objects.locked()) == [claimed]
    assert claim() == []


@pytest.mark.requirement("property-26", "10.5")
def test_an_expired_lease_is_claimable_again_under_another_lock() -> None:
    signal = make_signal()
    [first] = claim()
    change(signal, lock_expires_at=seconds_from_now(-0.001))
    [second] = claim()
    assert second.signal_id == first.signal_id
    assert second.processing_lock != first.processing_lock
    assert second.attempts == 2


def test_claims_take_the_oldest_first_up_to_their_limit() -> None:
    now = seconds_from_now(0)
    signals = [make_signal(received_at=now - timedelta(seconds=age)) for age in (5, 9, 1, 7, 3)]
    order = [signals[place].signal_id for place in (1, 3, 0, 4, 2)]
    assert ids(claim(limit=2)) == order[:2]
    assert ids(claim(limit=100)) == order[2:]


def test_what_is_processed_parked_or_waiting_is_not_claimed() -> None:
    make_experiment()
    change(make_signal(), parked_at=seconds_from_now(-60))
    change(make_signal(), next_attempt_at=seconds_from_now(60))
    assert claim() == []
    assert list(Signal.objects.claimable()) == []


def test_what_was_in_hand_when_two_workers_died_is_claimed_by_ones_and_after_what_is_new() -> None:
    again = [make_signal() for _ in range(3)]
    for _ in range(2):
        claim()
        Signal.objects.update(lock_expires_at=seconds_from_now(-1))
    new = [make_signal(), make_signal()]
    claims = [ids(claim()) for _ in range(4)]
    assert claims == [[*ids(new), again[0].signal_id], [again[1].signal_id], [again[2].signal_id], []]


@pytest.mark.parametrize(("most", "together"), [(5, 5), (3, 5), (2, 1), (1, 1)])
def test_what_a_dead_worker_had_in_hand_is_taken_over_at_once_while_attempts_are_left(most: int, together: int) -> None:
    for _ in range(5):
        make_signal()
    assert len(claim()) == 5
    Signal.objects.update(lock_expires_at=seconds_from_now(-1))
    with override_settings(MAX_SIGNAL_ATTEMPTS=most):
        assert len(claim()) == together


def test_what_failed_before_is_never_claimed_with_others() -> None:
    make_signal()
    [failed] = claim()
    release_signal(failed, error="bad", park=False)
    Signal.objects.update(next_attempt_at=None)
    for _ in range(3):
        make_signal()
    claimed = claim()
    assert [is_doubtful(signal) for signal in claimed] == [False, False, False, True]
    assert claimed[-1].pk == failed.pk


@pytest.mark.requirement("property-26")
def test_a_lost_lease_writes_nothing() -> None:
    make_revision()
    signal = make_signal()
    [paused] = claim()
    change(signal, lock_expires_at=seconds_from_now(-1))
    [taken_over] = claim()
    before = Signal.objects.values().get()
    assert release_signal(paused, error="too late", park=True) is False
    assert create_experiments([paused]) == []
    assert Signal.objects.values().get() == before
    assert Experiment.objects.count() == 0
    assert release_signal(taken_over, error="mine", park=False) is True


@pytest.mark.requirement("10.4", "property-26")
@pytest.mark.django_db(transaction=True)
def test_many_workers_claim_each_signal_once() -> None:
    signals = [make_signal() for _ in range(60)]

    def claim_all() -> list[UUID]:
        found: list[UUID] = []
        while claimed := claim(limit=7):
            found += ids(claimed)
        return found

    found = [signal_id for some in in_threads(*[claim_all] * 4) for signal_id in some]  # type: ignore[attr-defined]
    assert sorted(found) == sorted(ids(signals))
    assert set(Signal.objects.values_list("attempts", flat=True)) == {1}


@pytest.mark.requirement("10.4")
@pytest.mark.django_db(transaction=True)
def test_a_row_that_another_transaction_holds_is_passed_over_not_waited_for() -> None:
    held, free = make_signal(), make_signal()
    experiment = make_experiment(signal=free, at=seconds_from_now(-1))
    call = EngineCall.objects.get(engine="A", experiment=experiment)
    other = connections.create_connection("default")
    other.set_autocommit(False)
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT FROM signals WHERE signal_id = %s FOR UPDATE", [held.signal_id])
            cursor.execute("SELECT FROM engine_calls WHERE id = %s FOR UPDATE", [call.id])
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'")
        assert claim() == []
        assert claim_of("A") == []
    finally:
        other.rollback()
        other.close()
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")
    assert ids(claim()) == [held.signal_id]
    assert [one.id for one in claim_of("A")] == [call.id]


STEPS = st.one_of(
    st.tuples(st.just("claim"), st.integers(0, 2), st.integers(1, 3)),
    st.tuples(st.just("lose"), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("process"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("release"), st.integers(0, 2), st.just(0)),
)


@pytest.mark.requirement("property-6", "property-13", "property-25", "property-26", "2.1", "9.5", "10.1")
@given(steps=st.lists(STEPS, max_size=14))
def test_whatever_three_workers_do_a_signal_is_held_by_one_and_becomes_one_experiment(
    steps: list[tuple[str, int, int]],
) -> None:
    with undone():
        make_revision()
        signals = [make_signal() for _ in range(4)]
        holder: dict[UUID, UUID | None] = dict.fromkeys(ids(signals))
        in_hand: dict[int, list[Signal]] = {0: [], 1: [], 2: []}
        done: set[UUID] = set()
        for step, who, limit in steps:
            if step == "claim":
                claimed = claim(limit=limit)
                assert not {one.signal_id for one in claimed if holder[one.signal_id]} | (set(ids(claimed)) & done)
                holder.update({one.signal_id: one.processing_lock for one in claimed})
                in_hand[who] += claimed
            elif step == "lose":
                signal = signals[who]
                change(signal, lock_expires_at=seconds_from_now(-1))
                Signal.objects.filter(pk=signal.pk, processing_lock__isnull=True).update(lock_expires_at=None)
                holder[signal.signal_id] = None
            elif step == "process":
                mine = {one.signal_id: one for one in in_hand[who]}.values()
                created = create_experiments(list(mine))
                done |= {one.signal.signal_id for one in created}
                in_hand[who] = []
            else:
                for signal in in_hand[who]:
                    if release_signal(signal, error="no", park=False):
                        change(signal, next_attempt_at=seconds_from_now(-1))
                        holder[signal.signal_id] = None
                in_hand[who] = []
        assert Experiment.objects.count() == len(done)
        for signal in Signal.objects.select_related("experiment__policy"):
            assert signal.processed is (signal.signal_id in done)
            if signal.processed:
                assert signal.processed_at is not None
                assert signal.experiment.pk == signal.experiment_id == signal.experiment.policy.experiment_id


# Calls


def test_a_claimed_call_is_sent_under_a_fence_that_only_grows() -> None:
    make_experiment(at=seconds_from_now(-1))
    [first] = claim_of("A")
    assert (first.engine, first.state, first.attempts, first.fence, first.lease) == ("A", "SENT", 1, 1, "worker")
    assert 290 < first.seconds_left <= 300  # type: ignore[attr-defined]
    assert claim_of("A") == []
    change_call(first, lease_expires_at=seconds_from_now(-1), next_attempt_at=seconds_from_now(-1))
    [second] = claim_of("A")
    assert (second.id, second.attempts, second.fence, second.sent_at) == (first.id, 2, 2, first.sent_at)


def test_the_intents_of_a_paused_worker_match_no_row() -> None:
    make_experiment(at=seconds_from_now(-1))
    [paused] = claim_of("A")
    change_call(paused, lease_expires_at=seconds_from_now(-1), next_attempt_at=seconds_from_now(-1))
    [current] = claim_of("A")
    before = EngineCall.objects.values().get(pk=paused.pk)
    assert put_back_call(paused, state=CallState.ACCEPTED, wait_seconds=0) is False
    assert fail_calls([paused], error="too late") == set()
    assert EngineCall.objects.values().get(pk=paused.pk) == before
    assert put_back_call(current, state=CallState.PENDING, wait_seconds=0) is True


def test_only_what_is_due_is_claimed_the_longest_waiting_first() -> None:
    now = seconds_from_now(0)
    waits = {seconds: make_experiment(at=now - timedelta(seconds=seconds)).pk for seconds in (10, 40, 20)}
    make_experiment(at=now + timedelta(minutes=1))
    failed = make_experiment(at=now - timedelta(seconds=50))
    EngineCall.objects.filter(experiment=failed).update(state="FAILED")
    too_late = make_experiment(at=now - timedelta(seconds=301))
    assert {one.experiment_id for one in claim_of("A", limit=2)} == {waits[40], waits[20]}
    assert [one.experiment_id for one in claim_of("A")] == [waits[10]]
    assert {one.experiment_id for one in overdue_calls()} == {too_late.pk}


def test_a_call_that_a_worker_has_in_hand_is_not_overdue_yet() -> None:
    make_experiment(at=seconds_from_now(-300) + timedelta(seconds=1.5))
    in_hand = claim_of("A")
    eventually(overdue_calls)
    assert [call.engine for call in overdue_calls()] == ["B"]
    change_call(in_hand[0], lease_expires_at=seconds_from_now(-1))
    assert {call.engine for call in overdue_calls()} == {"A", "B"}
    assert claim_of("A") == claim_of("B") == []


def test_an_accepted_call_stays_accepted_and_is_asked_about() -> None:
    make_experiment(at=seconds_from_now(-1))
    [call] = claim_of("A")
    assert put_back_call(call, state=CallState.ACCEPTED, wait_seconds=-1)
    [again] = claim_of("A")
    assert (again.state, again.fence) == ("ACCEPTED", 2)


def test_an_exit_is_told_only_after_its_trade_was() -> None:
    experiment = make_experiment(execution_mode="SHADOW_ONLY", at=seconds_from_now(-1))
    make_shadow_trade(experiment, "A")
    claim_of("A")
    now = seconds_from_now(-1)
    for kind in ("SHADOW_TRADE", "SHADOW_EXIT"):
        EngineCall.objects.create(
            experiment=experiment, engine="A", kind=kind, next_attempt_at=now, deadline_at=now + timedelta(minutes=5)
        )
    [told] = claim_of("A")
    assert told.kind == "SHADOW_TRADE"
    assert claim_of("A") == []
    assert end_call(told, response="{}", latency=0.1) is True
    assert end_call(told, response="again", latency=0.1) is False
    assert [call.kind for call in claim_of("A")] == ["SHADOW_EXIT"]
    assert EngineCall.objects.get(pk=told.pk).response == "{}"


@pytest.mark.requirement("10.4")
@pytest.mark.django_db(transaction=True)
def test_many_workers_claim_each_call_once() -> None:
    at = seconds_from_now(-1)
    revision = make_revision()
    for _ in range(20):
        make_experiment(revision=revision, at=at)

    def claim_all() -> list[UUID]:
        found = []
        while claimed := claim_of("A", limit=3) + claim_of("B", limit=2):
            found += [call.id for call in claimed]
        return found

    found = [call_id for some in in_threads(*[claim_all] * 4) for call_id in some]  # type: ignore[attr-defined]
    assert len(found) == len(set(found)) == 40
    assert set(EngineCall.objects.values_list("fence", "attempts", "state")) == {(1, 1, "SENT")}


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 0.5), (2, 1), (3, 2), (6, 16), (7, 30), (50, 30), (10**6, 30)])
def test_the_pause_after_a_failure_doubles_up_to_half_a_minute(attempts: int, seconds: float) -> None:
    assert back_off(attempts) == seconds


# Indexes

MANY = 3000
# rows of the past, copied from one that was really written
PAST = """
WITH new_signals AS (
       INSERT INTO signals SELECT (jsonb_populate_record(template, jsonb_build_object(
              'signal_id', gen_random_uuid(), 'experiment_id', gen_random_uuid(),
              'signal_hash', encode(sha256(n::text::bytea), 'hex')))).*
         FROM signals AS template, generate_series(1, %(many)s) AS n WHERE processed
       RETURNING signal_id, experiment_id),
     new_experiments AS (
       INSERT INTO experiments SELECT (jsonb_populate_record(template, to_jsonb(new_signals))).*
         FROM experiments AS template, new_signals
       RETURNING experiment_id),
     new_policies AS (
       INSERT INTO execution_policies SELECT (jsonb_populate_record(template, jsonb_build_object(
              'id', gen_random_uuid(), 'experiment_id', new_experiments.experiment_id))).*
         FROM execution_policies AS template, new_experiments
       RETURNING experiment_id),
     new_calls AS (
       INSERT INTO engine_calls SELECT (jsonb_populate_record(template, jsonb_build_object(
              'id', gen_random_uuid(), 'experiment_id', new_experiments.experiment_id, 'state', 'ANSWERED'))).*
         FROM engine_calls AS template, new_experiments)
INSERT INTO execution_permits SELECT (jsonb_populate_record(template, jsonb_build_object(
       'permit_id', gen_random_uuid(), 'experiment_id', new_policies.experiment_id,
       'state', 'EXECUTED', 'armed_at', template.granted_at))).*
  FROM execution_permits AS template, new_policies
"""


def plan_of(query: Callable[[], object]) -> str:
    """Return how PostgreSQL does what ``query`` asks for."""
    with CaptureQueriesContext(connection) as captured:
        query()
    sql = max((one["sql"] for one in captured.captured_queries), key=len)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}")
        return "\n".join(line for (line,) in cursor.fetchall())


def test_every_claim_reads_its_partial_index_however_long_the_past() -> None:
    make_permit(make_experiment(at=seconds_from_now(-1)))
    with connection.cursor() as cursor:
        cursor.execute(PAST, {"many": MANY})
        make_signal()
        for table in ("signals", "experiments", "engine_calls", "execution_permits"):
            cursor.execute(f"ANALYZE {table}")
    queries: dict[str, tuple[Callable[[], object], ...]] = {
        "signals_claimable": (claim, lambda: list(Signal.objects.claimable())),
        "calls_to_make": (claim_of, overdue_calls),
        "permits_to_settle": (
            lambda: arm_permits(Engine.A, limit=5, lease="w", lease_seconds=1),
            lambda: claim_unsettled(Engine.A, limit=5, lease="w", lease_seconds=1, queryable=True, idempotent=True),
        ),
    }
    tables = {
        "signals_claimable": "signals",
        "calls_to_make": "engine_calls",
        "permits_to_settle": "execution_permits",
    }
    for index, asked in queries.items():
        for query in asked:
            with undone():
                plan = plan_of(query)
            assert f"Index Scan using {index}" in plan or f"Bitmap Index Scan on {index}" in plan, plan
            assert f"Seq Scan on {tables[index]}" not in plan, plan
