"""An engine behind HTTP: one request, once, within a deadline that a dripping server cannot stretch."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

import httpx2

from config.environment import EngineSettings
from config.faults import ConnectionDropped, is_armed, passing
from config.keys import new_key
from orchestrator.engines.protocol import (
    NoAnswer,
    NotSent,
    Operation,
    Reply,
    Request,
    Unless,
    UnusableAnswer,
    nothing_against,
)
from orchestrator.engines.signing import sign

MAX_ANSWER_BYTES = 1024 * 1024


class HttpEngine:
    """Redirects are not followed, proxies of the environment not used, and nothing is ever repeated."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._kept = _client(settings.concurrency)
        # an execution gets a connection of its own: one that was kept open may die under the request
        self._fresh = _client(0)

    async def send(self, request: Request, *, timeout: float, unless: Unless = nothing_against) -> Reply:
        client = self._fresh if request.operation is Operation.EXECUTE else self._kept
        try:
            async with asyncio.timeout(timeout):
                return await self._exchange(client, request, unless)
        except TimeoutError:
            raise NoAnswer(f"no whole answer within {timeout:g} s") from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise NotSent(f"no connection: {error or type(error).__name__}") from error
        except (httpx2.HTTPError, ConnectionDropped) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}") from error

    async def _exchange(self, client: httpx2.AsyncClient, request: Request, unless: Unless) -> Reply:
        content = request.body.encode()
        headers = sign(
            self._settings.secrets[0], message_id=f"msg_{new_key().hex}", body=request.body, at=datetime.now(UTC)
        )
        if request.key is not None:
            headers["idempotency-key"] = str(request.key)
        if content:
            headers["content-type"] = "application/json"
        url = self._settings.url + request.operation.path(request.key)
        async with client.stream(
            request.operation.method,
            url,
            content=content or None,
            headers=headers,
            extensions={"trace": _steps(request.operation, unless)}
            if unless is not nothing_against or is_armed()
            else {},
        ) as answer:
            body = bytearray()
            async for chunk in answer.aiter_raw():  # as sent: nothing was asked for that would have to be unpacked
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise UnusableAnswer(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
            passing(f"{_label(request.operation)}:after_receive")
            return Reply(answer.status_code, bytes(body))

    async def close(self) -> None:
        await self._kept.aclose()
        await self._fresh.aclose()


def _steps(operation: Operation, unless: Unless) -> Callable[[str, Any], Awaitable[None]]:
    """Return a hook into the connection: nothing is written any more once there is a reason against it.

    Opening the connection may have taken long; between this look and the write nothing is waited for.
    """
    label = _label(operation)

    async def step(name: str, _: Any) -> None:
        if name == "http11.send_request_headers.started":
            passing(f"{label}:before_send")
            if reason := unless():
                raise NotSent(reason)
        elif name == "http11.send_request_body.started" and (reason := unless()):
            raise NoAnswer(f"cut off after its headers: {reason}")
        elif name == "http11.send_request_body.complete":
            passing(f"{label}:after_send")

    return step


def _label(operation: Operation) -> str:
    """Return what the fault points around an operation are called."""
    return operation.name.lower()


@cache
def _tls() -> ssl.SSLContext:
    """Return the certificates that all clients trust; reading them takes longer than all the rest."""
    return httpx2.create_ssl_context(trust_env=False)


def _client(kept_open: int) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        timeout=None,  # the deadline is asyncio's, over the whole exchange
        follow_redirects=False,
        trust_env=False,
        verify=_tls(),
        headers={"user-agent": "trading-orchestrator", "accept": "application/json", "accept-encoding": "identity"},
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=kept_open, keepalive_expiry=15),
    )
