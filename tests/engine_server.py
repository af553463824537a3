"""A trading engine for tests: a real HTTP server on loopback that speaks the wire contract and misbehaves on request.

As a thread, in a test::

    with EngineServer("A") as engine:
        engine.will(RECOMMEND, Behaviour(status=503), Behaviour(reset=True))  # then it answers as it should
        ...
        assert [request.body for request in engine.requests_of(RECOMMEND)] == ...

As a process; behaviours come as JSON, requests go to a file, one JSON object a line::

    python -m tests.engine_server A --port 0 --script '{"execute": [{"delay_seconds": 5}]}' --record requests.jsonl
"""

import argparse
import base64
import json
import re
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import Request as UrlRequest
from urllib.request import urlopen

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from config.environment import EngineSettings

HEALTH = "health"
RECOMMEND = "recommend"
RECOMMENDATION = "recommendation"
EXECUTE = "execute"
EXECUTION = "execution"
OPEN_SHADOW_TRADE = "open_shadow_trade"
CLOSE_SHADOW_TRADE = "close_shadow_trade"

ROUTES = (
    (HEALTH, "GET", re.compile(r"/health")),
    (RECOMMEND, "POST", re.compile(r"/recommendations")),
    (RECOMMENDATION, "GET", re.compile(r"/recommendations/([0-9a-f-]{36})")),
    (EXECUTE, "POST", re.compile(r"/executions")),
    (EXECUTION, "GET", re.compile(r"/executions/([0-9a-f-]{36})")),
    (OPEN_SHADOW_TRADE, "POST", re.compile(r"/shadow-trades")),
    (CLOSE_SHADOW_TRADE, "POST", re.compile(r"/shadow-trades/([0-9a-f-]{36})/exit")),
)
SECRETS = {name: "whsec_" + base64.b64encode(f"only tests know engine {name} ....".encode()).decode() for name in "AB"}
TERMS: Mapping[str, Any] = {
    "action": "OPEN",
    "symbol": "SPY",
    "direction": "long",
    "side": "BUY",
    "quantity": "2",
    "entry_price": "4.35",
    "instrument": {
        "type": "option",
        "option_symbol": "SPY300315C00590000",
        "right": "CALL",
        "strike": "590",
        "expiration": "2030-03-15",
        "multiplier": "100",
    },
    "stop_loss": None,
    "take_profit": None,
    "max_loss": "870",
    "confidence": "0.73",
    "rationale": "the same for every alert",
}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What becomes of one request; the fields that are not given leave the proper answer as it is.

    ``changes`` replaces members of the proper answer, ``recommendation`` members of its terms; a ``body`` is sent as it
    stands. ``drip_seconds`` lie between two bytes of the answer. ``alters_its_copy``: the engine changes the input that it
    got before it hashes it. ``cut``: the connection ends in the middle of the answer.
    """

    status: int | None = None
    body: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    recommendation: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0
    drip_seconds: float = 0
    reset: bool = False
    reset_before_work: bool = False
    cut: bool = False
    not_http: bool = False
    alters_its_copy: bool = False
    passes: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request as it came. ``at`` in seconds of the monotonic clock, ``client_port`` tells connections apart."""

    operation: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    is_signed: bool
    at: float
    client_port: int = 0

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"]


class EngineServer:
    """``executions`` are the orders that it really placed: permit_ids, repeated when it does not deduplicate."""

    def __init__(
        self,
        name: str,
        *,
        port: int = 0,
        secret: str = "",
        idempotent: bool = True,
        honours_not_after: bool = True,
        record: Path | None = None,
    ) -> None:
        self.name = name
        self.secret = secret or SECRETS[name]
        self.requests: list[Recorded] = []
        self.executions: list[str] = []
        self._idempotent = idempotent
        self._honours_not_after = honours_not_after
        self._record = record
        self._next: dict[str, deque[Behaviour]] = defaultdict(deque)
        self._always: dict[str, Behaviour] = {}
        self._placed: dict[str, dict[str, Any]] = {}
        self._answers: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.engine = self
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def serve(self) -> None:
        """Serve in this thread until the process ends."""
        self._server.serve_forever()

    def close(self) -> None:
        """Stop listening, and let go of whoever is being kept waiting."""
        self.closing.set()
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def settings(self, **overrides: Any) -> EngineSettings:
        """Return what the orchestrator must be configured with to reach this engine."""
        fields: dict[str, Any] = {
            "name": self.name,
            "url": self.url,
            "secrets": (self.secret,),
            "timeout_seconds": 5.0,
            "concurrency": 16,
            "idempotent": False,
            "queryable": False,
            "honours_not_after": False,
        }
        return EngineSettings(**(fields | overrides))

    # what it shall do

    def will(self, operation: str, *behaviours: Behaviour) -> None:
        """Behave so with the next requests, one each, and properly again after them."""
        self._next[operation].extend(behaviours)

    def always(self, operation: str, behaviour: Behaviour) -> None:
        """Behave so with every request that ``will`` says nothing about."""
        self._always[operation] = behaviour

    # what it saw

    def requests_of(self, operation: str) -> list[Recorded]:
        with self._lock:
            return [request for request in self.requests if request.operation == operation]

    def wait_for(self, operation: str, *, count: int = 1, seconds: float = 30) -> list[Recorded]:
        """Return the requests of one kind as soon as there are ``count`` of them.

        :raises TimeoutError: when they do not come within ``seconds``.
        """
        until = time.monotonic() + seconds
        with self._arrived:
            while True:
                found = [request for request in self.requests if request.operation == operation]
                if len(found) >= count:
                    return found
                if not self._arrived.wait(until - time.monotonic()) and time.monotonic() >= until:
                    raise TimeoutError(f"engine {self.name} saw {len(found)} of {count} requests to {operation}")

    # what it says by itself

    def event(self, kind: str, data: Any, *, message_id: str = "", at: datetime | None = None) -> UrlRequest:
        """Return a signed event, ready to be posted; its ``data`` and ``headers`` serve Django's test client as well."""
        body = json.dumps({"type": kind, "data": data})
        moment = at or datetime.now(UTC)
        message_id = message_id or f"msg_{sha256(body.encode()).hexdigest()[:24]}"
        return UrlRequest(
            f"http://127.0.0.1/api/v1/engines/{self.name}/events/",
            data=body.encode(),
            method="POST",
            headers={
                "Content-Type": "application/json",
                "Webhook-Id": message_id,
                "Webhook-Timestamp": str(int(moment.timestamp())),
                "Webhook-Signature": Webhook(self.secret).sign(message_id, moment, body),
            },
        )

    def post_event(self, orchestrator: str, kind: str, data: Any, *, message_id: str = "") -> int:
        """Post a signed event to the orchestrator at this address and return the status."""
        event = self.event(kind, data, message_id=message_id)
        event.full_url = f"{orchestrator.rstrip('/')}/api/v1/engines/{self.name}/events/"
        with urlopen(event, timeout=10) as answer:  # noqa: S310 - http, on loopback
            return int(answer.status)

    # the work behind the answers

    def note(self, request: Recorded) -> Behaviour:
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
            if self._record:
                line = asdict(request) | {"body": request.body.decode(errors="replace")}
                with self._record.open("a") as file:
                    file.write(json.dumps(line) + "\n")
            waiting = self._next[request.operation]
            return waiting.popleft() if waiting else self._always.get(request.operation, Behaviour())

    def answer(self, request: Recorded, behaviour: Behaviour) -> tuple[int, Any]:
        """Do what was asked and return the proper answer: status and JSON value."""
        work: Callable[[], tuple[int, dict[str, Any]]] = {
            HEALTH: lambda: (200, {"status": "ok"}),
            RECOMMEND: lambda: self._recommend(request, behaviour),
            RECOMMENDATION: lambda: self._recommendation(request.path.rpartition("/")[2]),
            EXECUTE: lambda: self._execute(request, behaviour),
            EXECUTION: lambda: self._execution(request.path.rpartition("/")[2]),
            OPEN_SHADOW_TRADE: lambda: (200, {}),
            CLOSE_SHADOW_TRADE: lambda: (200, {"exit_price": None}),
        }[request.operation]
        status, proper = work()
        return behaviour.status or status, {**proper, **behaviour.changes}

    def _recommend(self, request: Recorded, behaviour: Behaviour) -> tuple[int, dict[str, Any]]:
        copy = request.body
        asked = json.loads(copy)
        if behaviour.alters_its_copy:
            asked["signal"]["direction"] = "short"
            asked["market_context"]["current_price"] = "0.01"
            copy = json.dumps(asked).encode()
        answer = {
            "experiment_id": asked["experiment_id"],
            "input_hash": sha256(copy).hexdigest(),
            "recommendation": None if behaviour.passes else {**TERMS, **behaviour.recommendation},
            "reason": behaviour.passes or "the trend is up",
        }
        with self._lock:
            self._answers[asked["experiment_id"]] = answer
        return 200, answer

    def _recommendation(self, experiment_id: str) -> tuple[int, dict[str, Any]]:
        answer = self._answers.get(experiment_id)
        return (404, {}) if answer is None else (200, answer)

    def _execute(self, request: Recorded, behaviour: Behaviour) -> tuple[int, dict[str, Any]]:
        asked = json.loads(request.body)
        permit_id = asked["permit_id"]
        with self._lock:
            if self._idempotent and permit_id in self._placed:
                return 200, self._placed[permit_id]
            if self._honours_not_after and datetime.now(UTC) > datetime.fromisoformat(asked["not_after"]):
                return 200, {"permit_id": permit_id, "status": "REJECTED", "reason": "not_after has passed"}
            if (behaviour.status or 200) >= 400:
                return 200, {}
            self.executions.append(permit_id)
            self._placed[permit_id] = {
                "permit_id": permit_id,
                "status": "FILLED",
                "trade": {
                    "external_id": f"{self.name}-{permit_id}-{self.executions.count(permit_id)}",
                    "entry_price": "4.40",
                    "entry_time": datetime.now(UTC).isoformat(),
                    "quantity": asked["recommendation"]["quantity"],
                    "fees": "1.30",
                },
            }
            return 200, self._placed[permit_id]

    def _execution(self, permit_id: str) -> tuple[int, dict[str, Any]]:
        placed = self._placed.get(permit_id)
        return (404, {}) if placed is None else (200, placed)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    engine: EngineServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is nothing to print."""

    def shutdown_request(self, request: Any) -> None:
        """Close without saying goodbye first, so that a reset is one."""
        self.close_request(request)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def log_message(self, *args: Any) -> None:
        """Nothing is printed; everything is recorded."""

    def _handle(self) -> None:
        engine = self.server.engine
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        operation = next((name for name, method, path in ROUTES if self._is(method, path)), "")
        request = Recorded(
            operation=operation,
            method=self.command,
            path=self.path,
            headers=headers,
            body=body,
            is_signed=self._is_signed(headers, body),
            at=time.monotonic(),
            client_port=self.client_address[1],
        )
        behaviour = engine.note(request)
        if behaviour.reset_before_work:
            self._reset()
            return
        if not operation or not request.is_signed:
            self._send(404 if not operation else 401, b"{}", behaviour=Behaviour())
            return
        status, proper = engine.answer(request, behaviour)
        engine.closing.wait(behaviour.delay_seconds)
        if behaviour.reset:
            self._reset()
        elif behaviour.not_http:
            self.wfile.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
            self.close_connection = True
        else:
            content = json.dumps(proper) if behaviour.body is None else behaviour.body
            self._send(status, content.encode("utf-8", "surrogateescape"), behaviour=behaviour)

    def _is(self, method: str, path: re.Pattern[str]) -> bool:
        return self.command == method and path.fullmatch(self.path) is not None

    def _is_signed(self, headers: dict[str, str], body: bytes) -> bool:
        try:
            Webhook(self.server.engine.secret).verify(body, headers, json_parse=False)
        except WebhookVerificationError:
            return False
        return True

    def _send(self, status: int, content: bytes, *, behaviour: Behaviour) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **behaviour.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if behaviour.cut:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        if not behaviour.drip_seconds:
            self.wfile.write(content)
            return
        for at in range(len(content)):
            self.wfile.write(content[at : at + 1])
            if self.server.engine.closing.wait(behaviour.drip_seconds):
                return

    def _reset(self) -> None:
        """Close with a reset (RST) instead of an answer."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


def main() -> None:
    parser = argparse.ArgumentParser(description="An engine for tests, as a process.")
    parser.add_argument("name", choices=("A", "B"))
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--secret", default="")
    parser.add_argument("--not-idempotent", action="store_true")
    parser.add_argument("--ignores-not-after", action="store_true")
    parser.add_argument("--script", default="{}", help="operation: what it will do with the next requests (JSON)")
    parser.add_argument("--always", default="{}", help="operation: what it always does (JSON)")
    parser.add_argument("--record", type=Path, help="where the requests are written, one JSON object a line")
    given = parser.parse_args()
    engine = EngineServer(
        given.name,
        port=given.port,
        secret=given.secret,
        idempotent=not given.not_idempotent,
        honours_not_after=not given.ignores_not_after,
        record=given.record,
    )
    for operation, behaviours in json.loads(given.script).items():
        engine.will(operation, *(Behaviour(**one) for one in behaviours))
    for operation, behaviour in json.loads(given.always).items():
        engine.always(operation, Behaviour(**behaviour))
    print(json.dumps({"url": engine.url, "secret": engine.secret}), flush=True)  # noqa: T201
    engine.serve()


if __name__ == "__main__":
    main()
