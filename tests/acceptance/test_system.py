"""The whole system as processes of its own: web server, two workers, both reference engines, and alerts at full speed.

Afterwards the engines' own ledgers are compared with what the orchestrator recorded.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest

from config.quickstart.ports import claim_port
from config.server import server_command
from orchestrator.engines.reference.ledger import read_only
from orchestrator.models import (
    EngineCall,
    EngineEvent,
    EngineHealth,
    ExecutionPermit,
    Experiment,
    Incident,
    MarketContext,
    RealTrade,
    Recommendation,
    ShadowTrade,
)
from orchestrator.revisions import record_revision
from outcomes.models import ExitSync, RealTradeOutcome, ShadowTradeOutcome
from webhooks.models import Signal
from webhooks.services import create_source

PROJECT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-of-the-acceptance-test"
ALERTS = 200
SENDERS = 4
START_SECONDS = 30
QUIET_SECONDS = 60
END_SECONDS = 20


@dataclass
class System:
    """The running processes, with their logs and ledgers in ``folder``."""

    folder: Path
    environment: Mapping[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.environment["ORCHESTRATOR_URL"]

    def ledger(self, engine: str) -> Path:
        return self.folder / f"engine-{engine}.sqlite3"

    def start(self, name: str, *command: str) -> None:
        with self.log(name).open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *command], cwd=PROJECT, env=dict(self.environment), stdout=log, stderr=log
            )

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def check_alive(self) -> None:
        for name, process in self.processes.items():
            assert process.poll() is None, f"{name} has ended:\n{self.log(name).read_text()[-3000:]}"

    def end(self) -> dict[str, int | None]:
        """Ask every process to stop, what takes work in first, and return the exit codes."""
        codes: dict[str, int | None] = {}
        for name in sorted(self.processes, key=["web", "worker 1", "worker 2", "engine A", "engine B"].index):
            process = self.processes[name]
            process.send_signal(signal.SIGTERM)
            try:
                codes[name] = process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                codes[name] = None
        return codes

    def manage(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=PROJECT,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def system(database_url: str, tmp_path: Path) -> Iterator[System]:
    """Start everything as quickstart does, on a database of its own, with two workers."""
    web, engine_a, engine_b = (claim_port(0) for _ in range(3))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ENGINE_")}
    environment = inherited | {
        "DATABASE_URL": database_url,
        "RUN_DIR": str(tmp_path / "run"),
        "ORCHESTRATOR_URL": f"http://127.0.0.1:{web}",
        "PYTHONUNBUFFERED": "1",
    }
    for name, port in (("A", engine_a), ("B", engine_b)):
        secret = "whsec_" + b64encode(f"acceptance of engine {name} ...".encode()).decode()
        environment |= {f"ENGINE_{name}_URL": f"http://127.0.0.1:{port}", f"ENGINE_{name}_SECRET": secret}
        abilities = ("IDEMPOTENT", "QUERYABLE", "HONOURS_NOT_AFTER")
        environment |= {f"ENGINE_{name}_{ability}": "true" for ability in abilities}
    running = System(tmp_path, environment)
    create_source("default", TOKEN)
    record_revision({"EXECUTION_MODE": "SPLIT_CAPITAL", "SPLIT_PERCENTAGE": 50}, changed_by="test")
    try:
        for name, port in (("A", engine_a), ("B", engine_b)):
            ledger = ("--ledger", str(running.ledger(name)))
            running.start(f"engine {name}", "manage.py", "run_reference_engine", name, "--port", str(port), *ledger)
        running.start("web", *server_command("config.quickstart.web:application", host="127.0.0.1", port=web))
        for number in (1, 2):
            running.start(f"worker {number}", "manage.py", "run_orchestrator", "--poll-interval", "0.2")
        wait_until_ready(running)
        yield running
    finally:
        for process in running.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()


def wait_until_ready(system: System) -> None:
    """Wait until the pages answer and a worker has found both engines."""
    end = time.monotonic() + START_SECONDS
    with httpx2.Client(timeout=5, trust_env=False) as client:
        while time.monotonic() < end:
            system.check_alive()
            try:
                ready = client.get(f"{system.address}/readyz").json()
            except (httpx2.HTTPError, ValueError):
                ready = {}
            if "engine" in json.dumps(ready) and both_engines_are_there():
                return
            time.sleep(0.2)
    raise AssertionError("not ready in time: " + system.log("web").read_text()[-2000:])


def both_engines_are_there() -> bool:
    return EngineHealth.objects.filter(ok=True).count() == 2


def post_alerts(system: System, alerts: list[bytes]) -> list[dict[str, Any]]:
    """Post the alerts to the real webhook, a few at a time and as fast as they are answered."""
    with (
        httpx2.Client(timeout=10, trust_env=False) as client,
        ThreadPoolExecutor(SENDERS) as pool,
    ):
        answers = list(
            pool.map(lambda body: client.post(f"{system.address}/webhooks/tradingview/{TOKEN}/", content=body), alerts)
        )
    assert {answer.status_code for answer in answers} == {200}
    return [answer.json() for answer in answers]


def wait_until_quiet(system: System) -> None:
    """Wait until nothing is left to do, here or in an engine, for a whole second."""
    end, quiet_since = time.monotonic() + QUIET_SECONDS, 0.0
    while time.monotonic() < end:
        system.check_alive()
        if busy := what_is_busy(system):
            quiet_since = 0.0
        elif not quiet_since:
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since > 1:
            return
        time.sleep(0.2)
    raise AssertionError(f"still busy: {busy}")


def what_is_busy(system: System) -> dict[str, int]:
    counts = {
        "signals": Signal.objects.filter(processed=False).count(),
        "calls": EngineCall.objects.filter(state__in=["PENDING", "SENT", "ACCEPTED"]).count(),
        "permits": ExecutionPermit.objects.filter(state__in=["GRANTED", "ARMED", "UNKNOWN"]).count(),
        "events": EngineEvent.objects.filter(verdict=None).count(),
        "exits": ExitSync.objects.filter(state="PENDING").count(),
    }
    for engine in "AB":
        counts[f"outbox of {engine}"] = len(rows(system, engine, "SELECT 1 FROM events WHERE state = 'PENDING'"))
    return {name: count for name, count in counts.items() if count}


def rows(system: System, engine: str, query: str) -> list[sqlite3.Row]:
    with read_only(system.ledger(engine)) as ledger:
        return ledger.execute(query).fetchall()


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.requirement(
    *("1.3", "3.5", "4.1", "4.2", "5.1", "6.1", "9.1", "9.2", "9.3", "10.1"),
    *("property-3", "property-12", "property-14", "property-15", "property-17", "property-20"),
)
def test_two_hundred_alerts_leave_the_same_in_the_engines_ledgers_and_in_our_tables(system: System) -> None:
    alerts = (PROJECT / "orchestrator/samples/alerts.jsonl").read_bytes().splitlines()[:ALERTS]
    answers = post_alerts(system, alerts)
    wait_until_quiet(system)

    signals = {answer["signal_id"] for answer in answers if answer["signal_id"]}
    assert len(signals) == Signal.objects.count() == Experiment.objects.count() == MarketContext.objects.count()
    assert len(signals) > ALERTS * 0.9
    check_inputs(system)
    check_answers(system)
    check_executions(system)
    check_exits(system)
    check_shadow_trades(system)
    check_events(system)
    check_followers()
    assert not Incident.objects.unresolved().exists(), list(Incident.objects.unresolved().values("kind", "detail"))

    replayed = system.manage("replay_experiments")
    assert (replayed.returncode, replayed.stderr) == (0, "")
    assert f"{len(signals)} experiments, 0 differences" in replayed.stdout
    verified = system.manage("verify_invariants")
    assert verified.returncode == 0, verified.stdout
    assert "0 violations" in verified.stdout

    assert system.end() == dict.fromkeys(("web", "worker 1", "worker 2", "engine A", "engine B"), 0)
    for name in system.processes:
        assert "Traceback" not in system.log(name).read_text()


def check_inputs(system: System) -> None:
    """Both engines received, for every experiment, the very bytes that are stored, and hashed them the same."""
    stored = {
        str(context.signal.experiment.pk): (context.engine_input.encode(), context.context_hash)
        for context in MarketContext.objects.select_related("signal__experiment")
    }
    received = {
        engine: {
            row["experiment_id"]: (row["body"], row["input_hash"])
            for row in rows(system, engine, "SELECT experiment_id, body, input_hash FROM questions")
        }
        for engine in "AB"
    }
    assert received["A"] == received["B"] == stored
    assert all(sha256(body).hexdigest() == digest for body, digest in stored.values())
    calls = EngineCall.objects.filter(kind="RECOMMENDATION").values_list("experiment_id", "engine", "input_hash")
    assert {(str(key), engine): digest for key, engine, digest in calls} == {
        (key, engine): digest for key, (_, digest) in stored.items() for engine in "AB"
    }


def check_answers(system: System) -> None:
    """What an engine recommended is stored as it said it."""
    for engine in "AB":
        answered = {
            row["experiment_id"]: (row["action"], json.loads(row["body"]))
            for row in rows(system, engine, "SELECT experiment_id, action, body FROM answers")
        }
        recorded = {
            str(one.experiment_id): (one.action, json.loads(one.raw))
            for one in Recommendation.objects.filter(engine=engine)
        }
        assert recorded == answered
        assert {action for action, _ in recorded.values()} == {"OPEN", "PASS"}


def check_executions(system: System) -> None:
    """At most one engine filled each experiment, only for its permit, and its fill is the recorded trade."""
    filled: dict[str, str] = {}
    for engine in "AB":
        for row in rows(system, engine, "SELECT * FROM executions"):
            permit = ExecutionPermit.objects.get(pk=row["permit_id"])
            assert (permit.engine, str(permit.experiment_id)) == (engine, row["experiment_id"])
            assert permit.experiment.policy.executed_engine == engine
            if row["status"] != "FILLED":
                assert permit.state == "NOT_EXECUTED"
                continue
            assert row["experiment_id"] not in filled
            filled[row["experiment_id"]] = engine
            told = json.loads(row["answer"])["trade"]
            trade = RealTrade.objects.get(permit=permit)
            assert trade.authorised
            assert permit.state == "EXECUTED"
            assert (trade.external_id, trade.entry_time) == (told["external_id"], moment(told["entry_time"]))
            amounts = (trade.entry_price, trade.quantity, trade.fees)
            assert amounts == tuple(Decimal(told[name]) for name in ("entry_price", "quantity", "fees"))
    assert RealTrade.objects.count() == len(filled)
    assert set(filled.values()) == {"A", "B"}
    assert {str(key) for key in RealTrade.objects.values_list("experiment_id", flat=True)} == set(filled)


def check_exits(system: System) -> None:
    """Every exit of a ledger is the trade's outcome or its own exit, and no real trade was closed otherwise."""
    real = shadow = 0
    for engine in "AB":
        for row in rows(system, engine, "SELECT exits.*, kind FROM exits JOIN positions USING (position_id)"):
            told = (Decimal(row["exit_price"]), moment(row["exit_time"]), row["exit_reason"])
            if row["kind"] == "REAL":
                trade = RealTrade.objects.get(engine=engine, external_id=row["position_id"])
                outcome = trade.outcome
                assert outcome.market_conditions == json.loads(row["data"])["market_conditions"]
                assert outcome.fees == trade.fees + Decimal(json.loads(row["data"])["fees"])
                assert (outcome.exit_price, outcome.exit_time, outcome.exit_reason) == told
                real += 1
                continue
            follower = ShadowTrade.objects.get(pk=row["position_id"], engine=engine)
            own = (follower.own_exit_price, follower.own_exit_time, follower.own_exit_reason)
            if ExitSync.objects.filter(lead_trade_id=follower.pk).exists():
                left = follower.outcome
                own = (left.exit_price, left.exit_time, left.exit_reason)
            assert own == told
            shadow += 1
    assert real == RealTradeOutcome.objects.count() > 0
    assert shadow > 0


def check_shadow_trades(system: System) -> None:
    """Every engine was told of its shadow trades, and of the twins of what was not executed, on their own terms."""
    for engine in "AB":
        told = {
            row["trade_id"]: json.loads(row["body"])
            for row in rows(system, engine, "SELECT trade_id, body FROM shadow_trades WHERE body IS NOT NULL")
        }
        trades = ShadowTrade.objects.filter(engine=engine).select_related("experiment__permit")
        followed = {
            str(trade.pk): trade
            for trade in trades
            if trade.purpose == "SHADOW" or trade.experiment.permit.state != "EXECUTED"
        }
        assert set(told) == set(followed)
        assert told
        for trade_id, trade in followed.items():
            assert told[trade_id]["recommendation"] == trade.terms
            assert told[trade_id]["experiment_id"] == str(trade.experiment_id)
            assert Decimal(told[trade_id]["entry_price"]) == trade.entry_price
            assert moment(told[trade_id]["entry_time"]) == trade.entry_time


def check_events(system: System) -> None:
    """Every event of an outbox was acknowledged, is stored to the letter, and was applied."""
    for engine in "AB":
        sent = rows(system, engine, "SELECT message_id, type, body, state FROM events")
        assert {row["state"] for row in sent} <= {"ACKNOWLEDGED"}
        stored = {one.message_id: one for one in EngineEvent.objects.filter(engine=engine)}
        assert {row["message_id"]: (row["type"], row["body"]) for row in sent} == {
            key: (one.type, one.body) for key, one in stored.items()
        }
        assert {one.verdict for one in stored.values()} <= {"APPLIED", "DUPLICATE"}


def check_followers() -> None:
    """Every trade left with its lead, at the same time and under the same market conditions, or was never comparable."""
    closed = 0
    for sync in ExitSync.objects.all():
        for trade in ShadowTrade.objects.filter(experiment=sync.experiment_id).exclude(pk=sync.lead_trade_id):
            if trade.status == "VOID":
                assert trade.entry_time > sync.exit_time
                continue
            outcome = trade.outcome
            assert (outcome.exit_time, outcome.exit_reason) == (sync.exit_time, sync.exit_reason)
            assert outcome.market_conditions == sync.market_conditions
            closed += 1
    assert closed > 0
    assert ShadowTradeOutcome.objects.count() == ShadowTrade.objects.filter(status="CLOSED").count()
    assert RealTradeOutcome.objects.count() == RealTrade.objects.filter(status="CLOSED").count()
