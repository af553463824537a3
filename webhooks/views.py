"""The webhook: reads the request, makes one call, and says in HTTP what became of it."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import IO, Any

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.http.request import HttpRequest
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from config.problems import PROBLEM_JSON, problem
from webhooks.alerts.problems import Problem
from webhooks.serializers import AlertAnswerSerializer, AlertProblemsSerializer
from webhooks.services import Rejection, StoredSignal, find_source, receive_alert, reject_over_limit, seconds_to_wait

RETRY_AFTER_OUTAGE_SECONDS = 5
BEYOND_THE_LIMIT = 512  # bytes read past the limit, so that a token across it is still redacted

STATUS_OF_CODE = {"too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE}

log = structlog.get_logger(__name__)


class BodyParser(BaseParser):
    """Takes any body as it is, at most the limit and a little more."""

    media_type = "*/*"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the bytes of the body, as ``body``."""
        return {"body": stream.read(_most_bytes())}


class AnythingGoes(BaseContentNegotiation):
    """A sender's Content-Type and Accept headers decide nothing: it sends alerts and reads JSON."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser:
        """Return the only parser."""
        return next(iter(parsers))

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """Return the only renderer."""
        renderer = next(iter(renderers))
        return renderer, str(renderer.media_type)


class TradingViewWebhook(APIView):
    """An alert becomes one signal."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    parser_classes = (BodyParser,)
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = AnythingGoes
    http_method_names = ["post"]

    @extend_schema(
        summary="Send an alert",
        description="The body is the alert's message, JSON whatever the Content-Type says.",
        parameters=[OpenApiParameter("token", OpenApiTypes.STR, OpenApiParameter.PATH)],
        request={"application/json": OpenApiTypes.OBJECT, "text/plain": OpenApiTypes.STR},
        responses={
            200: AlertAnswerSerializer,
            **{(status, PROBLEM_JSON): AlertProblemsSerializer for status in (400, 404, 405, 413, 429, 503)},
        },
    )
    def post(self, request: Request, token: str) -> Response:
        """Store the alert as a signal; the same alert again answers with the same signal."""
        try:
            body = _body_of(request)
        except OSError:
            return _problem(HTTPStatus.BAD_REQUEST, "The request ended before its body did.")
        try:
            return _receive(request, body=body, token=token)
        except DatabaseError as error:
            log.exception("webhook.database_unavailable", error_type=type(error).__name__)
            return _problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "The database cannot take the alert at the moment; send it again.",
                headers={"Retry-After": str(RETRY_AFTER_OUTAGE_SECONDS)},
            )

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Response:
        """Refuse every method but POST."""
        return _problem(HTTPStatus.METHOD_NOT_ALLOWED, "Alerts are sent with POST.", headers={"Allow": "POST"})


def _receive(request: Request, *, body: bytes, token: str) -> Response:
    source = find_source(token)
    if source is None:
        return _problem(
            HTTPStatus.NOT_FOUND, "There is no such webhook. Its address is shown when a source is created."
        )
    content_type = request.content_type or ""
    if wait := seconds_to_wait(source):
        rejection = reject_over_limit(body, source=source, token=token, content_type=content_type)
        return _problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            rejection.problems[0].message,
            rejection=rejection,
            headers={"Retry-After": str(wait)},
        )
    outcome = receive_alert(
        body,
        source=source,
        token=token,
        content_type=content_type,
        content_encoding=_content_encoding(request),
        at=timezone.now(),
    )
    if isinstance(outcome, StoredSignal):
        answer = {
            "signal_id": str(outcome.signal_id),
            "signal_hash": outcome.signal_hash,
            "duplicate": outcome.duplicate,
        }
        return Response(answer)
    if outcome.code == "exit_alert":
        return Response({"signal_id": None, "code": "exit_alert"})
    status = STATUS_OF_CODE.get(outcome.code, HTTPStatus.BAD_REQUEST)
    return _problem(status, " ".join(each.message for each in outcome.problems), rejection=outcome)


def _body_of(request: Request) -> bytes:
    """Return the body, or its beginning when it is too long.

    A chunked body has no length; where the server says that its stream ends by itself, it is read as well.

    :raises OSError: when the sender went away.
    """
    if not request.META.get("CONTENT_LENGTH") and request.META.get("wsgi.input_terminated"):
        return bytes(request.META["wsgi.input"].read(_most_bytes()))
    return bytes(request.data.get("body", b""))  # DRF asks no parser when the length is 0


def _most_bytes() -> int:
    return int(settings.WEBHOOK_MAX_BODY_BYTES) + BEYOND_THE_LIMIT


def _content_encoding(request: Request) -> str:
    encoding = str(request.META.get("HTTP_CONTENT_ENCODING", "")).strip()
    return "" if encoding.casefold() == "identity" else encoding


def _problem(
    status: HTTPStatus, detail: str, *, rejection: Rejection | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    problems: Sequence[Problem] = rejection.problems if rejection else ()
    document = problem(status, detail=detail, errors=[each.as_json() for each in problems])
    if rejection:
        document["code"] = rejection.code
    response = Response(document, status=status, content_type=PROBLEM_JSON, headers=dict(headers or {}))
    response._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001 - Django would log the address: the token
    return response
