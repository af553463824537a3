"""An engine that is a Python object: ``python:package.module:factory`` names what makes it.

It may offer ``health()``, ``recommend(body)``, ``recommendation(key)``, ``execute(body)``, ``execution(key)``,
``open_shadow_trade(body)`` and ``close_shadow_trade(key, body)``, plain or async. Bodies are the bytes that HTTP would
carry; an answer is a JSON-able mapping (status 200) or a pair (status, mapping). What it does not offer answers 501.
"""

import asyncio
import inspect
import json
from collections.abc import Callable
from typing import Any

from django.utils.module_loading import import_string

from config.environment import EngineSettings
from orchestrator.engines.protocol import NoAnswer, Operation, Reply, Request

BODY_ONLY = {Operation.RECOMMEND, Operation.EXECUTE, Operation.OPEN_SHADOW_TRADE}


class PythonEngine:
    def __init__(self, settings: EngineSettings) -> None:
        _, module, factory = settings.url.split(":")
        self._object = import_string(f"{module}.{factory}")()

    async def send(self, request: Request, *, timeout: float) -> Reply:
        operation = getattr(self._object, request.operation.name.lower(), None)
        if operation is None:
            return Reply(501, b"{}")
        try:
            async with asyncio.timeout(timeout):
                answer = await _call(operation, _arguments(request))
        except TimeoutError:
            raise NoAnswer(f"no answer within {timeout:g} s") from None
        except Exception as error:  # whatever a foreign engine raises is its failure
            raise NoAnswer(f"{type(error).__name__}: {error}") from error
        return _reply(answer)

    async def close(self) -> None:
        """Nothing is held open."""


def _arguments(request: Request) -> tuple[Any, ...]:
    if request.operation is Operation.HEALTH:
        return ()
    if request.operation in BODY_ONLY:
        return (request.body.encode(),)
    if request.operation is Operation.CLOSE_SHADOW_TRADE:
        return (str(request.key), request.body.encode())
    return (str(request.key),)


async def _call(operation: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    if inspect.iscoroutinefunction(operation):
        return await operation(*arguments)
    return await asyncio.to_thread(operation, *arguments)


def _reply(answer: Any) -> Reply:
    status, content = answer if isinstance(answer, tuple) else (200, answer)
    try:
        return Reply(int(status), json.dumps(content, allow_nan=False).encode())
    except (TypeError, ValueError) as error:
        raise NoAnswer(f"the answer is not JSON: {error}") from error
