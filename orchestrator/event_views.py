"""``POST /api/v1/engines/<A|B>/events/``: a signed fact from an engine goes into the inbox."""

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.http import HttpRequest, JsonResponse
from django.http.request import UnreadablePostError
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from config.problems import PROBLEM_JSON, problem
from orchestrator.domain.vocabulary import Engine
from orchestrator.engines.signing import BadSignature, verify
from orchestrator.events import LONGEST_MESSAGE_ID, UnreadableEvent, note_unsigned_event, read_event, store_event
from webhooks.notifications import wake_workers

log = structlog.get_logger(__name__)

MAX_EVENT_BYTES = 1024 * 1024


@method_decorator(csrf_exempt, name="dispatch")
class EngineEventView(View):
    """202 stored · 200 seen before · 400 unreadable · 401 signature · 404 unknown reference (stored all the same)."""

    http_method_names = ("post", "options")

    def post(self, request: HttpRequest, engine: str) -> JsonResponse:  # noqa: PLR0911 - one return per answer
        try:
            body = request.read(MAX_EVENT_BYTES + 1)
        except UnreadablePostError:
            return _problem(400, "unreadable", "The request ended before its body did.")
        if len(body) > MAX_EVENT_BYTES:
            return _problem(413, "too_large", f"The event is larger than {MAX_EVENT_BYTES} bytes.")
        try:
            verify(settings.ENGINES[engine].secrets, headers=request.headers, body=body)
        except BadSignature as error:
            log.warning("event.refused", engine=engine, reason=str(error))
            note_unsigned_event(Engine(engine), body, reason=str(error))
            return _problem(401, "bad_signature", f"The signature was not accepted: {error}.")
        message_id = request.headers["webhook-id"]
        if len(message_id) > LONGEST_MESSAGE_ID or not message_id.isprintable():
            return _problem(
                400, "bad_message_id", f"webhook-id must be printable and at most {LONGEST_MESSAGE_ID} long."
            )
        try:
            reading = read_event(body)
        except UnreadableEvent as error:
            log.warning("event.refused", engine=engine, message_id=message_id, reason=str(error))
            return _problem(400, "unreadable", str(error))
        try:
            stored = store_event(Engine(engine), message_id, reading)
        except DatabaseError as error:
            log.warning("event.database_unavailable", engine=engine, message_id=message_id, exc_info=error)
            return _problem(503, "unavailable", "The database cannot take the event at the moment; send it again.")
        wake_workers()
        if not stored.is_known:
            return _problem(404, "unknown_reference", "Stored, but it refers to nothing that this engine was asked.")
        return JsonResponse({"event_id": str(stored.event_id)}, status=202 if stored.is_new else 200)


def _problem(status: int, code: str, detail: str) -> JsonResponse:
    return JsonResponse({**problem(status, detail=detail), "code": code}, status=status, content_type=PROBLEM_JSON)
