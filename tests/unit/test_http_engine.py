"""Reaching engines: one request, once, within a deadline; over HTTP and as Python objects, against real servers."""

import asyncio
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from config.environment import EngineSettings
from orchestrator.dispatch import Answered, Dispatcher
from orchestrator.domain.vocabulary import Engine as Name
from orchestrator.engines.connect import connect
from orchestrator.engines.http import MAX_ANSWER_BYTES
from orchestrator.engines.protocol import Engine, NoAnswer, NotSent, Operation, Reply, Request, UnusableAnswer
from orchestrator.engines.python import UnusableEngine
from tests.engine_server import EXECUTE, HEALTH, RECOMMEND, SECRETS, Behaviour, EngineServer

KEY = UUID("0192f0a0-0000-83a8-a210-8b9158f818d1")
BODY = '{"experiment_id":"0192f0a0-0000-83a8-a210-8b9158f818d1","text":"café"}'
RECOMMENDING = Request(Operation.RECOMMEND, KEY, BODY)
TO_NOBODY = "http://127.0.0.1:1"


def ask(settings: EngineSettings, *requests: Request, timeout: float = 5) -> Any:
    """Send requests over one engine, one after the other, and return the last reply."""

    async def all_of_them(engine: Engine) -> Any:
        try:
            for request in requests:
                reply = await engine.send(request, timeout=timeout)
        finally:
            await engine.close()
        return reply

    return asyncio.run(all_of_them(connect(settings)))


def python_engine(factory: str) -> EngineSettings:
    with EngineServer("B") as server:
        return server.settings(url=f"python:tests.python_engines:{factory}")


@pytest.mark.requirement("1.3", "property-3")
def test_a_request_carries_the_bytes_as_they_are_signed_and_keyed(engine_a: EngineServer) -> None:
    reply = ask(engine_a.settings(), RECOMMENDING)
    [seen] = engine_a.requests
    assert reply.status == 200
    assert seen.body == BODY.encode()
    assert seen.is_signed
    assert (seen.method, seen.path, seen.key) == ("POST", "/recommendations", str(KEY))
    assert seen.headers["content-type"] == "application/json"


@pytest.mark.requirement("property-3")
def test_both_engines_get_the_same_headers_but_host_and_webhook(engine_a: EngineServer, engine_b: EngineServer) -> None:
    for engine, timeout in ((engine_a, 3.0), (engine_b, 90.0)):
        ask(engine.settings(timeout_seconds=timeout, concurrency=int(timeout), queryable=timeout > 5), RECOMMENDING)
    own = {"host", "webhook-id", "webhook-timestamp", "webhook-signature"}
    first, second = (
        [(name, value) for name, value in engine.requests[0].headers.items() if name not in own]
        for engine in (engine_a, engine_b)
    )
    assert first == second
    assert own < set(engine_a.requests[0].headers)
    assert not {"A", "B"} & {value for _, value in first}


def test_a_question_has_no_body_and_is_signed_all_the_same(engine_a: EngineServer) -> None:
    ask(engine_a.settings(), Request(Operation.EXECUTION, KEY), Request(Operation.HEALTH))
    question, health = engine_a.requests
    assert (question.method, question.path, question.body) == ("GET", f"/executions/{KEY}", b"")
    assert question.is_signed
    assert question.key == str(KEY)
    assert "content-type" not in question.headers
    assert health.is_signed
    assert "idempotency-key" not in health.headers


def test_the_first_secret_signs_while_one_is_being_rotated(engine_a: EngineServer) -> None:
    assert ask(engine_a.settings(secrets=(SECRETS["A"], SECRETS["B"])), RECOMMENDING).status == 200
    assert ask(engine_a.settings(secrets=(SECRETS["B"], SECRETS["A"])), RECOMMENDING).status == 401


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(drip_seconds=1),
        Behaviour(drip_seconds=0.2),
        Behaviour(delay_seconds=20),
        Behaviour(delay_seconds=0.2, drip_seconds=0.3),
    ],
)
def test_neither_a_dripping_nor_a_silent_engine_can_stretch_the_deadline(
    engine_a: EngineServer, behaviour: Behaviour
) -> None:
    engine_a.always(RECOMMEND, behaviour)
    began = time.monotonic()
    with pytest.raises(NoAnswer, match=r"no whole answer within 0\.5 s"):
        ask(engine_a.settings(), RECOMMENDING, timeout=0.5)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(reset=True),
        Behaviour(reset_before_work=True),
        Behaviour(not_http=True),
        Behaviour(cut=True),
        Behaviour(headers={"X-Nonsense": "a\x00b"}),
    ],
)
@pytest.mark.parametrize("operation", [Operation.RECOMMEND, Operation.EXECUTE])
def test_after_the_request_left_a_broken_connection_is_no_answer_and_nothing_is_repeated(
    engine_a: EngineServer, operation: Operation, behaviour: Behaviour
) -> None:
    name = RECOMMEND if operation is Operation.RECOMMEND else EXECUTE
    body = BODY if operation is Operation.RECOMMEND else EXECUTION_BODY
    engine_a.always(name, behaviour)
    with pytest.raises(NoAnswer):
        ask(engine_a.settings(), Request(operation, KEY, body))
    assert len(engine_a.requests) == 1


EXECUTION_BODY = (
    f'{{"permit_id":"{KEY}","not_after":"2999-01-01T00:00:00.000000Z","recommendation":{{"quantity":"1"}}}}'
)


def test_a_kept_connection_that_dies_is_no_answer_and_nothing_is_repeated(engine_a: EngineServer) -> None:
    engine_a.will(RECOMMEND, Behaviour(), Behaviour(reset=True))
    with pytest.raises(NoAnswer):
        ask(engine_a.settings(), RECOMMENDING, RECOMMENDING)
    assert len(engine_a.requests) == 2
    assert len({request.client_port for request in engine_a.requests}) == 1


def test_an_execution_travels_on_a_connection_of_its_own(engine_a: EngineServer) -> None:
    execution = Request(Operation.EXECUTE, KEY, EXECUTION_BODY)
    ask(engine_a.settings(), RECOMMENDING, RECOMMENDING, execution, execution)
    ports = [request.client_port for request in engine_a.requests]
    assert ports[0] == ports[1]
    assert len(set(ports[1:])) == 3


@pytest.mark.parametrize("url", [TO_NOBODY, "http://engine.invalid:80"])
def test_a_connection_that_never_was_means_nothing_was_sent(engine_a: EngineServer, url: str) -> None:
    with pytest.raises(NotSent, match="no connection"):
        ask(engine_a.settings(url=url), RECOMMENDING)


def test_tls_that_fails_means_nothing_was_sent(engine_a: EngineServer) -> None:
    with pytest.raises(NotSent):
        ask(engine_a.settings(url=engine_a.url.replace("http:", "https:")), RECOMMENDING)
    assert engine_a.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(engine_a: EngineServer, engine_b: EngineServer, status: int) -> None:
    engine_a.always(RECOMMEND, Behaviour(status=status, headers={"Location": f"{engine_b.url}/recommendations"}))
    assert ask(engine_a.settings(), RECOMMENDING).status == status
    assert (len(engine_a.requests), engine_b.requests) == (1, [])


def test_proxies_of_the_environment_are_not_used(engine_a: EngineServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, TO_NOBODY)
    assert ask(engine_a.settings(), RECOMMENDING).status == 200


def test_an_answer_is_returned_to_the_byte_whatever_it_claims_to_be(engine_a: EngineServer) -> None:
    engine_a.will(RECOMMEND, Behaviour(status=418, body="\udcff\x00 not {json", headers={"Content-Encoding": "gzip"}))
    reply = ask(engine_a.settings(), RECOMMENDING)
    assert (reply.status, reply.body) == (418, b"\xff\x00 not {json")


def test_an_endless_answer_is_cut_off(engine_a: EngineServer) -> None:
    engine_a.will(RECOMMEND, Behaviour(body="x" * (MAX_ANSWER_BYTES + 1)), Behaviour(body="x" * MAX_ANSWER_BYTES))
    with pytest.raises(UnusableAnswer, match="longer than"):
        ask(engine_a.settings(), RECOMMENDING)
    assert len(ask(engine_a.settings(), RECOMMENDING).body) == MAX_ANSWER_BYTES


def test_an_engine_without_an_address_gets_nothing(engine_a: EngineServer) -> None:
    with pytest.raises(NotSent, match="set ENGINE_A_URL"):
        ask(engine_a.settings(url=""), RECOMMENDING)


# Python objects


@pytest.mark.parametrize("factory", ["PlainEngine", "AsyncEngine"])
def test_a_python_object_is_asked_with_the_same_bytes(factory: str) -> None:
    reply = ask(python_engine(factory), RECOMMENDING)
    with EngineServer("B") as server:
        over_http = ask(server.settings(), RECOMMENDING)
    assert reply.status == 200
    assert b'"input_hash": "' in reply.body
    assert reply.body.partition(b'"recommendation"')[0] == over_http.body.partition(b'"recommendation"')[0]


def test_a_python_object_answers_every_operation_that_it_offers() -> None:
    engine = python_engine("PlainEngine")
    assert ask(engine, Request(Operation.HEALTH)) == Reply(200, b'{"status": "ok"}')
    assert ask(engine, Request(Operation.EXECUTION, KEY)).status == 404
    assert ask(engine, Request(Operation.CLOSE_SHADOW_TRADE, KEY, '{"a":1}')).body.count(b'{\\"a\\":1}') == 1
    assert ask(engine, Request(Operation.EXECUTE, KEY, "{}")) == Reply(501, b"{}")


@pytest.mark.parametrize(
    "request_", [Request(Operation.HEALTH), RECOMMENDING, Request(Operation.EXECUTION, KEY), Request(Operation.EXECUTE)]
)
def test_whatever_a_python_object_raises_is_no_answer(request_: Request) -> None:
    with pytest.raises(NoAnswer):
        ask(python_engine("FaultyEngine"), request_)


@pytest.mark.parametrize("request_", [RECOMMENDING, Request(Operation.EXECUTE, KEY, "{}")])
def test_a_python_object_that_blocks_cannot_stretch_the_deadline(request_: Request) -> None:
    began = time.monotonic()
    with pytest.raises(NoAnswer, match="within"):
        ask(python_engine("HangingEngine"), request_, timeout=0.3)
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("url", ["python:tests.nowhere:Engine", "python:tests.python_engines:broken_factory"])
def test_a_python_object_that_cannot_be_made_is_refused_with_a_sentence(engine_b: EngineServer, url: str) -> None:
    with pytest.raises(UnusableEngine, match="ENGINE_B_URL is 'python:"):
        connect(engine_b.settings(url=url))


# Both at once


def dispatching(engines: dict[str, EngineSettings], work: Callable[[Dispatcher], list[Answered]]) -> list[Answered]:
    dispatcher = Dispatcher(engines)
    try:
        return work(dispatcher)
    finally:
        dispatcher.close()


def answers(dispatcher: Dispatcher, count: int) -> list[Answered]:
    found = [dispatcher.results.get(timeout=10) for _ in range(count)]
    assert all(isinstance(one, Answered) for one in found)
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("slow", ["python:tests.python_engines:HangingEngine", "http"])
def test_a_slow_engine_delays_only_its_own_side(engine_a: EngineServer, engine_b: EngineServer, slow: str) -> None:
    engine_a.always(RECOMMEND, Behaviour(delay_seconds=5))
    engines = {
        "A": engine_a.settings(**({} if slow == "http" else {"url": slow})),
        "B": engine_b.settings(url=engine_b.url.replace("127.0.0.1", "localhost")),
    }

    def both(dispatcher: Dispatcher) -> list[Answered]:
        for _ in range(40):
            dispatcher.ask("slow", Name.A, RECOMMENDING, timeout=1.5)
        for _ in range(3):
            dispatcher.ask("quick", Name.B, RECOMMENDING, timeout=1.5)
        return answers(dispatcher, 43)

    began = time.monotonic()
    found = dispatching(engines, both)
    assert [one.work for one in found[:3]] == ["quick"] * 3
    assert all(isinstance(one.outcome, Reply) and one.latency < 1 for one in found[:3])
    assert all(isinstance(one.outcome, NoAnswer) and 1.4 < one.latency < 2.5 for one in found[3:])
    assert time.monotonic() - began < 5


def test_what_must_not_be_sent_any_more_is_not_sent(engine_a: EngineServer, engine_b: EngineServer) -> None:
    def too_late(dispatcher: Dispatcher) -> list[Answered]:
        dispatcher.ask("order", Name.A, RECOMMENDING, timeout=1, unless=lambda: "it is too late")
        return answers(dispatcher, 1)

    [found] = dispatching({"A": engine_a.settings(), "B": engine_b.settings()}, too_late)
    assert isinstance(found.outcome, NotSent)
    assert engine_a.requests == []


def test_closing_does_not_wait_for_what_is_in_flight(engine_a: EngineServer, engine_b: EngineServer) -> None:
    engine_a.always(RECOMMEND, Behaviour(delay_seconds=20))

    def begin(dispatcher: Dispatcher) -> list[Answered]:
        dispatcher.ask("slow", Name.A, RECOMMENDING, timeout=20)
        engine_a.wait_for(RECOMMEND)
        return []

    began = time.monotonic()
    dispatching({"A": engine_a.settings(), "B": engine_b.settings()}, begin)
    assert time.monotonic() - began < 10


def test_the_age_of_an_answer_is_counted_from_its_arrival(engine_a: EngineServer, engine_b: EngineServer) -> None:
    engine_a.will(HEALTH, Behaviour(delay_seconds=0.6))

    def wait(dispatcher: Dispatcher) -> list[Answered]:
        dispatcher.ask("health", Name.A, Request(Operation.HEALTH), timeout=5)
        found = answers(dispatcher, 1)
        assert found[0].seconds_ago() < 0.4
        time.sleep(0.5)
        assert 0.5 <= found[0].seconds_ago() < 2
        return found

    [found] = dispatching({"A": engine_a.settings(), "B": engine_b.settings()}, wait)
    assert 0.6 <= found.latency < 2
