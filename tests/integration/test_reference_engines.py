"""The reference engines as processes: signed requests over loopback, events to a listener of our own, kill -9 in between."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from standardwebhooks import Webhook

from orchestrator.domain.engine_input import SignalFacts, Snapshot, build_engine_input
from orchestrator.domain.recommendation import read_recommendation
from orchestrator.domain.vocabulary import Action
from orchestrator.engines.reference.ledger import read_only

ROOT = Path(__file__).resolve().parents[2]
SECRET = "whsec_" + b64encode(b"only the tests know this one....").decode()
OTHER_SECRET = "whsec_" + b64encode(b"and this one nobody should use..").decode()
FIRST_BAR = datetime(2008, 9, 2, 13, 30, tzinfo=UTC)


# The listener, in the orchestrator's place


@dataclass
class Receiver:
    """Keeps the events that were posted to it; ``status`` is what it answers."""

    url: str = ""
    status: int = 202
    paths: list[str] = field(default_factory=list)
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return the data of the events of one type, each message once."""
        return list(
            {message_id: event["data"] for message_id, event in self.messages if event["type"] == kind}.values()
        )


@contextmanager
def listening() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            event = Webhook(SECRET).verify(body, dict(self.headers.items()))
            receiver.paths.append(self.path)
            receiver.messages.append((self.headers["webhook-id"], event))
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as found:
        yield found


# The engine


def command(engine: str, ledger: Path, *options: str) -> list[str]:
    return [sys.executable, "manage.py", "run_reference_engine", engine, "--ledger", str(ledger), *options]


def environment(**overrides: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ENGINE_")}
    return inherited | {"ENGINE_A_SECRET": SECRET, "ENGINE_B_SECRET": SECRET} | overrides


@dataclass
class RunningEngine:
    """A started engine process and a client that signs."""

    process: subprocess.Popen[str]
    url: str
    ledger: Path
    client: httpx2.Client

    def send(
        self, method: str, path: str, body: bytes = b"", *, secret: str = SECRET, **headers: str
    ) -> httpx2.Response:
        """Send one signed request; ``headers`` with underscores for hyphens, an empty one is left out."""
        now, message_id = datetime.now(UTC), f"msg_{uuid4().hex}"
        signed = {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign(message_id, now, body.decode(errors="replace")),
        }
        members = signed | {name.replace("_", "-"): value for name, value in headers.items()}
        kept = {name: value for name, value in members.items() if value}
        return self.client.request(method, self.url + path, content=body, headers=kept)

    def post(self, path: str, message: dict[str, Any], *, key: str) -> httpx2.Response:
        return self.send("POST", path, json.dumps(message).encode(), idempotency_key=key)

    def ask(self, body: bytes) -> httpx2.Response:
        return self.send("POST", "/recommendations", body, idempotency_key=json.loads(body)["experiment_id"])

    def answer(self, body: bytes) -> dict[str, Any]:
        """Ask and return the answer, which an asynchronous engine gives later."""
        experiment_id = json.loads(body)["experiment_id"]
        response = self.ask(body)
        while response.status_code == 202:
            time.sleep(0.02)
            response = self.send("GET", f"/recommendations/{experiment_id}")
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def rows(self, query: str) -> list[dict[str, Any]]:
        with read_only(self.ledger) as ledger:
            return [dict(row) for row in ledger.execute(query)]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def stop(self) -> tuple[int, str]:
        """End it with SIGTERM; return its exit code and what it wrote to standard error."""
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=15)
        return self.process.returncode, errors


Start = Callable[..., RunningEngine]


@pytest.fixture
def start(tmp_path: Path, receiver: Receiver) -> Iterator[Start]:
    """Return what starts an engine: ``start("A", "--delay", "0")``; all are killed at the end."""
    started: list[RunningEngine] = []

    def start_engine(engine: str, *options: str, **env: str) -> RunningEngine:
        ledger = tmp_path / f"engine {engine}.sqlite3"
        process = subprocess.Popen(
            command(engine, ledger, "--port", "0", *options),
            cwd=ROOT,
            env=environment(**{"ORCHESTRATOR_URL": receiver.url} | env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            pytest.fail(process.communicate()[1])
        url = next(word for word in line.replace(",", " ").split() if word.startswith("http://"))
        started.append(RunningEngine(process, url, ledger, httpx2.Client(timeout=10, trust_env=False)))
        return started[-1]

    yield start_engine
    for one in started:
        one.client.close()
        if one.process.poll() is None:
            one.kill()
        else:
            one.process.communicate() if not (one.process.stdout and one.process.stdout.closed) else None


def question(
    *, day: int = 0, price: str | None = "1250", direction: str = "long", symbol: str = "SPX", **indicators: str
) -> bytes:
    """Return an engine input of a new experiment, ``day`` days after the first bar."""
    at, key = FIRST_BAR + timedelta(days=day), uuid4()
    facts = SignalFacts(key, sha256(key.bytes).hexdigest(), symbol, direction, "1D", at, {"note": "größer, 大"})
    market = Snapshot(None if price is None else Decimal(price), None, None, None, indicators)
    return build_engine_input(key, facts, market).encode()


def order(answer: dict[str, Any], **overrides: Any) -> dict[str, Any]:
    """Return an execution of what was recommended."""
    return {
        "permit_id": str(uuid4()),
        "experiment_id": answer["experiment_id"],
        "not_after": (datetime.now(UTC) + timedelta(seconds=30)).isoformat(),
        "app_mode": "PAPER",
        "recommendation": answer["recommendation"],
    } | overrides


def execute(engine: RunningEngine, message: dict[str, Any]) -> dict[str, Any]:
    response = engine.post("/executions", message, key=message["permit_id"])
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told


def shadow(answer: dict[str, Any], **overrides: Any) -> dict[str, Any]:
    return {
        "trade_id": str(uuid4()),
        "experiment_id": answer["experiment_id"],
        "entry_price": answer["recommendation"]["entry_price"],
        "entry_time": datetime.now(UTC).isoformat(),
        "quantity": answer["recommendation"]["quantity"],
        "recommendation": answer["recommendation"],
    } | overrides


def wait_for(condition: Callable[[], Any], *, seconds: float = 10) -> Any:
    until = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > until:
            pytest.fail("it did not happen in time")
        time.sleep(0.02)
    return found


# Questions and answers


def test_a_answers_202_and_then_by_a_signed_event(start: Start, receiver: Receiver) -> None:
    engine, body = start("A"), question(rsi="55", atr="20")
    experiment_id = json.loads(body)["experiment_id"]
    response = engine.ask(body)
    assert response.status_code == 202
    (data,) = wait_for(lambda: receiver.events("recommendation.completed"))
    assert receiver.paths == ["/api/v1/engines/A/events/"]
    assert data["input_hash"] == sha256(body).hexdigest()
    read = read_recommendation(json.dumps(data), experiment_id=UUID(experiment_id), input_hash=sha256(body).hexdigest())
    assert read.action == Action.OPEN
    assert engine.send("GET", f"/recommendations/{experiment_id}").json() == data
    assert engine.ask(body).json() == data
    (kept,) = engine.rows("SELECT * FROM questions")
    assert (kept["body"], kept["requests"]) == (body, 2)


def test_b_answers_in_the_response_after_its_delay_and_sends_no_event(start: Start, receiver: Receiver) -> None:
    engine, body = start("B", "--delay", "0.5"), question(sma_slow="1200")
    began = time.monotonic()
    response = engine.ask(body)
    assert time.monotonic() - began >= 0.5
    assert response.status_code == 200
    assert response.json()["recommendation"]["instrument"]["right"] == "CALL"
    assert engine.ask(body).json() == response.json()
    assert receiver.messages == []
    assert engine.rows("SELECT * FROM events") == []


@pytest.mark.parametrize("engine", ["A", "B"])
def test_an_engine_can_pass_with_a_reason(start: Start, engine: str) -> None:
    answer = start(engine).answer(question(price=None))
    assert answer["recommendation"] is None
    assert "price" in answer["reason"]


def test_the_same_question_at_once_gets_one_answer(start: Start) -> None:
    engine, body = start("B", "--delay", "0.1"), question()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: engine.ask(body).text, range(8)))
    assert len(set(answers)) == 1
    assert len(engine.rows("SELECT * FROM answers")) == 1
    assert engine.rows("SELECT requests FROM questions") == [{"requests": 8}]


def test_other_bytes_for_the_same_experiment_are_a_conflict(start: Start) -> None:
    engine, body = start("B"), question()
    assert engine.ask(body).status_code == 200
    assert engine.ask(body.replace(b"1250", b"1251")).status_code == 409


def test_a_question_nobody_asked_is_not_found(start: Start) -> None:
    assert start("B").send("GET", f"/recommendations/{uuid4()}").status_code == 404


# Executions


def test_a_permit_is_filled_once_however_often_it_comes(start: Start) -> None:
    engine = start("B")
    answer = engine.answer(question())
    message = order(answer)
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: json.dumps(execute(engine, message)), range(8)))
    assert len(set(told)) == 1
    fill = json.loads(told[0])
    assert fill["status"] == "FILLED"
    entry = Decimal(fill["trade"]["entry_price"])
    recommended = Decimal(answer["recommendation"]["entry_price"])
    assert entry == recommended + (recommended * Decimal("0.005")).quantize(Decimal("0.01"))
    assert Decimal(fill["trade"]["fees"]) == Decimal("0.65") * int(fill["trade"]["quantity"])
    assert engine.rows("SELECT attempts, status FROM executions") == [{"attempts": 8, "status": "FILLED"}]
    assert len(engine.rows("SELECT * FROM positions")) == 1
    assert engine.send("GET", f"/executions/{message['permit_id']}").json() == fill
    assert engine.send("GET", f"/executions/{uuid4()}").status_code == 404


def test_an_execution_after_its_deadline_is_rejected_and_stays_so(start: Start) -> None:
    engine = start("B")
    answer = engine.answer(question())
    late = order(answer, not_after=(datetime.now(UTC) - timedelta(seconds=1)).isoformat())
    rejected = execute(engine, late)
    assert rejected["status"] == "REJECTED"
    assert "not_after" in rejected["reason"]
    in_time = late | {"not_after": (datetime.now(UTC) + timedelta(minutes=5)).isoformat()}
    assert execute(engine, in_time) == rejected
    assert engine.rows("SELECT * FROM positions") == []


def test_an_engine_fills_only_its_own_recommendation_once_and_on_paper(start: Start) -> None:
    engine = start("B")
    answer = engine.answer(question())
    passed = engine.answer(question(price=None))
    altered = answer["recommendation"] | {"quantity": "100"}
    for message in (
        order(answer, recommendation=altered),
        order(answer, experiment_id=str(uuid4())),
        order(answer, experiment_id=passed["experiment_id"]),
        order(answer, app_mode="LIVE"),
    ):
        assert execute(engine, message)["status"] == "REJECTED"
    first = order(answer)
    assert execute(engine, first)["status"] == "FILLED"
    assert execute(engine, order(answer))["status"] == "REJECTED"
    stolen = order(passed, permit_id=first["permit_id"], recommendation={})
    assert engine.post("/executions", stolen, key=first["permit_id"]).status_code == 409
    assert len(engine.rows("SELECT * FROM executions WHERE status = 'FILLED'")) == 1


# Exits


def test_a_real_trade_exits_on_a_later_alert_and_is_reported_with_its_market(start: Start, receiver: Receiver) -> None:
    engine = start("B", "--delay", "0")
    answer = engine.answer(question())
    message = order(answer)
    fill = execute(engine, message)
    engine.answer(question(day=1, price="1255"))
    assert receiver.messages == []
    engine.answer(question(day=2, price="1400"))
    (data,) = wait_for(lambda: receiver.events("trade.exited"))
    assert data["experiment_id"] == answer["experiment_id"]
    assert data["trade"] == {"external_id": fill["trade"]["external_id"]}
    assert data["exit_reason"] == "take_profit"
    assert data["market_conditions"]["underlying_price"] == "1400"
    quote = data["market_conditions"]["quotes"][answer["recommendation"]["instrument"]["option_symbol"]]
    assert data["exit_price"] == quote["bid"]
    assert Decimal(quote["bid"]) < Decimal(quote["last"]) < Decimal(quote["ask"])
    assert Decimal(data["exit_price"]) > 145
    assert datetime.fromisoformat(data["exit_time"]) >= datetime.fromisoformat(fill["trade"]["entry_time"])
    assert engine.send("GET", f"/executions/{message['permit_id']}").json() == fill | {"exit": data}


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        ({"day": 3, "price": "1100"}, "stop_loss"),
        ({"day": 3, "price": "1400"}, "take_profit"),
        ({"day": 40, "price": "1265"}, "time_limit"),
    ],
)
def test_a_shadow_trade_exits_by_itself_without_an_external_id(
    start: Start, receiver: Receiver, later: dict[str, Any], reason: str
) -> None:
    engine = start("B", "--delay", "0")
    message = shadow(engine.answer(question()))
    assert engine.post("/shadow-trades", message, key=message["trade_id"]).status_code == 200
    assert engine.post("/shadow-trades", message, key=message["trade_id"]).status_code == 200
    engine.answer(question(symbol="IXIC", day=50, price="1"))
    engine.answer(question(**later))
    engine.answer(question(**later | {"day": later["day"] + 1}))
    (data,) = wait_for(lambda: receiver.events("trade.exited"))
    assert (data["trade"], data["exit_reason"], data["fees"]) == (None, reason, "0.00")
    assert data["experiment_id"] == message["experiment_id"]


def test_an_exit_is_never_before_its_entry(start: Start, receiver: Receiver) -> None:
    engine = start("B", "--delay", "0")
    ahead = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    message = shadow(engine.answer(question()), entry_time=ahead.isoformat())
    engine.post("/shadow-trades", message, key=message["trade_id"])
    engine.answer(question(day=1, price="1000"))
    (data,) = wait_for(lambda: receiver.events("trade.exited"))
    assert datetime.fromisoformat(data["exit_time"]) == ahead


def test_an_alert_that_was_overtaken_moves_no_trade(start: Start) -> None:
    engine = start("B", "--delay", "0")
    message = order(engine.answer(question()))
    execute(engine, message)
    engine.answer(question(day=5, price="1252"))
    engine.answer(question(day=4, price="900"))
    assert engine.rows("SELECT status FROM positions") == [{"status": "OPEN"}]


def test_an_older_history_told_later_has_exits_of_its_own(start: Start) -> None:
    engine = start("B", "--delay", "0")
    execute(engine, order(engine.answer(question(day=100))))
    execute(engine, order(engine.answer(question(day=0))))
    engine.answer(question(day=2, price="1500"))
    assert engine.rows("SELECT entered_signal_at, status FROM positions ORDER BY entered_signal_at") == [
        {"entered_signal_at": "2008-09-02T13:30:00.000000Z", "status": "EXITED"},
        {"entered_signal_at": "2008-12-11T13:30:00.000000Z", "status": "OPEN"},
    ]


def test_an_alert_of_the_same_moment_moves_no_trade(start: Start) -> None:
    engine = start("B", "--delay", "0")
    execute(engine, order(engine.answer(question())))
    engine.answer(question(price="900"))
    assert engine.rows("SELECT status FROM positions") == [{"status": "OPEN"}]


def test_a_shadow_trade_closed_by_its_lead_is_priced_and_followed_no_more(start: Start, receiver: Receiver) -> None:
    engine = start("B", "--delay", "0")
    answer = engine.answer(question())
    message = shadow(answer)
    engine.post("/shadow-trades", message, key=message["trade_id"])
    engine.answer(question(day=1, price="1260"))

    def close(underlying: str | None) -> dict[str, Any]:
        told = {
            "experiment_id": answer["experiment_id"],
            "exit_time": datetime.now(UTC).isoformat(),
            "exit_reason": "stop_loss",
            "market_conditions": {"underlying_price": underlying, "quotes": {}},
        }
        response = engine.post(f"/shadow-trades/{message['trade_id']}/exit", told, key=message["trade_id"])
        assert response.status_code == 200, response.text
        price: dict[str, Any] = response.json()
        return price

    price = close(None)
    assert Decimal(price["exit_price"]) > Decimal(answer["recommendation"]["entry_price"])
    assert close("100") == price
    engine.post("/shadow-trades", message, key=message["trade_id"])
    engine.answer(question(day=2, price="2000"))
    assert engine.rows("SELECT status FROM positions") == [{"status": "CLOSED_BY_LEAD"}]
    assert receiver.messages == []


def test_a_shadow_trade_told_after_its_exit_is_not_followed(start: Start) -> None:
    engine = start("B", "--delay", "0")
    answer = engine.answer(question())
    message = shadow(answer)
    told = {
        "experiment_id": answer["experiment_id"],
        "exit_time": datetime.now(UTC).isoformat(),
        "exit_reason": "time_limit",
        "market_conditions": {},
    }
    assert engine.post(f"/shadow-trades/{message['trade_id']}/exit", told, key=message["trade_id"]).status_code == 200
    assert engine.post("/shadow-trades", message, key=message["trade_id"]).status_code == 200
    assert engine.rows("SELECT * FROM positions") == []


def test_a_follower_is_priced_under_the_market_conditions_of_its_lead(start: Start) -> None:
    engine = start("B", "--delay", "0")
    answer = engine.answer(question())

    def price_at(experiment_id: str, underlying: str) -> Any:
        told = {
            "experiment_id": experiment_id,
            "exit_time": datetime.now(UTC).isoformat(),
            "exit_reason": "stop_loss",
            "market_conditions": {"underlying_price": underlying, "quotes": {}},
        }
        trade_id = str(uuid4())
        return engine.post(f"/shadow-trades/{trade_id}/exit", told, key=trade_id).json()["exit_price"]

    assert price_at(answer["experiment_id"], "1250") == answer["recommendation"]["entry_price"]
    assert Decimal(price_at(answer["experiment_id"], "1200")) < Decimal(price_at(answer["experiment_id"], "1300"))
    assert price_at(str(uuid4()), "1250") is None


def test_a_shadow_trade_of_nobody_is_not_found(start: Start) -> None:
    engine = start("B", "--delay", "0")
    message = shadow(engine.answer(question()), experiment_id=str(uuid4()))
    assert engine.post("/shadow-trades", message, key=message["trade_id"]).status_code == 404


# Crashes and absences


def test_a_question_survives_kill_9_and_is_answered_after_the_restart(start: Start, receiver: Receiver) -> None:
    body = question()
    killed = start("A", "--delay", "60")
    assert killed.ask(body).status_code == 202
    killed.kill()
    start("A")
    (data,) = wait_for(lambda: receiver.events("recommendation.completed"))
    assert data["input_hash"] == sha256(body).hexdigest()


def test_a_fill_survives_kill_9_and_is_not_repeated(start: Start) -> None:
    killed = start("B", "--delay", "0")
    message = order(killed.answer(question()))
    fill = execute(killed, message)
    killed.kill()
    engine = start("B", "--delay", "0")
    assert engine.send("GET", f"/executions/{message['permit_id']}").json() == fill
    assert execute(engine, message) == fill
    assert engine.rows("SELECT attempts FROM executions") == [{"attempts": 2}]
    assert len(engine.rows("SELECT * FROM positions")) == 1


def test_events_wait_for_the_orchestrator_and_survive_kill_9(start: Start, receiver: Receiver) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        killed = start("A", ORCHESTRATOR_URL=nowhere)
        answers = [killed.answer(question(day=day)) for day in range(3)]
        wait_for(lambda: killed.rows("SELECT 1 FROM events WHERE attempts > 1"))
        killed.kill()
    receiver.status = 503
    engine = start("A")
    wait_for(lambda: len(engine.rows("SELECT 1 FROM events WHERE state = 'PENDING' AND last_status = 503")) == 3)
    receiver.status = 200
    wait_for(lambda: not engine.rows("SELECT 1 FROM events WHERE state = 'PENDING'"))
    told = receiver.events("recommendation.completed")
    assert sorted(json.dumps(data) for data in told) == sorted(json.dumps(answer) for answer in answers)
    ids = {message_id for message_id, _ in receiver.messages}
    assert {row["message_id"] for row in engine.rows("SELECT * FROM events WHERE state = 'ACKNOWLEDGED'")} == ids
    assert len(ids) == 3


@pytest.mark.parametrize("status", [400, 404])
def test_the_orchestrators_last_word_is_recorded_and_not_asked_for_again(
    start: Start, receiver: Receiver, status: int
) -> None:
    receiver.status = status
    engine = start("A", "--delay", "0")
    engine.answer(question())
    (event,) = wait_for(lambda: engine.rows("SELECT * FROM events WHERE state = 'REFUSED'"))
    time.sleep(1)
    assert (event["last_status"], len(receiver.messages)) == (status, 1)


# Wrong requests


def test_what_is_not_signed_is_refused(start: Start) -> None:
    engine, body = start("B", "--delay", "0"), question()
    key = json.loads(body)["experiment_id"]
    assert engine.send("GET", "/health").json() == {"status": "ok", "app_mode": "PAPER"}
    assert engine.send("GET", "/health", secret=OTHER_SECRET).status_code == 401
    refused = [
        engine.send("POST", "/recommendations", body, secret=OTHER_SECRET, idempotency_key=key),
        engine.send("POST", "/recommendations", body, idempotency_key=key, webhook_signature=""),
        engine.send("POST", "/recommendations", body, idempotency_key=key, webhook_signature="v1,!"),
        engine.send("POST", "/recommendations", body, idempotency_key=key, webhook_signature="nonsense"),
        engine.send("POST", "/recommendations", body, idempotency_key=key, webhook_timestamp="nan"),
        engine.send("POST", "/recommendations", body, idempotency_key=key, webhook_timestamp="1000000000"),
        engine.send("POST", "/recommendations", body, idempotency_key=key, webhook_id="another"),
        httpx2.get(engine.url + "/health", trust_env=False),
    ]
    assert [response.status_code for response in refused] == [401] * len(refused)
    assert {response.headers["content-type"] for response in refused} == {"application/problem+json"}
    assert engine.rows("SELECT * FROM questions") == []


def test_either_of_two_secrets_is_accepted_and_the_first_signs(start: Start, receiver: Receiver) -> None:
    engine = start("A", ENGINE_A_SECRET=f"{SECRET} {OTHER_SECRET}")
    assert engine.send("GET", "/health", secret=OTHER_SECRET).status_code == 200
    engine.answer(question())
    wait_for(lambda: receiver.messages)  # the listener accepts no other signature than the first secret's


NIL = str(UUID(int=0))
WRONG: list[tuple[str, bytes, int]] = [
    ("/recommendations", b"", 400),
    ("/recommendations", b"{", 400),
    ("/recommendations", b"[]", 400),
    ("/recommendations", b'"text"', 400),
    ("/recommendations", b"\xff\xfe", 401),  # nothing that is no text can have been signed
    ("/recommendations", b'{"experiment_id":"x"}', 400),
    ("/recommendations", b'{"experiment_id":NaN}', 400),
    ("/recommendations", b'{"experiment_id":1e400}', 400),
    ("/recommendations", b'{"a":1,"a":2}', 400),
    ("/recommendations", b'{"a":"\\u0000"}', 400),
    ("/recommendations", b'{"a":"\\ud800"}', 400),
    ("/recommendations", b"[" * 50_000, 400),
    ("/recommendations", b"1" * 50_000, 400),
    ("/recommendations", json.dumps({"experiment_id": NIL, "schema": "engine-input/1"}).encode(), 400),
    ("/recommendations", question(price="-5"), 400),
    ("/recommendations", question().replace(b'"long"', b'"up"'), 400),
    ("/recommendations", question().replace(b"2008-09-02T13:30:00", b"2008-13-02T13:30:00"), 400),
    ("/recommendations", question(rsi="high"), 400),
    ("/executions", b"{}", 400),
    ("/executions", json.dumps({"permit_id": NIL, "experiment_id": NIL}).encode(), 400),
    ("/executions", json.dumps({"permit_id": NIL, "experiment_id": NIL, "not_after": "tomorrow"}).encode(), 400),
    ("/shadow-trades", b"{}", 400),
    (
        "/shadow-trades",
        json.dumps(shadow({"experiment_id": NIL, "recommendation": {"entry_price": "NaN", "quantity": "1"}})).encode(),
        400,
    ),
    (
        "/shadow-trades",
        json.dumps(shadow({"experiment_id": NIL, "recommendation": {"entry_price": "1", "quantity": "0"}})).encode(),
        400,
    ),
    (f"/shadow-trades/{NIL}/exit", b"{}", 400),
    ("/shadow-trades/none/exit", b"{}", 404),
    ("/nothing", b"{}", 404),
    ("/health", b"{}", 405),
]


def test_wrong_requests_get_problem_documents_and_never_a_traceback(start: Start) -> None:
    engine = start("B", "--delay", "0")
    for path, body, status in WRONG:
        key = str(json.loads(body).get("permit_id", NIL)) if body.startswith(b'{"permit') else NIL
        if path == "/recommendations" and b'"engine-input/1"' in body:
            key = json.loads(body)["experiment_id"]
        if path == "/shadow-trades" and b"trade_id" in body:
            key = json.loads(body)["trade_id"]
        response = engine.send("POST", path, body, idempotency_key=key)
        assert response.status_code == status, (path, body[:80], response.text)
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        assert problem["status"] == status
        assert problem["detail"].endswith(".")
        assert "Traceback" not in response.text
    assert engine.send("GET", "/executions").status_code == 405
    assert engine.send("DELETE", "/health").status_code == 405
    code, errors = engine.stop()
    assert (code, errors) == (0, "")


def test_the_idempotency_key_is_held_against_the_body(start: Start) -> None:
    engine, body = start("B", "--delay", "0"), question()
    assert engine.send("POST", "/recommendations", body).status_code == 400
    assert engine.send("POST", "/recommendations", body, idempotency_key=str(uuid4())).status_code == 400
    assert engine.rows("SELECT * FROM questions") == []


HARDLY_HTTP = [
    (b"POST /executions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", b"413"),
    (b"POST /executions HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400"),
    (b"POST /executions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
    (b"BREW /coffee HTTP/1.1\r\nHost: x\r\n\r\n", b"501"),
    (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"400"),
]


def test_what_is_hardly_http_is_answered_as_well(start: Start) -> None:
    engine = start("B", "--delay", "0")
    host, port = engine.url.removeprefix("http://").split(":")
    for sent, status in HARDLY_HTTP:
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(sent)
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        assert answer.split(b"\r\n")[0].split(b" ")[1] == status, sent
        assert b"application/problem+json" in answer
        assert engine.send("GET", "/health").status_code == 200


# The command


def test_sigterm_finishes_what_is_in_hand_and_exits_0(start: Start) -> None:
    engine = start("A", "--delay", "0")
    engine.answer(question())
    began = time.monotonic()
    assert engine.stop() == (0, "")
    assert time.monotonic() - began < 5


def test_a_thinking_engine_that_is_stopped_says_so_and_answers_after_its_next_start(start: Start) -> None:
    engine, body = start("B", "--delay", "60"), question()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(engine.ask, body)
        wait_for(lambda: engine.rows("SELECT 1 FROM questions"))
        assert engine.stop()[0] == 0
        assert asked.result().status_code == 503
    again = start("B", "--delay", "0")
    wait_for(lambda: again.send("GET", f"/recommendations/{json.loads(body)['experiment_id']}").status_code == 200)


def run_command(engine: str, ledger: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(engine, ledger, *options),
        cwd=ROOT,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_keeps_an_engine_from_starting_is_said_in_one_sentence(start: Start, tmp_path: Path) -> None:
    engine = start("A")
    port = engine.url.rsplit(":", 1)[1]
    free = tmp_path / "free.sqlite3"
    broken = tmp_path / "broken.sqlite3"
    other = tmp_path / "other.sqlite3"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE questions (question TEXT)")
    broken.write_text("this is no database, whatever its name says" * 100)
    cases: list[tuple[str, Path, str, dict[str, str]]] = [
        (f"cannot listen on port {port}", free, f"--port={port}", {}),
        ("in use by another engine", engine.ledger, "--port=0", {}),
        ("cannot be used", broken, "--port=0", {}),
        ("made by another version", other, "--port=0", {}),
        ("ENGINE_A_SECRET is not set", free, "--port=0", {"ENGINE_A_SECRET": ""}),
        ("ORCHESTRATOR_URL is 'nowhere'", free, "--port=0", {"ORCHESTRATOR_URL": "nowhere"}),
        ("--port is 70000", free, "--port=70000", {}),
        ("--delay is -1.0", free, "--delay=-1", {}),
    ]
    for complaint, ledger, option, env in cases:
        ended = run_command("A", ledger, option, **env)
        assert ended.returncode == 1
        assert complaint in ended.stderr
        assert len(ended.stderr.strip().splitlines()) == 1
