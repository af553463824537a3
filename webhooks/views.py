"""The webhook: reads the request, makes one call, and says in HTTP what became of it."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.views import APIView

from config.problems import PROBLEM_JSON, problem
from config.proxies import client_address
from webhooks.alerts.problems import Problem
from webhooks.serializers import AlertAnswerSerializer, AlertProblemsSerializer
from webhooks.services import (
    Delivery,
    KeptLater,
    Outcome,
    OutOfReach,
    Refused,
    Rejection,
    SpoolFull,
    StoredSignal,
    UnknownToken,
    receive,
)

RETRY_AFTER_OUTAGE_SECONDS = 5
BEYOND_THE_LIMIT = 512  # bytes read past the limit, so that a token across it is still redacted

STATUS_OF_CODE = {"too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "rate_limited": HTTPStatus.TOO_MANY_REQUESTS}

log = structlog.get_logger(__name__)


class TradingViewWebhook(APIView):
    """An alert becomes one signal.

    A sender's Content-Type and Accept headers decide nothing, nobody logs in, and nothing is throttled here. So of what the
    framework does with a request before its view runs, nothing is left to do: ``dispatch`` calls the view at once.
    """

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    http_method_names = ["post"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Take a POST, and refuse every other method."""
        if request.method != "POST":
            return _problem(HTTPStatus.METHOD_NOT_ALLOWED, "Alerts are sent with POST.", headers={"Allow": "POST"})
        return self.post(request, *args, **kwargs)

    @extend_schema(
        summary="Send an alert",
        description="The body is the alert's message, JSON whatever the Content-Type says.",
        parameters=[OpenApiParameter("token", OpenApiTypes.STR, OpenApiParameter.PATH)],
        request={"application/json": OpenApiTypes.OBJECT, "text/plain": OpenApiTypes.STR},
        responses={
            200: AlertAnswerSerializer,
            **{(status, PROBLEM_JSON): AlertProblemsSerializer for status in (400, 403, 404, 405, 413, 429, 503)},
        },
    )
    def post(self, request: HttpRequest, token: str) -> HttpResponse:
        """Store the alert as a signal; the same alert again answers with the same signal."""
        try:
            body = _body_of(request)
        except OSError:
            return _problem(HTTPStatus.BAD_REQUEST, "The request ended before its body did.")
        delivery = Delivery(
            raw=body,
            token=token,
            content_type=request.META.get("CONTENT_TYPE", ""),
            content_encoding=_content_encoding(request),
            sent_from=client_address(request),
        )
        try:
            return _answer(receive(delivery))
        except UnknownToken:
            return _problem(
                HTTPStatus.NOT_FOUND, "There is no such webhook. Its address is shown when a source is created."
            )
        except Refused:
            return _problem(
                HTTPStatus.FORBIDDEN, "This source takes the alert from elsewhere, or with its secret in the body."
            )
        except (OutOfReach, SpoolFull, DatabaseError) as error:
            log.warning("webhook.database_unavailable", error_type=type(error).__name__, error_message=str(error))
            return _problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "The database cannot take the alert at the moment; send it again.",
                headers={"Retry-After": str(RETRY_AFTER_OUTAGE_SECONDS)},
            )


def _answer(outcome: Outcome) -> HttpResponse:
    if isinstance(outcome, StoredSignal):
        answer = {
            "signal_id": str(outcome.signal_id),
            "signal_hash": outcome.signal_hash,
            "duplicate": outcome.duplicate,
        }
        return _json(answer)
    if isinstance(outcome, KeptLater):
        return _json({"signal_id": None, "signal_hash": outcome.signal_hash, "code": "spooled"})
    if outcome.code == "exit_alert":
        return _json({"signal_id": None, "code": "exit_alert"})
    status = STATUS_OF_CODE.get(outcome.code, HTTPStatus.BAD_REQUEST)
    headers = {"Retry-After": str(outcome.wait_seconds)} if outcome.wait_seconds else {}
    return _problem(status, " ".join(each.message for each in outcome.problems), rejection=outcome, headers=headers)


def _body_of(request: HttpRequest) -> bytes:
    """Return the body, or its beginning when it is too long.

    A chunked body has no length; where the server says that its stream ends by itself, it is read as well.

    :raises OSError: when the sender went away.
    """
    most = int(settings.WEBHOOK_MAX_BODY_BYTES) + BEYOND_THE_LIMIT
    if not request.META.get("CONTENT_LENGTH") and request.META.get("wsgi.input_terminated"):
        return bytes(request.META["wsgi.input"].read(most))
    return request.read(most)


def _content_encoding(request: HttpRequest) -> str:
    encoding = str(request.META.get("HTTP_CONTENT_ENCODING", "")).strip()
    return "" if encoding.casefold() == "identity" else encoding


def _problem(
    status: HTTPStatus, detail: str, *, rejection: Rejection | None = None, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    problems: Sequence[Problem] = rejection.problems if rejection else ()
    document = problem(status, detail=detail, errors=[each.as_json() for each in problems])
    if rejection:
        document["code"] = rejection.code
    response = _json(document, status=status, content_type=PROBLEM_JSON, headers=headers)
    response._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001 - Django would log the address: the token
    return response


def _json(
    said: Mapping[str, Any],
    *,
    status: HTTPStatus = HTTPStatus.OK,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    return HttpResponse(text.encode(), status=status, content_type=content_type, headers=dict(headers or {}))
