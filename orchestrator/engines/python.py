"""An engine that is a Python object: ``python:package.module:factory`` names what makes it.

It may offer ``health()``, ``recommend(body)``, ``recommendation(key)``, ``execute(body)``, ``execution(key)``,
``open_shadow_trade(body)`` and ``close_shadow_trade(key, body)``, plain or async. Bodies are the bytes that HTTP would
carry; an answer is a JSON-able mapping (status 200) or a pair (status, mapping). What it does not offer answers 501.

It never runs on the loop that talks to the other engine: each plain call has a thread of its own, all async calls share
one loop in another. So it can hold up, hang or exhaust nothing but itself.
"""

import asyncio
import inspect
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from http import HTTPStatus
from typing import Any

from django.utils.module_loading import import_string

from config.environment import EngineSettings
from orchestrator.engines.protocol import NoAnswer, NotSent, Operation, Reply, Request, Unless, nothing_against

BODY_ONLY = {Operation.RECOMMEND, Operation.EXECUTE, Operation.OPEN_SHADOW_TRADE}


class UnusableEngine(Exception):
    """What ``ENGINE_<X>_URL`` names cannot be made; the message says which and why."""


class PythonEngine:
    """``send`` may be called from any event loop.

    :raises UnusableEngine: when there is no such factory, or it fails.
    """

    def __init__(self, settings: EngineSettings) -> None:
        _, module, factory = settings.url.split(":")
        self._name = f"engine-{settings.name}"
        try:
            self._object = import_string(f"{module}.{factory}")()
        except Exception as error:
            raise UnusableEngine(
                f"ENGINE_{settings.name}_URL is {settings.url!r}, but that engine cannot be made: "
                f"{type(error).__name__}: {error}. Accepted: python:package.module:factory, a callable without arguments."
            ) from error
        self._loop: asyncio.AbstractEventLoop | None = None

    async def send(self, request: Request, *, timeout: float, unless: Unless = nothing_against) -> Reply:
        operation = getattr(self._object, request.operation.name.lower(), None)
        if operation is None:
            return Reply(HTTPStatus.NOT_IMPLEMENTED, b"{}")
        try:
            async with asyncio.timeout(timeout):
                answer = await asyncio.wrap_future(self._begin(operation, _arguments(request), unless))
        except TimeoutError:
            raise NoAnswer(f"no answer within {timeout:g} s") from None
        except NotSent:
            raise
        except Exception as error:  # whatever a foreign engine raises is its failure
            raise NoAnswer(f"{type(error).__name__}: {error}") from error
        return _reply(answer)

    async def close(self) -> None:
        """End the loop of the async calls; a plain call that hangs ends with the process."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _begin(self, operation: Callable[..., Any], arguments: tuple[Any, ...], unless: Unless) -> "Future[Any]":
        if inspect.iscoroutinefunction(operation):
            return asyncio.run_coroutine_threadsafe(_await(operation, arguments, unless), self._own_loop())
        outcome: Future[Any] = Future()
        self._in_a_thread(lambda: _run(operation, arguments, unless, outcome))
        return outcome

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = loop = asyncio.new_event_loop()
            self._in_a_thread(lambda: _serve(loop))
        return self._loop

    def _in_a_thread(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, name=self._name, daemon=True).start()


async def _await(operation: Callable[..., Any], arguments: tuple[Any, ...], unless: Unless) -> Any:
    _look(unless)  # only here: another call may have held up the loop
    return await operation(*arguments)


def _run(operation: Callable[..., Any], arguments: tuple[Any, ...], unless: Unless, outcome: "Future[Any]") -> None:
    outcome.set_running_or_notify_cancel()
    try:
        _look(unless)
        outcome.set_result(operation(*arguments))
    except Exception as error:  # noqa: BLE001 - it is raised where the outcome is waited for
        outcome.set_exception(error)
    except BaseException as error:  # noqa: BLE001 - SystemExit, say: not for the loop that waits
        outcome.set_exception(NoAnswer(f"{type(error).__name__}: {error}"))


def _look(unless: Unless) -> None:
    if reason := unless():
        raise NotSent(reason)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _arguments(request: Request) -> tuple[Any, ...]:
    if request.operation is Operation.HEALTH:
        return ()
    if request.operation in BODY_ONLY:
        return (request.body.encode(),)
    if request.operation is Operation.CLOSE_SHADOW_TRADE:
        return (str(request.key), request.body.encode())
    return (str(request.key),)


def _reply(answer: Any) -> Reply:
    try:
        status, content = answer if isinstance(answer, tuple) else (HTTPStatus.OK, answer)
        return Reply(int(status), json.dumps(content, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise NoAnswer(f"the answer is not JSON: {error}") from error
