"""``manage.py run_orchestrator`` as processes: it drains, shares, stops when told to, and says in a sentence what is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from config.database import current_url
from orchestrator.models import (
    EngineCall,
    ExecutionPolicy,
    Experiment,
    Incident,
    MarketContext,
    RealTrade,
    Recommendation,
    WorkerHeartbeat,
)
from orchestrator.queue import database_clock
from tests.engine_server import RECOMMEND, Behaviour, EngineServer
from tests.factories import make_signal
from tests.waiting import eventually
from tests.working import Engines, answered, is_settled
from webhooks.models import Signal

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
Start = Callable[..., "Started"]


def environment(engines: Engines, folder: Path, **settings: str) -> dict[str, str]:
    """Return what a worker process is started with: these engines and the database of the tests."""
    found = {"PATH": os.environ["PATH"], "RUN_DIR": str(folder), "DATABASE_URL": current_url(connection.settings_dict)}
    for name, engine in engines.items():
        found |= {
            f"ENGINE_{name}_URL": engine.url,
            f"ENGINE_{name}_SECRET": engine.secret,
            f"ENGINE_{name}_TIMEOUT_SECONDS": "5",
        }
    return found | settings


@pytest.fixture
def start(engine_a: EngineServer, engine_b: EngineServer, tmp_path: Path) -> Iterator[Start]:
    """Start workers as processes; none is left behind."""
    started: list[Started] = []

    def begin(*arguments: str, **settings: str) -> Started:
        out, err = (tmp_path / f"{len(started)}.{stream}" for stream in ("out", "err"))
        with out.open("w") as to_out, err.open("w") as to_err:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "run_orchestrator", "--poll-interval", "0.1", *arguments],
                cwd=ROOT,
                env=environment({"A": engine_a, "B": engine_b}, tmp_path, **settings),
                stdout=to_out,
                stderr=to_err,
            )
        started.append(Started(process, out, err))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait(timeout=10)


@dataclass(frozen=True, slots=True)
class Started:
    """A worker's process; what it prints goes to files, so that it never waits for somebody to read it."""

    process: "subprocess.Popen[bytes]"
    out: Path
    err: Path

    def events(self) -> list[dict[str, Any]]:
        """Return the whole lines that it has logged so far."""
        return [json.loads(line) for line in self.err.read_text().splitlines(keepends=True) if line.endswith("\n")]


def ended(started: Started, *, seconds: float = 30) -> tuple[int, str, str]:
    """Return the exit code, standard output and standard error of a process that ends by itself."""
    code = started.process.wait(timeout=seconds)
    return code, started.out.read_text(), started.err.read_text()


def is_working() -> bool:
    return WorkerHeartbeat.objects.filter(stopped_at=None).exists()


def test_once_drains_and_exits_0_with_one_json_object_a_line(start: Start, engine_a: EngineServer) -> None:
    for _ in range(20):
        make_signal()
    worker = start("--once", "--batch-size", "7", ENGINE_B_URL="python:tests.python_engines:AsyncEngine")
    assert ended(worker)[:2] == (0, "")
    logged = [line["event"] for line in worker.events()]
    assert (logged[0], logged[-1]) == ("worker.started", "worker.stopped")
    assert logged.count("experiment.created") == 20
    assert is_settled()
    assert (answered("A"), answered("B"), RealTrade.objects.count()) == (20, 20, 20)
    assert len(engine_a.requests_of(RECOMMEND)) == 20
    assert WorkerHeartbeat.objects.get().stopped_at is not None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_being_told_to_stop_finishes_what_is_in_hand_and_exits_0(
    start: Start, engine_a: EngineServer, engine_b: EngineServer, number: signal.Signals
) -> None:
    engine_a.always(RECOMMEND, Behaviour(delay_seconds=1.5))
    for _ in range(5):
        make_signal()
    worker = start()
    engine_a.wait_for(RECOMMEND, count=5, seconds=20)
    engine_b.wait_for(RECOMMEND, count=5)
    worker.process.send_signal(number)
    began = time.monotonic()
    code, _, err = ended(worker)
    assert code == 0, err
    assert 0.5 < time.monotonic() - began < 6
    assert (answered("A"), answered("B")) == (5, 5)
    assert not any("stack" in line for line in worker.events())
    assert Experiment.objects.count() == 5
    assert not is_working()


@pytest.mark.requirement("10.1", "10.2", "property-6", "property-12", "property-13", "2.1", "3.5")
def test_processes_share_the_work_and_make_one_experiment_of_each_signal(
    start: Start, engine_a: EngineServer, engine_b: EngineServer
) -> None:
    for _ in range(60):
        make_signal()
    workers = [start("--batch-size", "4"), start("--batch-size", "5"), start("--batch-size", "6")]
    eventually(lambda: Experiment.objects.count() == 60 and is_settled(), seconds=30)
    for worker in workers:
        worker.process.terminate()
    assert [ended(worker)[0] for worker in workers] == [0, 0, 0]
    for model in (Experiment, MarketContext, ExecutionPolicy, RealTrade):
        assert model._default_manager.count() == 60
    assert Recommendation.objects.count() == 120
    assert len(engine_a.executions) == len(set(engine_a.executions)) == 60
    assert engine_b.executions == []
    assert Incident.objects.count() == 0
    assert Signal.objects.filter(processed=True, attempts=1).count() == 60


@pytest.mark.requirement("property-26", "property-6")
def test_what_a_killed_worker_held_is_finished_by_another(start: Start, engine_a: EngineServer) -> None:
    engine_a.will(RECOMMEND, *[Behaviour(delay_seconds=60)] * 3)
    for _ in range(3):
        make_signal()
    victim = start()
    engine_a.wait_for(RECOMMEND, count=3, seconds=20)
    victim.process.kill()
    victim.process.wait(timeout=10)
    held = EngineCall.objects.filter(engine="A", state="SENT")
    assert held.count() == 3
    assert all(call.lease_expires_at and call.lease_expires_at > database_clock() for call in held)
    held.update(lease_expires_at=database_clock(), next_attempt_at=database_clock())  # time goes by
    code, _, err = ended(start("--once"))
    assert code == 0, err
    assert (answered("A"), Experiment.objects.count(), RealTrade.objects.count()) == (3, 3, 3)
    assert len(engine_a.requests_of(RECOMMEND)) == 6
    assert len({request.key for request in engine_a.requests_of(RECOMMEND)}) == 3


def test_a_worker_that_finds_no_database_waits_for_it_and_stops_when_it_is_told_to(start: Start) -> None:
    worker = start(DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")
    eventually(lambda: "database.lost" in [line["event"] for line in worker.events()], seconds=20)
    worker.process.terminate()
    code, _, err = ended(worker, seconds=15)
    assert code == 0, err
    assert worker.events()[-1]["event"] == "worker.stopped"


# Senseless arguments and settings


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--batch-size", "0"], "--batch-size is 0. Accepted: 1 to 5000."),
        (["--batch-size", "-5"], "--batch-size is -5. Accepted: 1 to 5000."),
        (["--batch-size", "many"], "invalid int value: 'many'"),
        (["--batch-size", "1.5"], "invalid int value: '1.5'"),
        (["--poll-interval", "0"], "--poll-interval is 0.0. Accepted: 0.01 to 3600."),
        (["--poll-interval", "nan"], "--poll-interval is nan. Accepted: 0.01 to 3600."),
        (["--poll-interval", "inf"], "--poll-interval is inf. Accepted: 0.01 to 3600."),
        (["--concurrency", "0"], "--concurrency is 0. Accepted: 1 to 1000."),
        (["--concurrency", "1001"], "--concurrency is 1001. Accepted: 1 to 1000."),
        (["--forever"], "unrecognized arguments: --forever"),
        (["now"], "unrecognized arguments: now"),
    ],
)
def test_a_senseless_argument_is_refused_with_a_sentence(arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=r".") as refused:
        call_command("run_orchestrator", *arguments)
    assert sentence in str(refused.value)


def empty_database() -> str:
    """Make a database without tables beside that of the tests, and return its address."""
    name = f"{connection.settings_dict['NAME']}_empty"
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}"')
    return current_url({**connection.settings_dict, "NAME": name})


def test_what_keeps_it_from_starting_is_told_without_a_traceback(start: Start) -> None:
    unmigrated = start("--once", DATABASE_URL=empty_database())
    nowhere = start("--once", ENGINE_B_URL="python:tests.nowhere:Engine")
    senseless = start("--once", "--batch-size", "0")
    try:
        for worker, sentence in (
            (unmigrated, "run manage.py migrate first"),
            (nowhere, "ENGINE_B_URL is 'python:tests.nowhere:Engine', but that engine cannot be made"),
            (senseless, "--batch-size is 0. Accepted: 1 to 5000."),
        ):
            code, out, err = ended(worker)
            assert code == 1
            assert sentence in err
            assert "Traceback" not in out + err
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{connection.settings_dict["NAME"]}_empty" WITH (FORCE)')


def test_the_handlers_of_signals_are_given_back(engines: Engines) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    call_command("run_orchestrator", "--once")
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
