"""Telling operators of new incidents, by mail and by a POST of JSON: each incident once per channel, whoever sends it.

What has to be told is written with the incident. A worker claims it by a compare-and-set, and sends it outside any
transaction, in a thread beside its loop; a failure is tried again with growing pauses, and given up in the end.
"""

import asyncio
import json
import time
from collections.abc import Collection
from http import HTTPStatus
from smtplib import SMTPException, SMTPResponseException
from threading import Thread
from typing import Any

import httpx2
import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import connection
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.urls import reverse

from orchestrator.batches import LOST_DATABASE
from orchestrator.domain.incident_words import what_happened, what_to_do
from orchestrator.domain.moments import moment_string
from orchestrator.domain.vocabulary import Channel
from orchestrator.models import Incident, IncidentNotification
from orchestrator.queue import in_seconds

log = structlog.get_logger(__name__)

MOST_ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 900.0
POST_SECONDS = 5.0
CLAIM_SECONDS = 120.0  # longer than one message can take
ROUND_SECONDS = 10.0
LONGEST_SENTENCE = 500


class NotDelivered(Exception):
    """A message did not arrive, as far as one can tell; the text names no address and no secret."""


def configured_channels() -> list[Channel]:
    """Return the ways in which operators want to be told."""
    wanted = {Channel.MAIL: settings.INCIDENT_EMAILS, Channel.WEBHOOK: settings.INCIDENT_WEBHOOK_URL}
    return [channel for channel, address in wanted.items() if address]


def announce(incident: Incident) -> None:
    """Note that operators are to be told of an incident; in the transaction that opens it."""
    IncidentNotification.objects.bulk_create(
        [
            IncidentNotification(incident=incident, channel=channel.value, next_attempt_at=Now())
            for channel in configured_channels()
        ]
    )


class Notifier:
    """Sends beside a worker's loop, so that a mail server that hangs never holds up an order."""

    def __init__(self) -> None:
        self._sending: Thread | None = None

    def send_notifications(self) -> int:
        """Begin to send what is due, unless that is under way, and return 1 if there was anything to begin with."""
        if self._sending is not None and self._sending.is_alive():
            return 0
        if not _due(configured_channels()).exists():
            return 0
        self._sending = Thread(target=_send_beside, name="notifications", daemon=True)
        self._sending.start()
        return 1

    def finish(self) -> None:
        """Wait for what is being sent; what takes too long is sent by another worker, or after the next start."""
        if self._sending is not None:
            self._sending.join(ROUND_SECONDS + POST_SECONDS)


def send_due() -> int:
    """Send what is due, for ten seconds at most, and return how many messages arrived; a channel that fails is left."""
    IncidentNotification.objects.filter(
        sent_at=None, given_up_at=None, attempts__gte=MOST_ATTEMPTS, next_attempt_at__lte=Now()
    ).update(given_up_at=Now())
    channels, sent, until = configured_channels(), 0, time.monotonic() + ROUND_SECONDS
    while time.monotonic() < until and (notification := _claim(channels)) is not None:
        try:
            _SEND[Channel(notification.channel)](notification)
        except NotDelivered as error:
            channels.remove(Channel(notification.channel))
            _note_failure(notification, str(error))
        else:
            sent += 1
            IncidentNotification.objects.filter(pk=notification.pk).update(sent_at=Now(), error="")
            log.info("notification.sent", **_named(notification))
    return sent


def _send_beside() -> None:
    try:
        send_due()
    except LOST_DATABASE as error:
        log.warning("notification.database_lost", exc_info=error)
    finally:
        connection.close()


def _due(channels: Collection[Channel]) -> "QuerySet[IncidentNotification]":
    return IncidentNotification.objects.filter(
        sent_at=None,
        given_up_at=None,
        attempts__lt=MOST_ATTEMPTS,
        next_attempt_at__lte=Now(),
        channel__in=[channel.value for channel in channels],
    )


def _claim(channels: Collection[Channel]) -> IncidentNotification | None:
    """Take one message that nobody else sends; the attempt is counted before it is made."""
    for found in _due(channels).select_related("incident__experiment").order_by("next_attempt_at", "id")[:10]:
        mine = _due(channels).filter(pk=found.pk, attempts=found.attempts)
        if mine.update(attempts=F("attempts") + 1, next_attempt_at=in_seconds(CLAIM_SECONDS)):
            found.attempts += 1
            return found
    return None


def _note_failure(notification: IncidentNotification, reason: str) -> None:
    is_last = notification.attempts >= MOST_ATTEMPTS
    pause = min(FIRST_PAUSE_SECONDS * 2.0 ** (notification.attempts - 1), LONGEST_PAUSE_SECONDS)
    IncidentNotification.objects.filter(pk=notification.pk, sent_at=None).update(
        next_attempt_at=in_seconds(pause), error=reason, given_up_at=Now() if is_last else None
    )
    log.error(
        "notification.given_up" if is_last else "notification.failed",
        reason=reason,
        attempt=notification.attempts,
        retry_in_seconds=None if is_last else pause,
        **_named(notification),
    )


def _named(notification: IncidentNotification) -> dict[str, Any]:
    incident = notification.incident
    return {
        "incident_id": str(incident.pk),
        "experiment_id": str(incident.experiment_id) if incident.experiment_id else None,
        "signal_id": str(incident.experiment.signal_id) if incident.experiment else None,
        "channel": notification.channel.lower(),
    }


def _mail(notification: IncidentNotification) -> None:
    told = _told(notification.incident)
    facts = "\n".join(f"{name}: {told[name]}" for name in _FACTS if told[name])
    message = EmailMessage(
        subject=f"[{told['app_mode']}] {told['severity']}: {told['kind']}",
        body=f"{told['what']}\n\n{told['what_to_do']}\n\n{facts}\n",
        to=settings.INCIDENT_EMAILS,
        headers={"Message-ID": f"<{notification.pk}@trading-orchestrator>"},
    )
    try:
        message.send()
    except SMTPResponseException as error:
        raise NotDelivered(f"the mail server answered {error.smtp_code}") from None
    except (SMTPException, OSError, ValueError) as error:
        raise NotDelivered(f"the mail could not be sent: {type(error).__name__}") from None


def _post(notification: IncidentNotification) -> None:
    body = json.dumps(
        {"type": "incident.opened", "id": str(notification.pk), "incident": _told(notification.incident)},
        ensure_ascii=False,
    )
    headers = {"content-type": "application/json", "idempotency-key": str(notification.pk)}
    try:
        status = asyncio.run(_posted(settings.INCIDENT_WEBHOOK_URL, body.encode(), headers))
    except TimeoutError:
        raise NotDelivered(f"no answer within {POST_SECONDS:g} s") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise NotDelivered(f"it could not be posted: {type(error).__name__}") from None
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        raise NotDelivered(f"the receiver answered {status}")


async def _posted(url: str, body: bytes, headers: dict[str, str]) -> int:
    """Post once, and return the status; the answer's body is not read, redirects are not followed."""
    async with (
        asyncio.timeout(POST_SECONDS),
        httpx2.AsyncClient(timeout=None, follow_redirects=False, trust_env=False) as client,
        client.stream("POST", url, content=body, headers=headers) as answer,
    ):
        return int(answer.status_code)


_FACTS = ("opened_at", "experiment_id", "permit_id", "incident_id", "page")
_SEND = {Channel.MAIL: _mail, Channel.WEBHOOK: _post}


def _told(incident: Incident) -> dict[str, str | None]:
    """Return what operators are told: its sentence, but no body, no error and no setting; the evidence stays in the admin."""
    return {
        "incident_id": str(incident.pk),
        "kind": incident.kind,
        "severity": incident.severity,
        "app_mode": settings.APP_MODE,
        "what": what_happened(incident.kind, incident.detail)[:LONGEST_SENTENCE],
        "what_to_do": what_to_do(incident.kind),
        "opened_at": moment_string(incident.opened_at),
        "experiment_id": str(incident.experiment_id) if incident.experiment_id else None,
        "permit_id": str(incident.permit_id) if incident.permit_id else None,
        "page": _page(incident),
    }


def _page(incident: Incident) -> str:
    """Return the incident's page, with the public address of the service where CSRF_TRUSTED_ORIGINS names one."""
    origin = next((origin for origin in settings.CSRF_TRUSTED_ORIGINS if "*" not in origin), "")
    return origin + reverse("admin:orchestrator_incident_change", args=[incident.pk])
