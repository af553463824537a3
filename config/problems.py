"""Errors as RFC 9457 problem documents: what is wrong, where, what was found and what is accepted. For all of /api/."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler as rest_exception_handler

PROBLEM_JSON = "application/problem+json"
API_PATHS = "/api/"
LONGEST_FOUND = 200

log = structlog.get_logger(__name__)

DETAILS = {
    400: "The request cannot be understood.",
    401: "Log in, or send an API token: Authorization: Token <token>.",
    403: "You may not do this.",
    404: "There is nothing at this address.",
    405: "This address does not take this method.",
    500: "Something went wrong here; it has been logged.",
    503: "The database cannot be reached at the moment; try again.",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request. ``found`` is what was sent, as text, or None when nothing was."""

    field: str
    found: str | None
    accepted: str


class Refused(APIException):
    """A request that makes no sense, with every fault named."""

    def __init__(self, faults: Sequence[Fault], *, status: int = 400) -> None:
        self.status_code = status
        self.faults = tuple(faults)
        super().__init__(" ".join(f"{fault.field}: accepted is {fault.accepted}." for fault in faults[:5]))


def shown(value: object) -> str:
    """Return a value as a short text for an error message."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
    return text if len(text) <= LONGEST_FOUND else f"{text[:LONGEST_FOUND]}…"


def problem(status: int, *, detail: str = "", errors: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return the members of a problem document."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail or DETAILS.get(status, HTTPStatus(status).phrase + "."),
    }
    return {**body, "errors": [dict(error) for error in errors]} if errors else body


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the answer for an exception of an API view; None lets Django log it and answer 500."""
    if isinstance(error, OperationalError | InterfaceError):
        log.warning("api.database_unavailable", error_type=type(error).__name__, error_message=str(error))
        return _respond(Response(headers={"Retry-After": "5"}), problem(503), status=503)
    response = rest_exception_handler(error, context)
    if response is None:
        return None
    if isinstance(error, Refused):
        body = problem(error.status_code, detail=str(error.detail), errors=[asdict(fault) for fault in error.faults])
    elif isinstance(error, ValidationError):
        errors = [asdict(fault) for fault in _faults(response.data, context["request"].query_params)]
        body = problem(response.status_code, detail="The request makes no sense; see errors.", errors=errors)
    else:
        detail = "" if response.status_code in (401, 404) else str(response.data.get("detail", ""))
        body = problem(response.status_code, detail=detail)
    return _respond(response, body, status=response.status_code)


class ProblemMiddleware:
    """Turns what Django itself answers under /api/ (unknown address, wrong method, crash) into a problem document."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if response.status_code < HTTPStatus.BAD_REQUEST or not request.path.startswith(API_PATHS):
            return response
        if "json" in response.headers.get("Content-Type", ""):
            return response
        told = HttpResponse(
            json.dumps(problem(response.status_code)), content_type=PROBLEM_JSON, status=response.status_code
        )
        for name in ("Allow", "Retry-After", "WWW-Authenticate"):
            if name in response.headers:
                told.headers[name] = response.headers[name]
        return told


def _respond(response: Response, body: dict[str, Any], *, status: int) -> Response:
    response.data = body
    response.status_code = status
    response.content_type = PROBLEM_JSON
    return response


def _faults(data: Any, params: Mapping[str, str]) -> list[Fault]:
    """Return the messages of a ValidationError by field, with what the query said."""
    if not isinstance(data, Mapping):
        return [Fault("request", None, str(message)) for message in (data if isinstance(data, list) else [data])]
    return [
        Fault(str(field), shown(params[field]) if field in params else None, " ".join(str(line) for line in lines))
        for field, lines in data.items()
    ]
