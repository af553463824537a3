"""The endpoints of the wire contract: which request means what, and what is answered; no sockets here."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event
from typing import Any
from uuid import UUID

from orchestrator.engines.reference.alerts import UnreadableBody, identifier, read_body
from orchestrator.engines.reference.executions import OtherExecution, execute_permit, execution_report
from orchestrator.engines.reference.ledger import Ledger
from orchestrator.engines.reference.profiles import Profile
from orchestrator.engines.reference.questions import (
    OtherQuestion,
    answer_question,
    receive_question,
    stored_answer,
)
from orchestrator.engines.reference.shadows import UnknownExperiment, close_shadow_trade, follow_shadow_trade
from orchestrator.engines.signing import BadSignature, verify

PROBLEMS = {
    400: "Bad request",
    401: "Signature refused",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    411: "Length required",
    413: "Too large",
    500: "Internal error",
    501: "Not implemented",
    503: "Stopping",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, read completely; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered: a status and a JSON text."""

    status: int
    body: str
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine. ``delay`` is the seconds it thinks.

    ``asked`` and ``reported`` are set when a question or an event may be waiting, ``stopping`` when the process ends.
    """

    profile: Profile
    ledger: Ledger
    secrets: tuple[str, ...]
    delay: float
    asked: Event
    reported: Event
    stopping: Event

    def now(self) -> datetime:
        """Return the engine's clock."""
        return datetime.now(UTC)


def respond(engine: Engine, request: Request) -> Response:
    """Verify a request, do what it asks and return the answer; whatever is wrong with it becomes a problem document."""
    try:
        verify(engine.secrets, headers=request.headers, body=request.body)
        handler, found_id = _route(request)
        return handler(engine, request, found_id)
    except BadSignature as error:
        return problem(401, f"The request is not signed as Standard Webhooks asks: {error}.")
    except UnreadableBody as error:
        return problem(400, f"{error}.")
    except (OtherQuestion, OtherExecution) as error:
        return problem(409, f"{error}.")
    except UnknownExperiment as error:
        return problem(404, f"{error}.")
    except NoSuchEndpoint as error:
        return problem(error.status, f"{error}.")


def problem(status: int, detail: str) -> Response:
    """Return a problem document (RFC 9457)."""
    document = {"type": "about:blank", "title": PROBLEMS.get(status, "Error"), "status": status}
    return Response(
        status, json.dumps(document | {"detail": detail[:1].upper() + detail[1:]}), "application/problem+json"
    )


class NoSuchEndpoint(LookupError):
    """There is nothing at this path, or not with this method."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


Handler = Callable[[Engine, Request, str], Response]


def _health(_engine: Engine, _request: Request, _id: str) -> Response:
    return _json(200, {"status": "ok", "app_mode": "PAPER"})  # there is no other mode: its fills are made up


def _ask(engine: Engine, request: Request, _id: str) -> Response:
    _check_key(request, "experiment_id")
    experiment_id = receive_question(engine.profile, engine.ledger, request.body, at=engine.now())
    engine.asked.set()
    engine.reported.set()  # the alert in it may have ended trades
    answer = _stored(engine, experiment_id)
    if answer is not None:
        return Response(200, answer)
    if not engine.profile.synchronous:
        return _json(202, {"experiment_id": experiment_id, "status": "PENDING"})
    if engine.stopping.wait(engine.delay):
        return problem(503, "The engine is stopping; the question is kept and is answered after its next start.")
    return Response(200, answer_question(engine.profile, engine.ledger, experiment_id, at=engine.now()))


def _answer(engine: Engine, _request: Request, experiment_id: str) -> Response:
    answer = _stored(engine, experiment_id)
    if answer is not None:
        return Response(200, answer)
    with engine.ledger.transaction() as tx:
        asked = tx.execute("SELECT 1 FROM questions WHERE experiment_id = ?", (experiment_id,)).fetchone()
    if asked is None:
        return problem(404, f"Nobody asked about experiment {experiment_id}.")
    return _json(202, {"experiment_id": experiment_id, "status": "PENDING"})


def _execute(engine: Engine, request: Request, _id: str) -> Response:
    _check_key(request, "permit_id")
    return Response(200, execute_permit(engine.profile, engine.ledger, request.body, clock=engine.now))


def _execution(engine: Engine, _request: Request, permit_id: str) -> Response:
    report = execution_report(engine.ledger, permit_id)
    return problem(404, f"Permit {permit_id} was never seen.") if report is None else _json(200, report)


def _shadow(engine: Engine, request: Request, _id: str) -> Response:
    _check_key(request, "trade_id")
    trade_id = follow_shadow_trade(engine.ledger, request.body, at=engine.now())
    return _json(200, {"trade_id": trade_id, "status": "FOLLOWED"})


def _shadow_exit(engine: Engine, request: Request, trade_id: str) -> Response:
    price = close_shadow_trade(engine.ledger, trade_id, request.body, at=engine.now())
    return _json(200, {"exit_price": price})


ENDPOINTS: dict[tuple[str, ...], dict[str, Handler]] = {
    ("health",): {"GET": _health},
    ("recommendations",): {"POST": _ask},
    ("recommendations", "<id>"): {"GET": _answer},
    ("executions",): {"POST": _execute},
    ("executions", "<id>"): {"GET": _execution},
    ("shadow-trades",): {"POST": _shadow},
    ("shadow-trades", "<id>", "exit"): {"POST": _shadow_exit},
}


def _route(request: Request) -> tuple[Handler, str]:
    """Return the handler of a request and the id in its path, a UUID in lower case."""
    parts = tuple(request.path.partition("?")[0].strip("/").split("/"))
    found_id, shape = "", parts
    if len(parts) > 1:
        try:
            found_id = str(UUID(parts[1]))
        except ValueError:
            raise NoSuchEndpoint(404, "there is nothing at this path") from None
        shape = (parts[0], "<id>", *parts[2:])
    methods = ENDPOINTS.get(shape)
    if methods is None:
        raise NoSuchEndpoint(404, "there is nothing at this path")
    if request.method not in methods:
        raise NoSuchEndpoint(405, f"{request.method} is not offered here; accepted is {' or '.join(methods)}")
    return methods[request.method], found_id


def _check_key(request: Request, name: str) -> None:
    """Hold the Idempotency-Key of a POST against the id in its body."""
    key, found = request.headers.get("idempotency-key", ""), identifier(read_body(request.body), name)
    if key.lower() != found:
        raise UnreadableBody(f"Idempotency-Key is {key[:60]!r}; accepted is the {name} of the body")


def _stored(engine: Engine, experiment_id: str) -> str | None:
    with engine.ledger.transaction() as tx:
        return stored_answer(tx, experiment_id)


def _json(status: int, content: dict[str, Any]) -> Response:
    return Response(status, json.dumps(content))
