"""The worker's loop: each side on its own, woken at once, shared by any number, and stopped by nothing but being told to."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, connection, connections
from django.test import override_settings

from orchestrator.dispatch import Answered
from orchestrator.domain.vocabulary import Engine
from orchestrator.engines.protocol import Reply
from orchestrator.models import (
    EngineCall,
    EngineHealth,
    ExecutionPermit,
    ExecutionPolicy,
    Experiment,
    Incident,
    MarketContext,
    RealTrade,
    ShadowTrade,
    WorkerHeartbeat,
)
from orchestrator.queue import database_clock
from orchestrator.revisions import record_revision
from orchestrator.worker import Options, Probe, StepFailed, Worker
from tests.conftest import LogLines
from tests.engine_server import (
    HEALTH,
    RECOMMEND,
    Behaviour,
)
from tests.factories import make_health, make_signal
from tests.waiting import eventually
from tests.working import Engines, answered, is_settled, make_worker, states, work_once, working
from webhooks.models import Signal
from webhooks.notifications import wake_workers

pytestmark = pytest.mark.django_db(transaction=True)

# Each side on its own


@pytest.mark.parametrize("behaviour", [Behaviour(delay_seconds=30), Behaviour(drip_seconds=1)])
def test_a_slow_or_dripping_engine_delays_only_its_own_side(engines: Engines, behaviour: Behaviour) -> None:
    engines["A"].always(RECOMMEND, behaviour)
    make_signal()
    began = time.monotonic()
    slow = engines["A"].settings(timeout_seconds=3.0)
    with override_settings(ENGINES={"A": slow, "B": engines["B"].settings()}), working():
        eventually(lambda: answered("B") == 1)
        eventually(lambda: EngineCall.objects.filter(kind="SHADOW_TRADE", engine="B", state="ANSWERED").exists())
        assert time.monotonic() - began < 3
        assert states() == {"A": {"SENT"}, "B": {"ANSWERED"}}
        eventually(lambda: EngineCall.objects.get(engine="A", kind="RECOMMENDATION").error)
    call = EngineCall.objects.get(engine="A", kind="RECOMMENDATION")
    assert "no whole answer within 3 s" in call.error
    assert 3 <= (call.latency or 0) < 5


def test_many_are_in_flight_up_to_the_concurrency_of_each_engine(engines: Engines) -> None:
    engines["A"].always(RECOMMEND, Behaviour(delay_seconds=0.3))
    for _ in range(12):
        make_signal()
    narrow = {"A": engines["A"].settings(concurrency=4), "B": engines["B"].settings()}
    began = time.monotonic()
    with override_settings(ENGINES=narrow):
        work_once()
    assert time.monotonic() - began >= 0.9
    assert (answered("A"), answered("B")) == (12, 12)
    came = sorted(request.at for request in engines["A"].requests_of(RECOMMEND))
    assert all(later - earlier >= 0.25 for earlier, later in zip(came, came[4:], strict=False))
    assert any(later - earlier < 0.3 for earlier, later in zip(came, came[3:], strict=False))  # four at once


# Health


@pytest.mark.requirement("3.3")
@pytest.mark.parametrize(
    "sick",
    [Behaviour(status=500), Behaviour(body="ok"), Behaviour(body='{"status":"down"}'), Behaviour(reset=True)],
)
def test_an_engine_that_is_not_well_is_unavailable_from_the_first_decision_on(
    engines: Engines, sick: Behaviour
) -> None:
    engines["A"].always(HEALTH, sick)
    make_signal()
    work_once()
    policy = ExecutionPolicy.objects.get()
    assert (policy.execution_mode, policy.reason_code) == ("SHADOW_ONLY", "ENGINE_A_UNAVAILABLE")
    health = EngineHealth.objects.get(engine="A")
    assert (health.ok, bool(health.detail)) == (False, True)
    assert EngineHealth.objects.get(engine="B").ok
    assert ExecutionPermit.objects.count() == 0
    assert set(ShadowTrade.objects.values_list("engine", "purpose")) == {("A", "SHADOW"), ("B", "SHADOW")}


def test_an_engine_that_failed_is_probed_again_soon(engines: Engines) -> None:
    engines["A"].will(HEALTH, Behaviour(status=500))
    with override_settings(ENGINE_PROBE_SECONDS=3600), working(poll_interval=30):
        probes = engines["A"].wait_for(HEALTH, count=2)
        eventually(lambda: EngineHealth.objects.get(engine="A").ok)
        assert all(0.5 < later.at - one.at < 3 for one, later in pairwise(probes))
        engines["B"].will(RECOMMEND, Behaviour(reset=True))
        make_signal()
        wake_workers()
        engines["B"].wait_for(RECOMMEND)
        engines["B"].wait_for(HEALTH, count=2, seconds=5)
    assert len(engines["B"].requests_of(HEALTH)) == 2


def test_probes_keep_on_however_long_the_poll_interval(engines: Engines) -> None:
    with override_settings(ENGINE_PROBE_SECONDS=0.3), working(poll_interval=3600):
        engines["A"].wait_for(HEALTH, count=4, seconds=5)
    make_signal()


def test_what_is_known_of_the_engines_is_renewed_before_deciding_when_it_has_grown_old(engines: Engines) -> None:
    worker = make_worker(once=True)
    worker._known_at = {}
    make_health("A", checked_at=database_clock() - timedelta(hours=1))
    make_signal()
    worker.run()
    assert ExecutionPolicy.objects.get().reason_code == "PAPER_ENGINE_A"


def test_a_probe_that_was_held_up_is_stored_as_old_as_it_is(engines: Engines) -> None:
    worker = make_worker()
    well = Reply(200, b'{"status":"ok"}')
    worker._unrecorded = [Answered(Probe(Engine.A), Engine.A, well, time.monotonic() - 40, 0.1)]
    worker._record_answers()
    worker._dispatcher.close()
    known = EngineHealth.objects.get()
    assert known.ok
    assert 40 <= (database_clock() - known.checked_at).total_seconds() < 42


# Waking up and sharing


def test_a_notification_wakes_the_worker_well_before_its_poll_interval(engines: Engines) -> None:
    with override_settings(ENGINE_PROBE_SECONDS=3600), working(poll_interval=3600):
        engines["A"].wait_for(HEALTH)
        eventually(WorkerHeartbeat.objects.exists)
        time.sleep(0.3)  # it listens and sleeps
        began = time.monotonic()
        make_signal()
        wake_workers()
        engines["B"].wait_for(RECOMMEND)
        assert time.monotonic() - began < 5


@pytest.mark.requirement("10.1", "10.4", "property-6", "property-12")
def test_two_workers_share_the_work_and_do_nothing_twice(engines: Engines) -> None:
    with working(batch_size=3), working(batch_size=5):
        for _ in range(30):
            make_signal()
        eventually(lambda: Experiment.objects.count() == 30 and is_settled(), seconds=20)
    for model in (Experiment, MarketContext, ExecutionPolicy, RealTrade):
        assert model._default_manager.count() == 30
    assert (answered("A"), answered("B")) == (30, 30)
    for engine in engines.values():
        assert len({request.key for request in engine.requests_of(RECOMMEND)}) == 30
        assert len(engine.requests_of(RECOMMEND)) == 30
    assert len(engines["A"].executions) == len(set(engines["A"].executions)) == 30
    assert Incident.objects.count() == 0


@pytest.mark.requirement("12.2", "property-32")
def test_a_running_worker_uses_changed_settings_for_the_next_signal(engines: Engines) -> None:
    with working():
        for changes, mode in (
            ({}, "ENGINE_A_PRIMARY"),
            ({"EXECUTION_MODE": "ENGINE_B_PRIMARY"}, "ENGINE_B_PRIMARY"),
            ({"TRADING_HALTED": True}, "SHADOW_ONLY"),
        ):
            if changes:
                record_revision(changes, changed_by="operator")
            signal = make_signal()
            eventually(is_settled)
            assert ExecutionPolicy.objects.get(experiment__signal=signal).execution_mode == mode
    assert list(RealTrade.objects.order_by("trade_id").values_list("engine", flat=True)) == ["A", "B"]


# Stopping, once, and what goes wrong


def test_stopping_finishes_what_is_in_hand(engines: Engines) -> None:
    engines["A"].always(RECOMMEND, Behaviour(delay_seconds=1))
    make_signal()
    with working() as worker:
        engines["A"].wait_for(RECOMMEND)
        worker.stop()
        stopped_at = time.monotonic()
    assert 0.3 < time.monotonic() - stopped_at < 4
    assert answered("A") == 1
    assert ExecutionPermit.objects.get().state == "GRANTED"  # nothing new is begun
    heartbeat = WorkerHeartbeat.objects.get()
    assert heartbeat.stopped_at is not None


def test_once_ends_when_nothing_is_due_and_does_not_wait_for_what_is_later(engines: Engines) -> None:
    engines["A"].always(RECOMMEND, Behaviour(status=503))
    make_signal()
    began = time.monotonic()
    work_once(poll_interval=5.0)
    assert time.monotonic() - began < 4
    assert states() == {"A": {"PENDING"}, "B": {"ANSWERED"}}


def test_once_with_nothing_to_do_ends_at_once(engines: Engines) -> None:
    began = time.monotonic()
    work_once(poll_interval=30.0)
    assert time.monotonic() - began < 3
    assert Experiment.objects.count() == 0


def test_an_idle_worker_looks_around_once_per_poll_interval(engines: Engines) -> None:
    looks: list[float] = []

    def look() -> int:
        looks.append(time.monotonic())
        return 0

    worker = Worker(Options(poll_interval=0.25), steps=(look,))
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    time.sleep(2)
    worker.stop()
    thread.join(20)
    assert 4 <= len(looks) <= 11


def failing(message: str) -> Callable[[], int]:
    def cursed_step() -> int:
        raise RuntimeError(message)

    return cursed_step


@pytest.mark.requirement("11.5", "property-31")
def test_a_step_that_fails_rests_and_the_others_go_on(engines: Engines, log_lines: LogLines) -> None:
    make_signal()
    worker = Worker(Options(poll_interval=0.05), steps=(failing("the step is cursed"),), sweeps=(failing("and this"),))
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        eventually(is_settled)
        eventually(lambda: len(log_lines.of("worker.step_failed")) >= 4)
    finally:
        worker.stop()
        thread.join(20)
    assert RealTrade.objects.count() == 1
    errors = log_lines.of("worker.step_failed")
    assert {line["step"] for line in errors} == {"cursed_step"}
    assert {line["error_type"] for line in errors} == {"RuntimeError"}
    assert all("Traceback" in line["stack"] for line in errors)
    assert len(errors) < 20


def test_once_tells_which_step_failed_after_doing_the_rest(engines: Engines) -> None:
    make_signal()
    worker = Worker(Options(once=True, poll_interval=0.05), steps=(failing("cursed"),))
    with pytest.raises(StepFailed, match="cursed_step"):
        worker.run()
    assert RealTrade.objects.count() == 1


def cut_all_connections() -> int:
    """End every connection to the test database but the one that asks."""
    own = connections.create_connection("default")
    try:
        with own.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return int(cursor.fetchone()[0])
    finally:
        own.close()


def test_a_database_that_is_lost_again_and_again_is_survived(engines: Engines, log_lines: LogLines) -> None:
    engines["A"].always(RECOMMEND, Behaviour(delay_seconds=0.2))
    with override_settings(LEASE_SECONDS=1), working():
        for _ in range(6):
            eventually(stored_a_signal)  # this thread's connections are cut as well
            connection.close()
            assert cut_all_connections() > 0
            time.sleep(0.15)
        eventually(six_are_settled, seconds=25)
    assert (answered("A"), answered("B")) == (6, 6)
    assert Experiment.objects.count() == ExecutionPolicy.objects.count() == 6
    assert len(engines["A"].executions) == len(set(engines["A"].executions)) == RealTrade.objects.count()
    assert ExecutionPermit.objects.exclude(state__in=["EXECUTED", "UNKNOWN"]).count() == 0
    assert log_lines.of("database.lost") or log_lines.of("listener.lost")
    assert not log_lines.of("worker.step_failed")
    assert not Signal.objects.parked().exists()


def six_are_settled() -> bool:
    try:
        return Experiment.objects.count() == 6 and is_settled()
    except OperationalError:
        connection.close()
        return False


def stored_a_signal() -> bool:
    try:
        make_signal()
    except OperationalError:
        connection.close()
        return False
    return True


def test_a_worker_without_a_database_stops_when_it_is_told_to(engines: Engines, log_lines: LogLines) -> None:
    worker = make_worker()
    answers = iter([0.0])

    def lost() -> int:
        raise OperationalError(f"the server went away {next(answers, 1)}")

    worker._steps = (lost,)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    eventually(lambda: len(log_lines.of("database.lost")) >= 3)
    pauses = [line["retry_in_seconds"] for line in log_lines.of("database.lost")]
    assert pauses[:3] == [0.2, 0.4, 0.8]
    began = time.monotonic()
    worker.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert time.monotonic() - began < 3


# The log and the heartbeat


@pytest.mark.requirement("11.5", "property-31")
def test_every_line_of_a_step_names_its_signal_and_experiment(engines: Engines, log_lines: LogLines) -> None:
    engines["A"].will(RECOMMEND, Behaviour(status=503))
    engines["B"].always(RECOMMEND, Behaviour(body="garbage"))
    signal = make_signal()
    with working():
        eventually(is_settled)
    experiment = Experiment.objects.get()
    steps = [line for line in log_lines if line["event"].partition(".")[0] not in ("worker", "listener", "batch")]
    assert {line["event"] for line in steps} == {
        "signal.retrieved",
        "context.captured",
        "experiment.created",
        "policy.applied",
        "engine.called",
        "engine.failed",
        "engine.answered",
        "shadow_trade.created",
        "permit.armed",
        "permit.resolved",
        "trade.opened",
    }
    for line in steps:
        assert line["signal_id"] == str(signal.pk), line
        assert line["event"] == "signal.retrieved" or line["experiment_id"] == str(experiment.pk), line
    for line in log_lines.of("engine.failed"):
        assert {"error_type", "error_message", "stack", "engine", "kind"} <= set(line)
    assert [line["event"] for line in log_lines if line["event"].startswith("worker.")] == [
        "worker.started",
        "worker.stopped",
    ]


def test_no_line_carries_a_secret_or_a_raw_body(engines: Engines, log_lines: LogLines) -> None:
    make_signal(payload={"close": 1, "note": "only-in-the-body"})
    work_once()
    printed = json.dumps(list(log_lines))
    assert "only-in-the-body" not in printed
    assert not any(secret in printed for engine in settings.ENGINES.values() for secret in engine.secrets)


def test_a_heartbeat_begins_anew_with_each_start(engines: Engines) -> None:
    work_once()
    first = WorkerHeartbeat.objects.get()
    assert first.stopped_at is not None
    with working():
        eventually(lambda: WorkerHeartbeat.objects.get().stopped_at is None)
        second = WorkerHeartbeat.objects.get()
        assert (second.pk, second.name) == (first.pk, first.name)
        assert second.started_at > first.stopped_at


def test_engines_without_an_address_are_unavailable_and_their_calls_wait(engines: Engines) -> None:
    nowhere: dict[str, Any] = {name: replace(engine.settings(), url="") for name, engine in engines.items()}
    make_signal()
    with override_settings(ENGINES=nowhere):
        work_once()
    assert ExecutionPolicy.objects.get().reason_code == "ENGINE_A_UNAVAILABLE"
    assert states() == {"A": {"PENDING"}, "B": {"PENDING"}}
    assert "set ENGINE_A_URL" in EngineCall.objects.get(engine="A").error
