"""An engine that goes wrong in every way, and writes down on its own disk what it really did.

``python -m tests.chaos.engine '{"name": "A", …}'``. Each placement is a line of the ledger, on the disk before anybody hears
of it. What befalls a request is drawn from the seed, the signal's number and the attempt. It keeps what it claims: one that
does not deduplicate places every order that it gets.
"""

import asyncio
import contextlib
import json
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2

from orchestrator.engines.signing import sign
from tests.chaos.drawing import between, choose, draw
from tests.chaos.faults import HARMLESS, Claims, Mix
from tests.chaos.ledger import Ledger
from tests.engine_server import TERMS

OUTAGE_SECONDS = 1.5
EVENT_PAUSE_SECONDS = 0.4
LONGEST_TRIES = 400


class Hang(Exception):
    """No answer, ever; the connection stays open."""


class Reset(Exception):
    """The connection is reset instead of an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``drip`` is the pause in seconds between two bytes."""

    status: int
    body: bytes
    drip: float = 0
    location: str = ""


@dataclass(slots=True)
class Order:
    """One permit as this engine knows it."""

    permit_id: str
    experiment_id: str
    number: int
    not_after: datetime
    quantity: str
    tries: int = 0
    answer: dict[str, Any] | None = None
    is_pending: bool = False
    visible_at: float = 0.0  # until then, on the monotonic clock, questions find nothing
    fills: list[dict[str, Any]] = field(default_factory=list)
    exit: dict[str, Any] | None = None


class ChaosEngine:
    """All that one engine does; it lives on one event loop."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.name: str = given["name"]
        self.seed: int = given["seed"]
        self.claims = Claims(**given["claims"])
        self.mix = Mix(**given["mix"])
        self.timeout: float = given["timeout"]
        self.window: float = given["window"]
        self.secret: str = given["secret"]
        self.events_url: str = given["events_url"]
        self.ledger = Ledger(Path(given["ledger"]))
        self.orders: dict[str, Order] = {}
        self.recommendations: dict[str, dict[str, Any]] = {}
        self.tries: Counter[tuple[str, str]] = Counter()
        self._client = httpx2.AsyncClient(timeout=5, trust_env=False)
        self._tasks: set[asyncio.Task[None]] = set()

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the answering."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # requests

    async def answer(self, method: str, path: str, body: bytes) -> Answer:  # noqa: PLR0911 - one per address
        """Answer one request, or raise Hang or Reset."""
        if path == "/health":
            return reply({"status": "ok"})
        if (method, path) == ("POST", "/recommendations"):
            return await self.recommend(body)
        if (method, path) == ("POST", "/executions"):
            return await self.execute(json.loads(body))
        key = path.rpartition("/")[2]
        if method == "GET" and path.startswith("/recommendations/"):
            known = self.recommendations.get(key)
            return reply(known) if known else reply({}, 404)
        if method == "GET" and path.startswith("/executions/"):
            return await self.execution(key)
        if path.startswith("/shadow-trades"):
            return reply({"exit_price": None})
        return reply({}, 404)

    async def recommend(self, body: bytes) -> Answer:  # noqa: C901, PLR0912, PLR0911 - one branch per fault
        asked = json.loads(body)
        experiment_id, number = asked["experiment_id"], int(asked["signal"]["raw_payload"]["n"])
        self.tries["recommend", experiment_id] += 1
        attempt = self.tries["recommend", experiment_id]
        fault = choose(self.mix.recommend, self.seed, self.name, "recommend", number, attempt)
        self.note("recommend", fault, number)
        answer = {
            "experiment_id": experiment_id,
            "input_hash": sha256(body).hexdigest(),
            "recommendation": {**TERMS, "n": number},
            "reason": "the trend is up",
        }
        if attempt == 1 and draw(self.seed, self.name, "rogue", number) < self.mix.rogue:
            self.later(self.trade_unasked(experiment_id, number))
        if fault == "pass":
            answer |= {"recommendation": None, "reason": "no trend"}
        answer = self.recommendations.setdefault(experiment_id, answer)
        match fault:
            case "slow":
                await asyncio.sleep(between(0.3, 0.8, self.seed, self.name, "slow", number) * self.timeout)
            case "accepted":
                pause = between(0.2, 2, self.seed, self.name, "accepted", number)
                self.later(self.report("recommendation.completed", answer, after=pause))
                return reply({"status": "ACCEPTED"}, 202)
            case "500":
                return reply({}, 500)
            case "reset":
                raise Reset
            case "garbage, then answered":
                self.later(self.report("recommendation.completed", answer, after=1))
                return Answer(503, b"<html>")
            case "another experiment's answer":
                return reply({**answer, "experiment_id": str(uuid4())})
            case "another hash":
                return reply({**answer, "input_hash": "0" * 64})
            case "drip":
                return reply(answer, drip=self.timeout / 5)
            case "late":
                await asyncio.sleep(self.timeout * 1.5)
            case "redirect":
                return Answer(307, b"", location="/recommendations")
            case "never":
                raise Hang
            case "answered, and an event twice":
                self.later(self.report("recommendation.completed", answer, times=2))
        return reply(answer)

    async def execute(self, asked: Mapping[str, Any]) -> Answer:  # noqa: C901, PLR0911, PLR0912, PLR0915 - likewise
        permit_id = asked["permit_id"]
        order = self.orders.get(permit_id)
        if order is None:
            order = self.orders[permit_id] = Order(
                permit_id,
                asked["experiment_id"],
                int(asked["recommendation"]["n"]),
                datetime.fromisoformat(asked["not_after"]),
                str(asked["recommendation"]["quantity"]),
            )
        order.tries += 1
        self.ledger.write("order", permit_id=permit_id, experiment_id=order.experiment_id, number=order.number)
        fault = choose(self.mix.execute, self.seed, self.name, "execute", order.number, order.tries)
        self.note("execute", fault, order.number)
        if self.claims.idempotent and order.tries > 1 and (order.is_pending or order.answer):
            return self.repeated(order)
        match fault:
            case "500 before":
                return reply({}, 500)
            case "reset before":
                raise Reset
            case "rejected":
                order.answer = {"permit_id": permit_id, "status": "REJECTED", "reason": "no margin"}
                return reply(order.answer)
            case "accepted" | "accepted, then rejected":
                order.is_pending = True
                self.later(self.finish(order, rejects=fault != "accepted"))
                return reply({"permit_id": permit_id, "status": "ACCEPTED"}, 202)
            case "not found, then executed":
                self.later(self.execute_late(order, event=True))
                raise Reset
            case "executed late":
                self.later(self.execute_late(order, event=not self.claims.queryable))
                raise Hang
        if fault == "filled, event first":
            fill = self.place(order)
            if fill is None:
                return reply(order.answer or {})
            await self.deliver("execution.filled", {"permit_id": permit_id, "trade": fill}, uuid4().hex, tries=1)
            self.exit_of(order, fill)
            return reply(order.answer or {})
        fill = self.place(order)
        if fill is None:
            return reply(order.answer or {})
        order.visible_at = time.monotonic() + (3 if draw(self.seed, self.name, "lag", order.number) < 0.3 else 0)
        self.exit_of(order, fill)
        answer = order.answer or {}
        told = {"permit_id": permit_id, "trade": fill}
        match fault:
            case "filled, event twice":
                self.later(self.report("execution.filled", told, times=2))
                self.later(self.report("execution.filled", told))
            case "500 after":
                self.maybe_report(order, told)
                return reply({}, 500)
            case "reset after":
                self.maybe_report(order, told)
                raise Reset
            case "drip":
                return reply(answer, drip=self.timeout / 5)
            case "garbage":
                self.maybe_report(order, told)
                return Answer(200, b'{"status": "FILL')
            case "redirect":
                return Answer(307, b"", location="/executions")
            case "another permit's answer":
                self.maybe_report(order, told)
                return reply({**answer, "permit_id": str(uuid4())})
            case "late":
                await asyncio.sleep(self.timeout * between(1.2, 3, self.seed, self.name, "late", order.number))
            case "never":
                raise Hang
            case "never, but an event":
                pause = between(0.5, 1.5 * self.window, self.seed, self.name, "event", order.number)
                self.later(self.report("execution.filled", told, after=pause))
                raise Hang
        return reply(answer)

    def repeated(self, order: Order) -> Answer:
        """Answer an order that is known: as it was answered, or refused as a repetition, which says nothing of the first."""
        if draw(self.seed, self.name, "repeated", order.number, order.tries) < 0.25:
            return reply({"permit_id": order.permit_id, "status": "REJECTED", "reason": "duplicate order"})
        if order.answer is None:
            return reply({"permit_id": order.permit_id, "status": "ACCEPTED"}, 202)
        return reply(order.answer)

    async def execution(self, permit_id: str) -> Answer:
        order = self.orders.get(permit_id)
        self.tries["query", permit_id] += 1
        number = order.number if order else 0
        fault = choose(
            self.mix.query,
            self.seed,
            self.name,
            "query",
            permit_id if not order else number,
            self.tries["query", permit_id],
        )
        self.note("query", fault, number)
        match fault:
            case "500":
                return reply({}, 500)
            case "reset":
                raise Reset
            case "garbage":
                return Answer(200, b"\x00\xff not JSON")
            case "late":
                await asyncio.sleep(self.timeout * 1.5)
        if order is not None and order.is_pending and order.answer is None and order.visible_at < time.monotonic():
            return reply({"permit_id": permit_id, "status": "ACCEPTED"}, 202)
        if order is None or order.answer is None or order.visible_at > time.monotonic():
            return reply({}, 404)
        answer = {**order.answer, **({"exit": order.exit} if order.exit else {})}
        if fault == "another permit's answer":
            answer["permit_id"] = str(uuid4())
        return reply(answer)

    # effects

    def place(self, order: Order, *, cause: str = "order") -> dict[str, Any] | None:
        """Place the trade: on the disk first. None when it would be too late for an engine that honours not_after."""
        if self.claims.honours_not_after and datetime.now(UTC) > order.not_after:
            order.answer = {"permit_id": order.permit_id, "status": "REJECTED", "reason": "not_after has passed"}
            return None
        fill = self.fill(order.quantity)
        self.ledger.write(
            "placed",
            fsync=True,
            permit_id=order.permit_id,
            experiment_id=order.experiment_id,
            external_id=fill["external_id"],
            number=order.number,
            cause=cause,
        )
        order.fills.append(fill)
        order.answer = {"permit_id": order.permit_id, "status": "FILLED", "trade": fill}
        return fill

    def fill(self, quantity: str) -> dict[str, Any]:
        return {
            "external_id": f"{self.name}-{uuid4().hex}",
            "entry_price": "4.40",
            "entry_time": datetime.now(UTC).isoformat(),
            "quantity": quantity,
            "fees": "1.30",
        }

    async def finish(self, order: Order, *, rejects: bool) -> None:
        """Do what was accepted, and report it."""
        await asyncio.sleep(between(0.2, 0.5 * self.window, self.seed, self.name, "finish", order.number))
        fill = None if rejects else self.place(order)
        order.is_pending = False
        if fill is None:
            order.answer = order.answer or {"permit_id": order.permit_id, "status": "REJECTED", "reason": "no margin"}
            await self.report("execution.rejected", {"permit_id": order.permit_id, "reason": "no margin"})
            return
        self.exit_of(order, fill)
        times = 2 if draw(self.seed, self.name, "finish twice", order.number) < 0.2 else 1
        await self.report("execution.filled", {"permit_id": order.permit_id, "trade": fill}, times=times)

    async def execute_late(self, order: Order, *, event: bool) -> None:
        """Execute an order some time after its sender heard nothing; until then questions find nothing."""
        latest = 0.7 * self.window if self.claims.honours_not_after else self.window + 7
        await asyncio.sleep(between(0.3 * self.window, latest, self.seed, self.name, "late effect", order.number))
        if order.fills and self.claims.idempotent:
            return
        fill = self.place(order)
        if fill is not None:
            self.exit_of(order, fill)
            if event:
                await self.report("execution.filled", {"permit_id": order.permit_id, "trade": fill})

    async def trade_unasked(self, experiment_id: str, number: int) -> None:
        """Place a trade for which there is no permit at all, and report it."""
        await asyncio.sleep(1)
        fill = self.fill("2")
        self.ledger.write(
            "placed",
            fsync=True,
            permit_id=None,
            experiment_id=experiment_id,
            external_id=fill["external_id"],
            number=number,
            cause="unasked",
        )
        await self.report("execution.filled", {"experiment_id": experiment_id, "trade": fill})

    def exit_of(self, order: Order, fill: dict[str, Any]) -> None:
        """Let the trade exit after a while."""
        how = choose(self.mix.exit, self.seed, self.name, "exit", order.number)
        if how != "never" and len(order.fills) == 1:
            self.later(self.leave(order, fill, how))

    async def leave(self, order: Order, fill: dict[str, Any], how: str) -> None:
        if how != "before its entry":
            await asyncio.sleep(between(0.5, 5, self.seed, self.name, "leave", order.number))
        left = {
            "exit_price": "5.10",
            "exit_time": datetime.now(UTC).isoformat(),
            "exit_reason": "target",
            "fees": "1.30",
            "market_conditions": {"underlying_price": "590.00", "quotes": {}},
        }
        order.exit = left
        self.note("exit", how, order.number)
        told = {"experiment_id": order.experiment_id, "trade": {"external_id": fill["external_id"]}, **left}
        if draw(self.seed, self.name, "exit lost", order.number) < 0.2 and self.claims.queryable:
            return  # only whoever asks hears of it
        await self.report("trade.exited", told, times=2 if how == "reported twice" else 1)

    # events

    def maybe_report(self, order: Order, told: dict[str, Any]) -> None:
        """Report a fill whose answer was lost: soon, late, or, where nobody can ask, now and then never."""
        if draw(self.seed, self.name, "reports", order.number) < 0.7:
            self.later(
                self.report("execution.filled", told, after=between(0, 1.5 * self.window, self.seed, order.number))
            )

    async def report(self, kind: str, data: Mapping[str, Any], *, after: float = 0, times: int = 1) -> None:
        """Post an event until it is acknowledged, ``times`` times under one message id."""
        await asyncio.sleep(after)
        message_id = f"msg_{uuid4().hex}"
        for _ in range(times):
            await self.deliver(kind, data, message_id, tries=LONGEST_TRIES)

    async def deliver(self, kind: str, data: Mapping[str, Any], message_id: str, *, tries: int) -> None:
        body = json.dumps({"type": kind, "data": data})
        for _ in range(tries):
            try:
                headers = sign(self.secret, message_id=message_id, body=body, at=datetime.now(UTC))
                got = await self._client.post(self.events_url, content=body, headers=headers)
                status = got.status_code
            except (httpx2.HTTPError, OSError, RuntimeError) as error:
                status = 0
                self.ledger.write("not delivered", event=kind, message_id=message_id, error=repr(error)[:200])
            if status in {200, 202, 404}:
                external_id = (data.get("trade") or {}).get("external_id")
                self.ledger.write("told", event=kind, message_id=message_id, status=status, external_id=external_id)
                return
            await asyncio.sleep(EVENT_PAUSE_SECONDS)

    def note(self, where: str, fault: str, number: int) -> None:
        self.ledger.write("fault", where=where, fault=fault, number=number, harmless=fault in HARMLESS)


def reply(content: Mapping[str, Any], status: int = 200, *, drip: float = 0) -> Answer:
    return Answer(status, json.dumps(content).encode(), drip)


class Server:
    """As much of HTTP/1.1 as the engine needs, so that it can break every bit of it."""

    def __init__(self, engine: ChaosEngine, places: list[tuple[str, int]]) -> None:
        self.engine = engine
        self.places = places
        self._servers: list[asyncio.Server] = []

    async def listen(self) -> None:
        self._servers = [await asyncio.start_server(self._serve, host, port) for host, port in self.places]

    async def run(self) -> None:
        await self.listen()
        number = 0
        while True:
            number += 1
            every = self.engine.mix.outage_every_seconds
            pause = between(0.5 * every, 1.5 * every, self.engine.seed, self.engine.name, "outage", number)
            await asyncio.sleep(pause if every else 3600)
            for server in self._servers:  # connections are refused for a while: nothing can have been sent
                server.close()
            self.engine.note("engine", "refuses connections", 0)
            await asyncio.sleep(OUTAGE_SECONDS)
            await self.listen()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while await self._exchange(reader, writer):
                pass
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        try:
            answer = await self.engine.answer(method, path, body)
        except Hang:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1), 30)
            return False
        except Reset:
            found: socket.socket = writer.get_extra_info("socket")
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        reason = HTTPStatus(answer.status).phrase
        location = f"Location: {answer.location}\r\n" if answer.location else ""
        writer.write(
            f"HTTP/1.1 {answer.status} {reason}\r\nContent-Type: application/json\r\n{location}"
            f"Content-Length: {len(answer.body)}\r\n\r\n".encode()
        )
        if not answer.drip:
            writer.write(answer.body)
        for at in range(len(answer.body) if answer.drip else 0):
            writer.write(answer.body[at : at + 1])
            await writer.drain()
            await asyncio.sleep(answer.drip)
        await writer.drain()
        return True


def main() -> None:
    given = json.loads(sys.argv[1])
    places = [(str(host), int(port)) for host, port in given["places"]]

    async def run() -> None:
        await Server(ChaosEngine(given), places).run()

    asyncio.run(run())


if __name__ == "__main__":
    main()
