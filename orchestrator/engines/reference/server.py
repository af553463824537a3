"""HTTP/1.1 for an engine: reads requests within limits, hands them to `respond`, writes one answer each."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition
from typing import Any

import structlog

from orchestrator.engines.reference.requests import Engine, Request, Response, problem, respond

log = structlog.get_logger(__name__)

HOST = "127.0.0.1"
LARGEST_BODY = 1024 * 1024
IDLE_SECONDS = 60


class PortUnavailable(Exception):
    """The engine cannot listen there; the message says what to do."""


class EngineServer(ThreadingHTTPServer):
    """Listens for one engine, a thread for each connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, engine: Engine, *, port: int) -> None:
        """Listen on the loopback address.

        :param port: 0 for any that is free.
        :raises PortUnavailable: when the port is taken or not allowed.
        """
        self.engine = engine
        self._in_hand = 0
        self._changed = Condition()
        try:
            super().__init__((HOST, port), EngineHandler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise PortUnavailable(
                f"Engine {engine.profile.name} cannot listen on port {port} ({reason}); give it another with --port."
            ) from None

    @property
    def address(self) -> str:
        """The base URL of the engine."""
        return f"http://{HOST}:{self.server_port}"

    @contextmanager
    def request_in_hand(self) -> Iterator[None]:
        """Count a request that must be answered before the process may end."""
        with self._changed:
            self._in_hand += 1
        try:
            yield
        finally:
            with self._changed:
                self._in_hand -= 1
                self._changed.notify_all()

    def wait_until_idle(self, *, seconds: float) -> bool:
        """Wait for the requests in hand; False when some are left after that time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._in_hand == 0, timeout=seconds)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a connection that broke; there is nobody left to answer."""
        error = sys.exc_info()[1]
        log.info("reference.connection_broken", error_type=type(error).__name__, error_message=str(error))


class EngineHandler(BaseHTTPRequestHandler):
    """One connection, request after request."""

    server: EngineServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "reference-engine", ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave in one piece

    def do_POST(self) -> None:
        """Answer one request, whatever its method."""
        with self.server.request_in_hand():
            self._answer(self._respond())
            self.wfile.flush()

    do_GET = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST  # noqa: N815 (the standard library's names)

    def _respond(self) -> Response:
        body = self._read_body()
        if isinstance(body, Response):
            self.close_connection = True  # what follows on this connection is unread body
            return body
        headers = {name.lower(): value for name, value in self.headers.items()}
        engine = self.server.engine
        try:
            return respond(engine, Request(self.command, self.path, headers, body))
        except Exception:
            log.exception("reference.request_failed", engine=engine.profile.name, path=self.path[:200])
            return problem(500, "The engine could not do it; its log says why.")

    def _read_body(self) -> bytes | Response:
        if "transfer-encoding" in self.headers:
            return problem(411, "Send the body with a Content-Length, not chunked.")
        told = self.headers.get("content-length", "0").strip()
        if not (told.isascii() and told.isdigit()):
            return problem(400, "Content-Length is not a whole number.")
        if len(told) > len(str(LARGEST_BODY)) or int(told) > LARGEST_BODY:
            return problem(413, f"The body is larger than {LARGEST_BODY} bytes.")
        body = self.rfile.read(int(told))
        return body if len(body) == int(told) else problem(400, "The body is shorter than its Content-Length.")

    def _answer(self, response: Response) -> None:
        content = response.body.encode()
        self.request_version = (
            self.protocol_version
        )  # a request line that cannot be read counts as HTTP/0.9: no headers
        self.send_response(response.status)
        self.send_header("Content-Type", response.media_type)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is not even HTTP with a problem document as well."""
        self.close_connection = True
        detail = message or explain or "This is not a request that can be read."
        with self.server.request_in_hand():
            self._answer(problem(int(code), detail))
            self.wfile.flush()

    def log_message(self, *args: Any) -> None:
        """Say nothing for each request: the ledger has them all."""
