"""An engine that has exactly the capabilities of its column, with a ledger that it syncs to the disk before it answers.

What it shall do with an alert, the alert itself says: its ``manner``. Two requests are not of the contract and are for the
test: ``GET /idle`` answers when no event is on its way any more, ``POST /release/<experiment_id>`` lets go what is held.
"""

import json
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from standardwebhooks.webhooks import Webhook

from tests.engine_server import SECRETS, TERMS
from tests.fault_matrix.configurations import Configuration

Answer = tuple[int, dict[str, Any]]
LONGEST_HOLD_SECONDS = 20.0
EVENT_TRIES = 40


@dataclass(frozen=True, slots=True)
class Manner:
    """What an engine does with one alert: with its first requests of a kind, in turn, and properly after them.

    ``holds``: it never answers a question by itself. ``by_query``: no event is sent where it can be asked. ``terms`` replace members of its recommendation.
    """

    recommend: tuple[str, ...] = ()
    execute: tuple[str, ...] = ()
    holds: bool = False
    by_query: bool = False
    reports_when_told: bool = False
    denies: bool = False
    has_exited: bool = False
    terms: Mapping[str, Any] = field(default_factory=dict)


PROPER = Manner()
OTHER_CONTRACT = {"instrument": {**TERMS["instrument"], "option_symbol": "SPY300315C00600000", "strike": "600"}}
EXPIRED = {"instrument": {**TERMS["instrument"], "option_symbol": "SPY200320C00590000", "expiration": "2020-03-20"}}
# (manner, engine); an engine that is not named does as it should
MANNERS: dict[tuple[str, str], Manner] = {
    ("fails once", "A"): Manner(recommend=("unavailable",)),
    ("refuses a question", "B"): Manner(recommend=("bad request",)),
    ("holds its answer", "A"): Manner(holds=True),
    ("loses the order", "A"): Manner(execute=("lost",)),
    ("loses the order twice", "A"): Manner(execute=("lost", "lost")),
    ("executes and fails", "A"): Manner(execute=("executed, then failed",)),
    ("refuses the order", "A"): Manner(execute=("refused",)),
    ("accepts late", "A"): Manner(execute=("held",)),
    ("reports when told", "A"): Manner(reports_when_told=True),
    ("wants to be asked", "A"): Manner(by_query=True),
    ("denies its trade", "A"): Manner(denies=True),
    ("has exited", "A"): Manner(has_exited=True),
    ("another contract", "B"): Manner(terms=OTHER_CONTRACT),
    ("expired", "B"): Manner(terms=EXPIRED),
    ("expired", "A"): Manner(holds=True),
}


class MatrixEngine:
    """One engine of a group: its state, its answers, and the events that it sends by itself."""

    def __init__(self, name: str, configuration: Configuration, *, ledger: Path, orchestrator: str) -> None:
        self.name = name
        self.configuration = configuration
        self._ledger = ledger.open("a")
        self._events_to = f"{orchestrator}/api/v1/engines/{name}/events/"
        self._lock = threading.Lock()
        self._manners: dict[str, Manner] = {}
        self._answers: dict[str, dict[str, Any]] = {}
        self._words: dict[str, dict[str, Any]] = {}
        self._tries: Counter[str] = Counter()
        self._gates: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self.unsent = 0

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Do what was asked and return status and JSON value."""
        _, kind, *rest = path.split("/")
        if kind == "health":
            return 200, {"status": "ok"}
        if kind == "idle":
            return (200 if not self.unsent else 503), {}
        if kind == "release":
            self._gates[rest[0]].set()
            return 200, {}
        if kind == "shadow-trades":
            return 200, {"exit_price": "5.00"} if rest else {}
        if kind == "recommendations":
            return self._recommend(body) if method == "POST" else self._recommendation(rest[0])
        return self._execute(json.loads(body)) if method == "POST" else self._execution(rest[0])

    def _recommend(self, body: bytes) -> Answer:
        asked = json.loads(body)
        experiment_id = asked["experiment_id"]
        manner = MANNERS.get((asked["signal"]["raw_payload"].get("manner", ""), self.name), PROPER)
        with self._lock:
            self._manners[experiment_id] = manner
            answer = self._answers[experiment_id] = {
                "experiment_id": experiment_id,
                "input_hash": sha256(body).hexdigest(),
                "recommendation": {**TERMS, **manner.terms},
                "reason": "the trend is up",
            }
            step = self._next(manner.recommend, f"recommend {experiment_id}")
        if step == "unavailable":
            return 503, {}
        if step == "bad request":
            return 400, {}
        if manner.holds:
            return 202, {}
        if not self.configuration.later:
            return 200, answer
        if not manner.by_query:
            self._report("recommendation.completed", answer)
        return 202, {}

    def _recommendation(self, experiment_id: str) -> Answer:
        if self._manners[experiment_id].holds:
            return 202, {}
        return 200, self._answers[experiment_id]

    def _execute(self, asked: Mapping[str, Any]) -> Answer:
        permit_id, manner = asked["permit_id"], self._manners[asked["experiment_id"]]
        with self._lock:
            step = self._next(manner.execute, f"execute {permit_id}")
            if step == "lost":
                return 500, {}
            word = self._words.get(permit_id) if self.configuration.can("idempotent") else None
            if word is None:
                word = self._act(asked, refuses=step == "refused")
        if step == "executed, then failed":
            return 500, {}
        if step != "held":
            return self._word_on(word, manner)
        with self._owing():
            self._gates[word["experiment_id"]].wait(LONGEST_HOLD_SECONDS)
            return self._word_on(word, manner)

    def _word_on(self, word: dict[str, Any], manner: Manner) -> Answer:
        if not self.configuration.later or word["status"] == "REJECTED":
            return 200, word
        if not (manner.by_query and self.configuration.can("queryable")):
            fill = {"permit_id": word["permit_id"], "trade": word["trade"]}
            gate = self._gates[word["experiment_id"]] if manner.reports_when_told else None
            self._report("execution.filled", fill, gate=gate)
        return 202, {"status": "ACCEPTED"}

    def _act(self, asked: Mapping[str, Any], *, refuses: bool) -> dict[str, Any]:
        """Place the order, or say why not; the ledger is on the disk when this returns."""
        permit_id, now = asked["permit_id"], datetime.now(UTC)
        is_late = self.configuration.can("honours_not_after") and now > datetime.fromisoformat(asked["not_after"])
        word: dict[str, Any] = {"permit_id": permit_id, "status": "REJECTED", "reason": "it must not be"}
        if not refuses and not is_late:
            number = self._tries[f"placed {permit_id}"] = self._tries[f"placed {permit_id}"] + 1
            word = {
                "permit_id": permit_id,
                "status": "FILLED",
                "trade": {
                    "external_id": f"{self.name}-{permit_id}-{number}",
                    "entry_price": "4.40",
                    "entry_time": now.isoformat(),
                    "quantity": asked["recommendation"]["quantity"],
                    "fees": "1.30",
                },
            }
            self._ledger.write(json.dumps(word) + "\n")
            self._ledger.flush()
            os.fsync(self._ledger.fileno())
        self._words[permit_id] = {**word, "experiment_id": asked["experiment_id"]}
        return self._words[permit_id]

    def _execution(self, permit_id: str) -> Answer:
        with self._lock:
            word = self._words.get(permit_id)
        if word is None or not self.configuration.can("queryable"):
            return 404, {}
        manner = self._manners[word["experiment_id"]]
        if manner.denies:
            return 200, {"permit_id": permit_id, "status": "REJECTED", "reason": "there is no such trade"}
        if manner.has_exited and "trade" in word:
            word.setdefault("exit", exit_now())
        return 200, word

    def _next(self, steps: tuple[str, ...], what: str) -> str:
        done = self._tries[what]
        self._tries[what] += 1
        return steps[done] if done < len(steps) else ""

    @contextmanager
    def _owing(self) -> Iterator[None]:
        """Be not idle: an event is on its way, or an answer is held from which one follows."""
        with self._lock:
            self.unsent += 1
        try:
            yield
        finally:
            with self._lock:
                self.unsent -= 1

    def _report(self, kind: str, data: Mapping[str, Any], *, gate: threading.Event | None = None) -> None:
        begun = threading.Event()
        threading.Thread(target=self._deliver, args=(kind, data, begun, gate), daemon=True).start()
        begun.wait()

    def _deliver(
        self, kind: str, data: Mapping[str, Any], begun: threading.Event, gate: threading.Event | None
    ) -> None:
        with self._owing():
            begun.set()
            if gate is not None:
                gate.wait(LONGEST_HOLD_SECONDS)
            for _ in range(EVENT_TRIES):
                try:
                    with urlopen(signed_event(self.name, self._events_to, kind, data), timeout=5):  # noqa: S310 - loopback
                        return
                except (URLError, OSError):
                    time.sleep(0.25)


def exit_now() -> dict[str, Any]:
    """Return an exit as the data of ``trade.exited`` has it."""
    return {
        "exit_price": "5.10",
        "exit_time": datetime.now(UTC).isoformat(),
        "exit_reason": "target",
        "fees": "1.30",
        "market_conditions": {},
    }


def signed_event(name: str, url: str, kind: str, data: Mapping[str, Any]) -> Request:
    """Return an event ready to be posted; the same event has the same message id however often it is sent."""
    body, now = json.dumps({"type": kind, "data": data}), datetime.now(UTC)
    message_id = f"msg_{sha256(body.encode()).hexdigest()[:24]}"
    headers = {
        "Content-Type": "application/json",
        "Webhook-Id": message_id,
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": Webhook(SECRETS[name]).sign(message_id, now, body),
    }
    return Request(url, data=body.encode(), headers=headers, method="POST")  # noqa: S310 - loopback


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    engine: MatrixEngine

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is nothing to print."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def log_message(self, *args: Any) -> None:
        """Nothing is printed."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        status, value = self.server.engine.answer(self.command, self.path, body)
        content = json.dumps(value).encode()
        self.send_response(HTTPStatus(status))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def serve(engine: MatrixEngine, listening: socket) -> None:
    """Serve on a socket that listens already, until the process ends."""
    server = _Server(listening.getsockname(), _Handler, bind_and_activate=False)
    server.socket = listening
    server.engine = engine
    server.serve_forever(poll_interval=0.5)
