"""Poison: what always fails, or takes its connection or its worker along, is parked, and the healthy hardly notice it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from statistics import quantiles
from typing import Any

import pytest
from django.db import connection

from config.keys import new_key
from orchestrator.models import EngineCall, Incident, RealTrade, Recommendation
from orchestrator.queue import database_clock, in_seconds
from tests.deadly_worker import EXIT_CODE, IN_ITS_CONTEXT, WHEN_ASKED
from tests.engine_server import EngineServer
from tests.factories import make_signal
from tests.integration.test_run_orchestrator import ROOT, Start, ended, environment, start
from tests.waiting import eventually
from webhooks.models import Signal

__all__ = ["start"]  # a fixture

# the whole measurement: POISON_BESIDE=2000 make test ARGS="tests/integration/test_poison.py -rP"
HEALTHY = int(os.environ.get("POISON_BESIDE", "200"))
EVERY = 100
# short bursts scatter
TURNS, MOST = (1, 2.0) if HEALTHY > 1000 else (2, 3.0)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hostile_database() -> Iterator[None]:
    """Let the database refuse one symbol at the end of its transaction, and end the connection that brings another."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'poison'; END $$;
            CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$
              BEGIN PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(5); RETURN NEW; END $$;
            CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON market_contexts DEFERRABLE INITIALLY DEFERRED
              FOR EACH ROW WHEN (NEW.symbol = 'REFUSED') EXECUTE FUNCTION refuse();
            CREATE TRIGGER cut BEFORE INSERT ON market_contexts
              FOR EACH ROW WHEN (NEW.symbol = 'CUT') EXECUTE FUNCTION cut();
            """
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION refuse() CASCADE; DROP FUNCTION cut() CASCADE")


def burst(healthy: int, *, poison_every: int = 0, first: int = 0) -> list[Signal]:
    """Store signals all at once, among them every so often a poisonous one, its kinds in turn; return the healthy."""
    model, at = make_signal(), database_clock()
    fine = [copy_of(model, received_at=at) for _ in range(healthy - 1)]
    poison = ({"raw_payload": {}, "raw_body": '{"close": '}, {"symbol": "REFUSED"}, {"symbol": "CUT"})
    rows: list[Signal] = []
    for place, signal in enumerate(fine):
        rows.append(signal)
        if poison_every and place % poison_every == poison_every // 2:
            changes = poison[(first + place // poison_every) % len(poison)]
            rows.append(copy_of(model, received_at=at, **changes))
    Signal.objects.bulk_create(rows)
    return [model, *fine]


def copy_of(model: Signal, **changes: Any) -> Signal:
    values = {field.name: getattr(model, field.name) for field in Signal._meta.concrete_fields}
    key = new_key()
    return Signal(**(values | {"signal_id": key, "signal_hash": sha256(key.bytes).hexdigest()} | changes))


def seconds_to_the_trade(signals: list[Signal]) -> list[float]:
    """Wait until each of these signals has its real trade, and return how long after its arrival that was."""
    ids = [signal.pk for signal in signals]
    trades = RealTrade.objects.filter(experiment__signal__in=ids)
    eventually(lambda: trades.count() == len(ids), seconds=300)
    return [
        (created - received).total_seconds()
        for created, received in trades.values_list("created_at", "experiment__signal__received_at")
    ]


def p99(values: list[float]) -> float:
    return quantiles(values, n=100)[98]


@pytest.mark.usefixtures("hostile_database")
def test_poison_less_than_doubles_the_time_from_alert_to_trade_of_the_healthy(
    start: Start, engine_a: EngineServer, engine_b: EngineServer
) -> None:
    patient = {"ENGINE_A_TIMEOUT_SECONDS": "60", "EXECUTION_WINDOW_SECONDS": "600"}  # whatever the machine is doing
    worker = start(MAX_SIGNAL_ATTEMPTS="5", **patient)
    seconds_to_the_trade(burst(20))  # it has started
    alone, beside = [], []
    for turn in range(TURNS):
        alone.append(p99(seconds_to_the_trade(burst(HEALTHY))))
        beside.append(p99(seconds_to_the_trade(burst(HEALTHY, poison_every=EVERY, first=2 * turn))))
    number = TURNS * (HEALTHY // EVERY)
    ratio = min(beside) / min(alone)
    print(f"{HEALTHY} signals: p99 {min(alone):.2f} s alone, {min(beside):.2f} s beside {number // TURNS}; {ratio:.2f}")  # noqa: T201
    assert ratio < MOST, (alone, beside)

    def is_parked() -> bool:
        Signal.objects.unprocessed().update(next_attempt_at=None)  # time goes by
        return Signal.objects.parked().count() == number

    eventually(is_parked, seconds=60)
    assert Incident.objects.filter(kind="POISON_SIGNAL").count() == number
    assert set(Signal.objects.parked().values_list("attempts", flat=True)) == {5}
    worker.process.terminate()
    assert ended(worker)[0] == 0


def test_what_kills_its_worker_is_given_up_with_an_incident_and_takes_nobody_along(
    engine_a: EngineServer, engine_b: EngineServer, tmp_path: Path
) -> None:
    healthy = [make_signal() for _ in range(12)]
    in_its_context, when_asked = make_signal(symbol=IN_ITS_CONTEXT), make_signal(symbol=WHEN_ASKED)
    settings = {"MAX_SIGNAL_ATTEMPTS": "2", "ENGINE_B_URL": "python:tests.deadly_worker:DeadlyEngine"}
    codes: list[int] = []
    while not codes or codes[-1] == EXIT_CODE:
        done = subprocess.run(
            [sys.executable, "-m", "tests.deadly_worker", "--once", "--poll-interval", "0.1"],
            cwd=ROOT,
            env=environment({"A": engine_a, "B": engine_b}, tmp_path, **settings),
            capture_output=True,
            check=False,
            timeout=60,
        )
        codes.append(done.returncode)
        # time goes by: what the dead held is free again
        Signal.objects.unprocessed().update(lock_expires_at=in_seconds(-1), next_attempt_at=None)
        EngineCall.objects.exclude(lease="").update(lease_expires_at=in_seconds(-1), next_attempt_at=in_seconds(-1))
        assert len(codes) < 8, codes
    assert codes[-1] == 0, done.stderr
    assert codes.count(EXIT_CODE) == 4  # two attempts of each
    assert Signal.objects.parked().get().pk == in_its_context.pk
    assert Incident.objects.get(kind="POISON_SIGNAL").subject == str(in_its_context.pk)
    deadly = EngineCall.objects.get(experiment__signal=when_asked, engine="B", kind="RECOMMENDATION")
    assert (deadly.state, deadly.attempts) == ("FAILED", 2)
    assert Incident.objects.get(kind="POISON_WORK").subject == f"call:{deadly.pk}"
    for engine, its in (("A", [*healthy, when_asked]), ("B", healthy)):
        answered = Recommendation.objects.filter(engine=engine).values_list("experiment__signal_id", flat=True)
        assert set(answered) == {signal.pk for signal in its}
    assert len(engine_a.executions) == len(set(engine_a.executions)) <= len(healthy) + 1
    assert not EngineCall.objects.filter(kind="RECOMMENDATION", state__in=["PENDING", "SENT", "ACCEPTED"]).exists()
