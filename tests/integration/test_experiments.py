"""Signals become experiments: once, completely, reproducibly, a whole batch in one transaction."""

import json
import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.conf import settings
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from config.keys import new_key
from orchestrator.domain.policy import decide_again
from orchestrator.experiments import create_experiments, process_signals
from orchestrator.models import (
    EngineCall,
    ExecutionPermit,
    ExecutionPolicy,
    Experiment,
    Incident,
    MarketContext,
    PolicyRevision,
)
from orchestrator.queue import claim_signals
from orchestrator.revisions import record_revision
from tests.conftest import LogLines
from tests.factories import make_experiment, make_health, make_quote, make_revision, make_signal
from tests.working import in_threads
from webhooks.models import Signal

pytestmark = pytest.mark.django_db


def claim(*, limit: int = 1000) -> list[Signal]:
    return claim_signals(limit=limit, lease_seconds=30)


def available() -> None:
    make_health("A")
    make_health("B")


def poison() -> Signal:
    """Write a signal whose body nobody can read: the intake would have refused it."""
    return Signal.objects.create(
        source="default",
        symbol="SPY",
        direction="long",
        timeframe="5",
        timestamp=datetime(2026, 3, 2, tzinfo=UTC),
        timestamp_origin="payload",
        signal_hash=sha256(new_key().bytes).hexdigest(),
        raw_payload={},
        raw_body='{"close": ',
    )


def make_due() -> None:
    """Let all pauses and leases be over."""
    Signal.objects.filter(processed=False).update(next_attempt_at=None, lock_expires_at=None)


def statements(batch: Sequence[Signal]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert len(create_experiments(batch)) == len(batch)
    return [query["sql"].split(" ", 3)[0] for query in captured.captured_queries]


@pytest.mark.requirement("10.2")
@pytest.mark.django_db(transaction=True)
def test_a_batch_is_one_transaction_with_the_same_statements_whatever_its_size() -> None:
    available()
    make_revision()
    taken = []
    for size in (1, 10, 100):
        for _ in range(size):
            make_signal()
        taken.append(statements(claim()))
    assert taken[0] == taken[1] == taken[2]
    assert taken[0].count("BEGIN") == taken[0].count("COMMIT") == 1
    assert len(taken[0]) <= 10


@pytest.mark.requirement("2.2", "2.3", "2.4", "property-7", "property-9", "property-21", "6.5")
@examples(max_examples=20)
@given(split=st.integers(0, 100), hashes=st.lists(st.binary(min_size=8, max_size=8), min_size=5, max_size=5))
def test_an_experiment_stores_what_it_was_assigned_by_and_why(split: int, hashes: list[bytes]) -> None:
    """20 × 5 generated signals; the hashes and ids are recomputed here from their definition."""
    with transaction.atomic():
        available()
        revision = make_revision(split_percentage=split, execution_mode="SPLIT_CAPITAL")
        for one in hashes:
            make_signal(payload={"close": 1, "note": one.hex(), "unique": str(new_key())})
        claimed = claim()
        create_experiments(claimed)
        assert Experiment.objects.count() == len(claimed) == 5
        for experiment in Experiment.objects.select_related("signal", "policy"):
            signal = experiment.signal
            assigned = sha256(f"{signal.signal_id}:{signal.signal_hash}".encode()).hexdigest()
            variant = "A" if int(assigned[:16], 16) % 100 < split else "B"
            h, s = bytes.fromhex(assigned), signal.signal_id.bytes
            derived = bytes([0x80 | (h[0] & 0x0F), h[1], 0x80 | (h[2] & 0x3F)])
            assert experiment.assignment_hash == assigned
            assert experiment.variant == variant
            assert experiment.experiment_id == UUID(bytes=s[:6] + derived + h[3:10])
            assert experiment.split_percentage == split
            assert experiment.policy_version == experiment.policy.policy_version == f"v1.0-r{revision.number}"
            assert experiment.policy.executed_engine == variant
        transaction.set_rollback(True)


@pytest.mark.requirement("2.5", "6.1", "property-8")
def test_the_same_signal_becomes_the_same_experiment_and_decision_again() -> None:
    available()
    make_revision(execution_mode="SPLIT_CAPITAL", split_percentage=50)
    for _ in range(12):
        make_signal()
    claimed = claim()
    drop = {"created_at", "distributed_at", "id", "next_attempt_at", "deadline_at", "inputs", "reason"}

    def everything() -> list[dict[str, Any]]:
        create_experiments(claimed)
        kept = []
        for model in (Experiment, MarketContext, ExecutionPolicy, EngineCall):
            rows = [{k: v for k, v in row.items() if k not in drop} for row in model._default_manager.values()]
            kept += sorted(rows, key=lambda row: json.dumps(row, default=str))
        return kept

    with transaction.atomic():
        first = everything()
        transaction.set_rollback(True)
    assert everything() == first
    assert len(first) == 12 * 5


@pytest.mark.requirement("2.1", "3.6", "9.5", "1.5", "property-5", "property-13", "property-25")
def test_a_signal_leads_to_one_context_experiment_and_policy_and_one_call_to_each_engine() -> None:
    available()
    signal = make_signal()
    create_experiments(claim())
    signal.refresh_from_db()
    experiment = Experiment.objects.get()
    context, policy = MarketContext.objects.get(), ExecutionPolicy.objects.get()
    assert (context.signal_id, experiment.signal_id, policy.experiment_id) == (signal.pk, signal.pk, experiment.pk)
    assert (policy.execution_mode, policy.executed_engine, policy.shadow_engine) == ("ENGINE_A_PRIMARY", "A", "B")
    assert (policy.reason_code, policy.policy_version) == ("PAPER_ENGINE_A", "v1.0-r1")
    assert policy.reason
    assert (signal.processed, signal.experiment_id, signal.processing_lock) == (True, experiment.pk, None)
    assert signal.processed_at is not None
    assert context.context_hash == sha256(context.engine_input.encode()).hexdigest()
    assert context.distributed_at >= signal.received_at
    calls = EngineCall.objects.order_by("engine").values_list("engine", "kind", "state", "input_hash")
    assert list(calls) == [(engine, "RECOMMENDATION", "PENDING", context.context_hash) for engine in "AB"]
    assert ExecutionPermit.objects.count() == 0
    assert claim() == []


@pytest.mark.requirement("9.4", "property-24")
def test_both_engines_share_the_one_signal() -> None:
    available()
    for _ in range(5):
        make_signal()
    create_experiments(claim())
    assert Signal.objects.count() == Experiment.objects.count() == 5
    assert EngineCall.objects.values("experiment__signal").distinct().count() == 5
    assert EngineCall.objects.count() == 10


@pytest.mark.requirement("property-6", "10.1", "2.1", "10.2")
@pytest.mark.django_db(transaction=True)
def test_any_number_of_workers_that_hold_the_same_signals_make_one_experiment_of_each() -> None:
    available()
    make_revision()
    for _ in range(10):
        make_signal()
    claimed = claim()
    counts = in_threads(*[lambda: process_signals(claimed)] * 4)
    assert sum(counts) == 10  # type: ignore[arg-type]
    for model in (Experiment, MarketContext, ExecutionPolicy):
        assert model._default_manager.count() == 10
    assert EngineCall.objects.count() == 20
    assert Incident.objects.count() == 0


@pytest.mark.requirement("10.3", "property-6")
def test_a_signal_whose_experiment_exists_already_is_only_marked_as_processed() -> None:
    available()
    experiment = make_experiment()
    Signal.objects.update(processed=False, processed_at=None, experiment_id=None)
    before = Experiment.objects.values().get()
    other = make_signal()
    process_signals(claim())
    process_signals(claim())
    assert Experiment.objects.values().get(pk=experiment.pk) == before
    assert Experiment.objects.count() == ExecutionPolicy.objects.count() == 2
    assert set(Signal.objects.values_list("processed", flat=True)) == {True}
    assert Signal.objects.get(pk=experiment.signal_id).experiment_id == experiment.pk
    assert Experiment.objects.filter(signal=other).exists()


def test_a_lease_that_was_lost_leaves_its_signal_to_the_other_worker() -> None:
    available()
    make_revision()
    for _ in range(3):
        make_signal()
    claimed = claim()
    Signal.objects.filter(pk=claimed[1].pk).update(processing_lock=new_key())
    assert [one.signal for one in create_experiments(claimed)] == [claimed[0], claimed[2]]
    assert not Experiment.objects.filter(signal=claimed[1]).exists()


# Poison


@pytest.mark.requirement("11.5", "property-31")
def test_a_poison_signal_is_parked_with_an_incident_and_the_others_go_on(log_lines: LogLines) -> None:
    available()
    make_signal()
    bad = poison()
    make_signal()
    for _ in range(settings.MAX_SIGNAL_ATTEMPTS + 2):
        process_signals(claim())
        make_due()
    bad.refresh_from_db()
    assert Experiment.objects.count() == 2
    assert (bad.processed, bad.attempts, bad.processing_lock) == (False, settings.MAX_SIGNAL_ATTEMPTS, None)
    assert bad.parked_at is not None
    assert "UnreadableAlert" in bad.last_error
    incident = Incident.objects.get()
    assert (incident.kind, incident.subject, incident.severity) == ("POISON_SIGNAL", str(bad.pk), "HIGH")
    assert incident.detail["signal_id"] == str(bad.pk)
    errors = log_lines.of("signal.failed")
    assert len(errors) == settings.MAX_SIGNAL_ATTEMPTS
    assert {line["signal_id"] for line in errors} == {str(bad.pk)}
    assert {line["error_type"] for line in errors} == {"UnreadableAlert"}
    assert all(line["error_message"] and "Traceback" in line["stack"] for line in errors)


def test_a_failure_is_tried_again_after_a_growing_pause() -> None:
    available()
    bad = poison()
    pauses = []
    for _ in range(3):
        process_signals(claim())
        bad.refresh_from_db()
        with connection.cursor() as cursor:
            cursor.execute("SELECT extract(epoch FROM %s - clock_timestamp())::float", [bad.next_attempt_at])
            pauses.append(cursor.fetchone()[0])
        assert claim() == []
        make_due()
    assert pauses == sorted(pauses)
    assert 0.3 < pauses[0] < 0.6 < pauses[1] < 1.1 < pauses[2] < 2.1


def test_a_signal_that_kills_its_worker_is_given_up_and_takes_no_other_with_it() -> None:
    available()
    signals = [make_signal() for _ in range(20)]
    killer = signals[0]
    for _ in range(settings.MAX_SIGNAL_ATTEMPTS + 30):
        claimed = claim()
        if killer.pk in [one.pk for one in claimed] and claimed[0].attempts <= settings.MAX_SIGNAL_ATTEMPTS:
            make_due()  # its worker was killed, its leases have ended
            continue
        process_signals(claimed)
    assert Experiment.objects.count() == 19
    assert list(Signal.objects.parked()) == [killer]
    assert Incident.objects.get().subject == str(killer.pk)


# What a decision sees


def decided(**policy: Any) -> ExecutionPolicy:
    [created] = create_experiments(claim())
    found = ExecutionPolicy.objects.get(experiment=created.experiment)
    assert {name: getattr(found, name) for name in policy} == policy
    return found


@pytest.mark.requirement("3.3", "12.1")
@pytest.mark.parametrize(
    ("age", "ok", "reason"),
    [
        (1, True, "PAPER_ENGINE_A"),
        (29, True, "PAPER_ENGINE_A"),
        (31, True, "ENGINE_A_UNAVAILABLE"),
        (1, False, "ENGINE_A_UNAVAILABLE"),
        (None, True, "ENGINE_A_UNAVAILABLE"),
    ],
)
def test_engine_a_is_available_when_a_probe_of_the_last_three_found_it(age: int | None, ok: bool, reason: str) -> None:
    if age is not None:
        make_health("A", ok=ok, checked_at=datetime.now(UTC) - timedelta(seconds=age))
    make_signal()
    policy = decided(reason_code=reason)
    assert (policy.execution_mode == "SHADOW_ONLY") is (reason == "ENGINE_A_UNAVAILABLE")


@pytest.mark.requirement("6.2", "6.4", "6.5")
def test_ages_are_told_by_the_clock_of_the_database_and_everything_a_decision_saw_is_stored() -> None:
    available()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp() - interval '299 s', clock_timestamp() - interval '301 s'")
        fresh, stale = cursor.fetchone()
    with time_machine.travel(datetime(2040, 1, 1, tzinfo=UTC)):
        make_signal(received_at=fresh)
        young = decided(reason_code="PAPER_ENGINE_A")
        make_signal(received_at=stale)
        old = decided(reason_code="STALE_SIGNAL", execution_mode="SHADOW_ONLY")
    assert 299 <= young.inputs["signal_age_seconds"] < 300 < old.inputs["signal_age_seconds"] < 310
    for policy in (young, old):
        again = decide_again(policy.inputs)
        assert (again.execution_mode.value, again.executed_engine, again.reason, again.reason_code.value) == (
            policy.execution_mode,
            policy.executed_engine,
            policy.reason,
            policy.reason_code,
        )
        assert policy.inputs["revision"]["number"] == PolicyRevision.objects.get().number


@pytest.mark.requirement("12.2", "property-32", "property-21")
def test_a_change_of_the_settings_is_used_by_the_next_batch_and_earlier_ones_keep_theirs() -> None:
    available()
    wanted: list[tuple[dict[str, Any], str]] = [
        ({}, "ENGINE_A_PRIMARY"),
        ({"EXECUTION_MODE": "ENGINE_B_PRIMARY"}, "ENGINE_B_PRIMARY"),
        ({"EXECUTION_MODE": "SPLIT_CAPITAL", "SPLIT_PERCENTAGE": 0}, "SPLIT_CAPITAL"),
        ({"TRADING_HALTED": True}, "SHADOW_ONLY"),
        ({"TRADING_HALTED": False, "EXECUTION_MODE": "AUTO"}, "ENGINE_A_PRIMARY"),
    ]
    seen = []
    for changes, mode in wanted:
        if changes:
            record_revision(changes, changed_by="operator")
        make_signal()
        seen.append(decided(execution_mode=mode))
    for policy in seen:
        [number] = PolicyRevision.objects.filter(number=int(policy.policy_version.removeprefix("v1.0-r"))).values_list(
            "number", flat=True
        )
        assert policy.inputs["revision"]["number"] == number
        stored = ExecutionPolicy.objects.get(pk=policy.pk)
        assert (stored.execution_mode, stored.policy_version) == (policy.execution_mode, policy.policy_version)
    assert [policy.policy_version for policy in seen] == [f"v1.0-r{number}" for number in (1, 2, 3, 4, 5)]


@pytest.mark.requirement("6.3", "7.1")
def test_signals_are_processed_without_any_connection_but_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_connection(*_: object) -> None:
        raise AssertionError("somebody was asked something")

    available()
    make_signal()
    make_quote(quoted_at=datetime(2026, 3, 2, tzinfo=UTC))
    claimed = claim()
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, no_connection)
    assert len(create_experiments(claimed)) == 1


# The log


@pytest.mark.requirement("11.1", "11.2", "11.3", "property-27", "property-28", "property-29")
def test_every_step_is_one_log_event_with_the_fields_that_are_asked_for(log_lines: LogLines) -> None:
    available()
    signal = make_signal(symbol="QQQ", direction="short")
    process_signals(claim())
    experiment, context = Experiment.objects.get(), MarketContext.objects.get()
    ids = {"signal_id": str(signal.pk), "experiment_id": str(experiment.pk)}
    expected = {
        "signal.retrieved": {
            "signal_id": str(signal.pk),
            "symbol": "QQQ",
            "direction": "short",
            "timestamp": signal.timestamp.isoformat(),
        },
        "context.captured": {**ids, "context_hash": context.context_hash},
        "experiment.created": {
            **ids,
            "variant": experiment.variant,
            "assignment_hash": experiment.assignment_hash,
        },
        "policy.applied": {
            **ids,
            "execution_mode": "ENGINE_A_PRIMARY",
            "executed_engine": "A",
            "shadow_engine": "B",
            "reason_code": "PAPER_ENGINE_A",
            "policy_version": "v1.0-r1",
        },
    }
    for event, fields in expected.items():
        [line] = log_lines.of(event)
        assert {name: value for name, value in line.items() if name not in ("event", "level", "logger", "at")} == fields
