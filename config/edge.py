"""What stands between the network and Django: it takes in a whole request before a thread is given to it.

A server that hands a request to a thread with its head lets whoever sends a byte a second hold that thread: sixteen such
senders and nobody is served. Here bodies are taken in by the event loop, which has room for all of them, with an end in time
and in size; Django's threads see requests that are complete. Alerts have threads of their own: no long report holds one up.
An application after the RSGI specification, for granian.
"""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterable
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from ipaddress import ip_address
from json import dumps
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponseBase

from config.problems import PROBLEM_JSON, problem
from webhooks.keeping import keeper

if TYPE_CHECKING:
    from granian._granian import RSGIHTTPProtocol as HTTPProtocol
    from granian.rsgi import Scope

BODY_SECONDS = 5.0
WEBHOOKS = "/webhooks/"
BEYOND_THE_LIMIT = 512  # as much as the webhook wants to see of a body that is too long
# So much of a body that is too long is thrown away, so that its sender gets to read the answer.
MOST_THROWN_AWAY = 16 * 1024 * 1024
# For alerts, and as many again for everything else. More do not answer more on two cores: they wait for one another.
THREADS = 8

Headers = list[tuple[str, str]]
_Request = tuple[dict[str, Any], "HTTPProtocol", "asyncio.Future[None]"]

log = structlog.get_logger(__name__)


class Unfinished(Exception):
    """The request did not come to its end in time."""


class Edge:
    """Django behind a door: ``granian --interface rsgi config.rsgi:application``."""

    def __init__(self, handler: WSGIHandler, *, threads: int = THREADS) -> None:
        self._handler = handler
        self._threads = threads
        self._alerts: SimpleQueue[_Request] = SimpleQueue()
        self._others: SimpleQueue[_Request] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin: what waits in the spool is not left to wait for the first request."""
        self._loop = loop
        for kind, requests in (("alert", self._alerts), ("request", self._others)):
            for number in range(self._threads):
                threading.Thread(target=self._serve, args=(requests,), name=f"{kind}-{number}", daemon=True).start()
        keeper.start()

    async def __rsgi__(self, scope: "Scope", protocol: "HTTPProtocol") -> None:
        """Answer one request."""
        if scope.proto != "http":
            return
        is_webhook = scope.path.startswith(WEBHOOKS)
        most = (
            settings.WEBHOOK_MAX_BODY_BYTES + BEYOND_THE_LIMIT if is_webhook else settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        )
        try:
            body, is_whole = await _read_body(scope, protocol, most)
        except Unfinished:
            _refuse(protocol, HTTPStatus.REQUEST_TIMEOUT, f"The body did not arrive within {BODY_SECONDS:g} seconds.")
            return
        if not is_whole and not is_webhook:
            _refuse(protocol, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {most} bytes.")
            return
        answered = self._loop.create_future()
        requests = self._alerts if is_webhook else self._others
        requests.put((_environ(scope, body), protocol, answered))
        await answered

    def _serve(self, requests: "SimpleQueue[_Request]") -> None:
        """Answer complete requests, one after the other, in one of the threads."""
        while True:
            environ, protocol, answered = requests.get()
            try:
                self._answer(environ, protocol)
            except Exception:
                log.exception("request.failed")
            finally:
                self._loop.call_soon_threadsafe(_finish, answered)

    def _answer(self, environ: dict[str, Any], protocol: "HTTPProtocol") -> None:
        started: list[Any] = []

        def start_response(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
            started[:] = [int(status[:3]), headers]
            return lambda _: None

        response = self._handler(environ, start_response)
        try:
            status, headers = started
            if getattr(response, "streaming", True):
                self._send_pieces(response, protocol, status, headers)
            else:
                protocol.response_bytes(status, headers, b"".join(response))
        finally:
            if isinstance(response, HttpResponseBase):
                response.close()

    def _send_pieces(self, pieces: Iterable[bytes], protocol: "HTTPProtocol", status: int, headers: Headers) -> None:
        """Send a long answer as it is made, no faster than it is read."""
        transport = protocol.response_stream(status, headers)
        for piece in pieces:
            asyncio.run_coroutine_threadsafe(_send(transport, piece), self._loop).result()


def _finish(answered: "asyncio.Future[None]") -> None:
    if not answered.done():  # its sender may have gone
        answered.set_result(None)


async def _send(transport: Any, piece: bytes) -> None:
    await transport.send_bytes(piece)


async def _read_body(scope: "Scope", protocol: "HTTPProtocol", most: int) -> tuple[bytes, bool]:
    """Return the body, at most its first ``most`` bytes, and whether that is all of it.

    :raises Unfinished: when it takes too long, or its sender has gone.
    """
    length = scope.headers.get("content-length")
    if length is None and "transfer-encoding" not in scope.headers:
        return b"", True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            if length is not None and length.isdigit() and int(length) <= most:
                return bytes(await protocol()), True
            return await _read_pieces(protocol, most)
    except TimeoutError:
        raise Unfinished from None
    except (OSError, RuntimeError) as error:
        raise Unfinished from error


async def _read_pieces(protocol: "HTTPProtocol", most: int) -> tuple[bytes, bool]:
    kept, seen = bytearray(), 0
    async for piece in protocol:
        kept += piece[: most - len(kept)]
        seen += len(piece)
        if seen > most + MOST_THROWN_AWAY:
            break
    return bytes(kept), seen <= most


def _environ(scope: "Scope", body: bytes) -> dict[str, Any]:
    """Return the request as WSGI describes it (PEP 3333)."""
    client, _, client_port = scope.client.rpartition(":")
    server, _, server_port = scope.server.rpartition(":")
    environ = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode("utf-8", "surrogateescape").decode("latin-1"),  # decoded by the server
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": _plain(server),
        "SERVER_PORT": server_port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": _plain(client),
        "REMOTE_PORT": client_port,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        key = name.upper().replace("-", "_")
        if "_" in name:  # X_Forwarded_Proto would pass itself off as X-Forwarded-Proto
            continue
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    if scope.authority and "HTTP_HOST" not in environ:
        environ["HTTP_HOST"] = scope.authority
    environ["CONTENT_LENGTH"] = str(len(body))
    return environ


@lru_cache(maxsize=1024)
def _plain(address: str) -> str:
    stripped = address.strip("[]")
    try:
        return str(ip_address(stripped))
    except ValueError:
        return stripped


def _refuse(protocol: "HTTPProtocol", status: HTTPStatus, detail: str) -> None:
    headers = [("content-type", PROBLEM_JSON), ("connection", "close"), ("cache-control", "no-store")]
    protocol.response_bytes(status, headers, dumps(problem(status, detail=detail)).encode())
