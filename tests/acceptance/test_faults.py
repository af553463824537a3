"""A worker that is killed at a point around an order, and what the next worker makes of it: with real processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.db.models.functions import Now
from django.test import override_settings

from orchestrator.models import EngineCall, ExecutionPermit, Incident, RealTrade
from orchestrator.revisions import record_revision
from outcomes.invariants import violations
from tests.engine_server import EngineServer
from tests.factories import make_signal
from tests.working import work_once
from webhooks.models import Signal

PROJECT = Path(__file__).resolve().parents[2]
EVERYTHING = ("idempotent", "queryable", "honours_not_after")
# point: the permit after the next worker, and how often the engine may have executed, when the engine claims nothing
KILLED_AT = {
    "signal.claim:after_commit": ("EXECUTED", {1}),
    "recommend:after_receive": ("EXECUTED", {1}),
    "permit.arm:before_commit": ("EXECUTED", {1}),
    "permit.arm:after_commit": ("UNKNOWN", {0}),
    "execute:before_send": ("UNKNOWN", {0}),
    "execute:after_send": ("UNKNOWN", {0, 1}),
    "execute:after_receive": ("UNKNOWN", {1}),
    "permit.fill:before_commit": ("UNKNOWN", {1}),
    "permit.fill:after_commit": ("EXECUTED", {1}),
}


@pytest.mark.parametrize("claims", [(), EVERYTHING], ids=["claims nothing", "claims everything"])
def test_a_worker_killed_around_an_order_neither_doubles_nor_loses_it(
    claims: tuple[str, ...], database_url: str, tmp_path: Path
) -> None:
    able = dict.fromkeys(claims, True)
    record_revision({"EXECUTION_MODE": "ENGINE_A_PRIMARY"}, changed_by="test")
    with (
        EngineServer("A", idempotent=bool(claims), honours_not_after=bool(claims)) as engine_a,
        EngineServer("B") as engine_b,
        override_settings(ENGINES={"A": engine_a.settings(**able), "B": engine_b.settings()}),
    ):
        for point, (state, counts) in KILLED_AT.items():
            alert = make_signal()
            kill_a_worker(point, database_url, {"A": engine_a, "B": engine_b}, claims=claims, log=tmp_path / "log")
            for _ in range(2):  # doubted first, then asked about or sent again
                let_time_pass()
                work_once()
            permit = ExecutionPermit.objects.get(experiment__signal=alert)
            executed = engine_a.executions.count(str(permit.pk))
            assert permit.state == ("EXECUTED" if claims else state), point
            assert executed in ({1} if claims else counts), point
            assert RealTrade.objects.filter(permit=permit).count() == (permit.state == "EXECUTED"), point
            is_told = Incident.objects.unresolved().filter(permit=permit, kind="UNKNOWN_EXECUTION").exists()
            assert is_told == (permit.state == "UNKNOWN"), point
        assert engine_b.executions == []
    assert violations() == []


def kill_a_worker(
    point: str, database_url: str, engines: dict[str, EngineServer], *, claims: tuple[str, ...], log: Path
) -> None:
    """Run a worker process that is killed at the point."""
    environment = os.environ | {"DATABASE_URL": database_url, "DEBUG": "true", "FAULT_POINTS": f"{point}=kill"}
    for name, engine in engines.items():
        environment |= {f"ENGINE_{name}_URL": engine.url, f"ENGINE_{name}_SECRET": engine.secret}
    environment |= {f"ENGINE_A_{claim.upper()}": "true" for claim in claims}
    with log.open("wb") as file:
        ended = subprocess.run(
            [sys.executable, "manage.py", "run_orchestrator", "--once"],
            cwd=PROJECT,
            env=environment,
            stdout=file,
            stderr=file,
            timeout=60,
            check=False,
        )
    assert ended.returncode == -signal.SIGKILL, f"{point}: {log.read_text()[-2000:]}"


def let_time_pass() -> None:
    """Let the time pass that the dead worker's leases still have, and that is waited before asking again."""
    Signal.objects.unprocessed().update(lock_expires_at=Now(), next_attempt_at=Now())
    EngineCall.objects.filter(state__in=["PENDING", "SENT", "ACCEPTED"]).update(
        lease_expires_at=Now(), next_attempt_at=Now()
    )
    ExecutionPermit.objects.filter(state__in=["ARMED", "UNKNOWN"]).update(lease_expires_at=Now(), next_attempt_at=Now())
