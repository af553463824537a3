"""What monitoring asks: alive, ready, and how it is doing, quickly even when the database is away."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, connections
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from outcomes import observations
from tests.factories import (
    make_experiment,
    make_health,
    make_heartbeat,
    make_incident,
    make_outcome,
    make_permit,
    make_recommendation,
    make_shadow_trade,
    make_signal,
)

# The probes look through a connection of their own, so what they shall see has to be committed.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the probes at a port where nobody listens."""
    params = connection.get_connection_params()
    monkeypatch.setattr(
        connections["default"], "get_connection_params", lambda: {**params, "host": "127.0.0.1", "port": 1}
    )


def measures(client: Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return the samples of ``/metrics`` by name and labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def test_the_process_says_that_it_is_alive_without_asking_the_database(client: Client, unreachable: None) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_ready_tells_workers_engines_and_backlog_and_does_not_fail_on_them(client: Client) -> None:
    bare = client.get("/readyz")
    assert bare.status_code == 200
    assert bare.json()["worker"] == {"heartbeat_age_seconds": None, "workers": []}
    assert bare.json()["backlog"] == {"signals": 0, "oldest_age_seconds": 0}
    make_signal()
    make_experiment()
    make_health("A", ok=False, detail="connection refused")
    make_heartbeat(name="one", beat_at=datetime.now(UTC) - timedelta(seconds=5))
    make_heartbeat(name="gone", stopped_at=datetime.now(UTC))
    body = client.get("/readyz").json()
    assert (body["status"], body["database"], body["migrations"]) == ("ready", "ok", "ok")
    assert [worker["name"] for worker in body["worker"]["workers"]] == ["one"]
    assert 4 < body["worker"]["heartbeat_age_seconds"] < 60
    assert body["engines"]["A"]["ok"] is False
    assert body["backlog"]["signals"] == 1


def test_without_its_database_it_is_not_ready_and_says_so_at_once(client: Client, unreachable: None) -> None:
    started = time.monotonic()
    answer = client.get("/readyz")
    assert time.monotonic() - started < 3
    assert answer.status_code == 503
    assert answer.json()["database"] == "The database cannot be reached."


def test_a_missing_migration_is_named(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'outcomes' RETURNING app, name, applied")
        removed = cursor.fetchall()
        try:
            answer = client.get("/readyz")
        finally:
            cursor.executemany("INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, %s)", removed)
    assert answer.status_code == 503
    assert answer.json()["migrations"].startswith("Migrations are missing: outcomes.0001_initial")
    assert client.get("/readyz").status_code == 200


def test_the_measures_count_what_is_in_the_database(client: Client) -> None:
    make_signal()
    experiment = make_experiment(execution_mode="ENGINE_A_PRIMARY")
    make_recommendation(experiment, "A")
    make_permit(experiment, state="UNKNOWN")
    make_outcome(make_shadow_trade(experiment, "A"))
    make_incident(severity="CRITICAL")
    make_health("B")
    make_heartbeat(name="one")
    found = measures(client)
    assert found["orchestrator_database_up", ()] == 1
    assert found["orchestrator_signals", ()] == 2
    assert found["orchestrator_signals_unprocessed", ()] == 1
    assert found["orchestrator_signals_unprocessed_oldest_seconds", ()] > 0
    assert found["orchestrator_experiments", ()] == 1
    assert found["orchestrator_experiments_recent", (("mode", "ENGINE_A_PRIMARY"),)] == 1
    assert found["orchestrator_experiments_recent", (("mode", "SHADOW_ONLY"),)] == 0
    calls = {labels: value for (name, labels), value in found.items() if name == "orchestrator_engine_calls"}
    assert calls == {
        (("engine", "A"), ("kind", "RECOMMENDATION"), ("state", "ANSWERED")): 1,
        (("engine", "B"), ("kind", "RECOMMENDATION"), ("state", "PENDING")): 1,
    }
    assert found["orchestrator_permits", (("state", "UNKNOWN"),)] == 1
    assert found["orchestrator_permits", (("state", "EXECUTED"),)] == 0
    assert found["orchestrator_incidents_open", (("severity", "CRITICAL"),)] == 1
    assert found["orchestrator_outcomes", (("engine", "A"), ("kind", "twin"))] == 1
    assert found["orchestrator_outcomes_pnl", (("engine", "A"), ("kind", "twin"))] == 150
    assert found["orchestrator_worker_heartbeat_age_seconds", (("worker", "one"),)] >= 0
    assert found["orchestrator_engine_up", (("engine", "B"),)] == 1


def test_the_measures_without_a_database_say_that_it_is_down(client: Client, unreachable: None) -> None:
    found = measures(client)
    assert found.pop(("orchestrator_database_up", ())) == 0
    assert all("spool" in name or "webhook" in name for name, _ in found)  # which lie on this machine's disk


def test_no_measure_walks_through_the_history() -> None:
    """Every statement is limited, or reads a table that grows with days, engines, checks or workers."""
    limited = [
        sql
        for name, sql in vars(observations).items()
        if name.startswith("_") and isinstance(sql, str) and "SELECT" in sql
    ]
    assert len(limited) == 11
    small = ("daily_results", "engine_health", "engine_proofs")
    assert all("LIMIT" in sql or any(table in sql for table in small) for sql in limited)


@pytest.mark.parametrize("address", ["/healthz", "/readyz", "/metrics"])
def test_the_probes_take_no_posts(client: Client, address: str) -> None:
    assert client.post(address).status_code == 405
