"""The acts of the intake: find the source, store one signal, or keep what was turned away."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from secrets import token_urlsafe
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, connection, transaction

from config.fault_points import Commit
from config.faults import autocommitted
from config.keys import new_key
from webhooks.alerts.bodies import EXAMPLE, decode_body
from webhooks.alerts.problems import Problem, UnreadableAlert
from webhooks.alerts.reading import Alert, SourceRules, read_alert
from webhooks.alerts.redaction import redact, redact_bytes
from webhooks.canonical import canonical, sha256_hex, signal_hash, utc_text
from webhooks.models import AlertSource, RejectedAlert, TimestampOrigin
from webhooks.notifications import wake_workers

LOCK_WAIT_MILLISECONDS = 2_000
LONGEST_CONTENT_TYPE = 200
_TOKEN = re.compile(r"[A-Za-z0-9_~.\-]{8,200}")

log = structlog.get_logger(__name__)


class UnusableToken(ValueError):
    """A webhook token that cannot stand in an address, or is too short to be a secret."""


class SourceExists(ValueError):
    """There is a source with this name or this token already."""


@dataclass(frozen=True, slots=True)
class StoredSignal:
    """The signal that an alert became; ``duplicate`` when an earlier request had stored it."""

    signal_id: UUID
    signal_hash: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a request did not become a signal, at least one problem; it is a row of rejected_alerts."""

    code: str
    problems: tuple[Problem, ...]


def new_token() -> str:
    """Return a new webhook token, 43 characters that can stand in an address."""
    return token_urlsafe(32)


def create_source(name: str, token: str, **defaults: Any) -> AlertSource:
    """Create a source; of its token only the hash is kept.

    :raises UnusableToken: when the token is not 8 to 200 letters, digits or any of ``-._~``.
    :raises SourceExists: when the name or the token is taken.
    :raises django.core.exceptions.ValidationError: when a default makes no sense.
    """
    source = AlertSource(name=name, token_sha256=hash_of_token(token), **defaults)
    source.clean_fields()
    source.clean()
    try:
        with transaction.atomic():
            source.save(force_insert=True)
    except IntegrityError as error:
        raise SourceExists(f"There is a source with the name {name!r} or with this token already.") from error
    return source


def replace_token(source: AlertSource, token: str) -> None:
    """Give a source a new token; the old one is unknown from now on.

    :raises UnusableToken: as ``create_source``.
    """
    source.token_sha256 = hash_of_token(token)
    source.save(update_fields=["token_sha256"])


def hash_of_token(token: str) -> str:
    """Return what is kept of a token.

    :raises UnusableToken: when it is not 8 to 200 letters, digits or any of ``-._~``.
    """
    if not _TOKEN.fullmatch(token):
        raise UnusableToken("A webhook token is 8 to 200 letters, digits or any of - . _ ~ (it stands in an address).")
    return sha256_hex(token)


def find_source(token: str) -> AlertSource | None:
    """Return the enabled source that a token belongs to."""
    try:
        hashed = hash_of_token(token)
    except UnusableToken:
        return None
    return AlertSource.objects.filter(token_sha256=hashed, enabled=True).first()


def seconds_to_wait(source: AlertSource) -> int | None:
    """Count a request of a source that has a limit; return the seconds until it may send again, None when it may now.

    Windows of a minute begin with a request, by the database clock, and are counted in the source's row: every server
    process sees the same count.
    """
    if source.requests_per_minute is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE alert_sources SET
                minute_requests = CASE
                    WHEN minute_started_at > statement_timestamp() - interval '1 minute' THEN minute_requests + 1
                    ELSE 1 END,
                minute_started_at = CASE
                    WHEN minute_started_at > statement_timestamp() - interval '1 minute' THEN minute_started_at
                    ELSE statement_timestamp() END
            WHERE id = %s
            RETURNING minute_requests,
                ceil(extract(epoch FROM minute_started_at + interval '1 minute' - statement_timestamp()))::int
            """,
            [source.pk],
        )
        count, left = cursor.fetchone()
    return max(1, left) if count > source.requests_per_minute else None


def receive_alert(
    raw: bytes, *, source: AlertSource, token: str, content_type: str, content_encoding: str = "", at: datetime
) -> StoredSignal | Rejection:
    """Make one signal of a request's body, or keep it with the reasons why it is none.

    :param raw: the body, or its beginning when it is too long.
    :param token: the webhook's token, which is redacted wherever it stands.
    :param at: the time of receipt by this process's clock, for judging times in the future.
    """
    try:
        _refuse_encoded(content_encoding)
        _refuse_too_long(raw)
        text = redact(decode_body(raw), [token])
        alert = read_alert(text, rules=_rules_of(source), received_at=at)
    except UnreadableAlert as error:
        problems = error.problems
    else:
        if isinstance(alert, Alert):
            return store_signal(alert, source=source, raw_body=text)
        problems = (alert.as_problem(),)
    kept = "" if content_encoding else _kept_text(raw, token)
    return reject_alert(problems, source=source, body=kept, content_type=content_type)


def store_signal(alert: Alert, *, source: AlertSource, raw_body: str) -> StoredSignal:
    """Store an alert as one signal; the same alert again is the same signal, under any concurrency.

    An alert that carries its time is that signal for ever (unique signal_hash). Of alerts that carry none, the same body
    within the source's window is a re-delivery, and after it a new signal.
    """
    with autocommitted(Commit.STORE_SIGNAL):
        if alert.timestamp is None:
            stored = _store_without_own_time(alert, source=source, raw_body=raw_body)
        else:
            stored = _insert(alert, source=source, raw_body=raw_body, timestamp=alert.timestamp, received_at=None)
    if not stored.duplicate:
        transaction.on_commit(wake_workers)
    log.info(
        "signal.received",
        signal_id=str(stored.signal_id),
        source=source.name,
        symbol=alert.symbol,
        direction=alert.direction.value,
        timeframe=alert.timeframe,
        timestamp=utc_text(alert.timestamp) if alert.timestamp else None,
        signal_hash=stored.signal_hash,
        duplicate=stored.duplicate,
        notes=list(alert.notes),
    )
    return stored


def reject_alert(problems: Sequence[Problem], *, source: AlertSource, body: str, content_type: str) -> Rejection:
    """Keep a request that did not become a signal, with its reasons; ``body`` carries no secrets any more."""
    rejection = Rejection(code=problems[0].code if len(problems) == 1 else "invalid", problems=tuple(problems))
    rejected = RejectedAlert.objects.create(
        source=source.name,
        code=rejection.code,
        body=body[: settings.WEBHOOK_MAX_BODY_BYTES],
        content_type=_storable(content_type)[:LONGEST_CONTENT_TYPE],
        errors=[problem.as_json() for problem in problems],
    )
    log.info(
        "signal.rejected",
        rejected_alert_id=str(rejected.pk),
        source=source.name,
        code=rejection.code,
        problems=[f"{problem.field}: {problem.code}" for problem in problems],
    )
    return rejection


def reject_over_limit(raw: bytes, *, source: AlertSource, token: str, content_type: str) -> Rejection:
    """Keep a request that came too soon after too many others."""
    problem = Problem(
        field="body",
        code="rate_limited",
        message=f"The source {source.name} may send {source.requests_per_minute} requests a minute.",
        accepted=f"{source.requests_per_minute} requests a minute",
        example=EXAMPLE,
    )
    return reject_alert([problem], source=source, body=_kept_text(raw, token), content_type=content_type)


def _insert(
    alert: Alert, *, source: AlertSource, raw_body: str, timestamp: datetime, received_at: datetime | None
) -> StoredSignal:
    """Insert first and look only when the signal is there already: two requests at once cannot both be the first."""
    hashed = signal_hash(
        direction=alert.direction.value,
        payload=alert.payload,
        source=source.name,
        symbol=alert.symbol,
        timeframe=alert.timeframe,
        timestamp=timestamp,
    )
    origin = TimestampOrigin.RECEIVED if alert.timestamp is None else TimestampOrigin.PAYLOAD
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO signals (signal_id, source, symbol, exchange, direction, timeframe, timestamp, timestamp_origin,
                                 signal_hash, raw_payload, raw_body, received_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s,
                    coalesce(%s::timestamptz, statement_timestamp()))
            ON CONFLICT (signal_hash) DO NOTHING
            RETURNING signal_id
            """,
            [
                new_key(),
                source.name,
                alert.symbol,
                alert.exchange,
                alert.direction.value,
                alert.timeframe,
                timestamp,
                origin.value,
                hashed,
                canonical(alert.payload),
                raw_body,
                received_at,
            ],
        )
        if row := cursor.fetchone():
            return StoredSignal(signal_id=row[0], signal_hash=hashed, duplicate=False)
        # A second statement: its snapshot sees the row whose commit the insert has waited for.
        cursor.execute("SELECT signal_id FROM signals WHERE signal_hash = %s", [hashed])
        return StoredSignal(signal_id=cursor.fetchone()[0], signal_hash=hashed, duplicate=True)


def _store_without_own_time(alert: Alert, *, source: AlertSource, raw_body: str) -> StoredSignal:
    """Store an alert at its time of receipt, or find the one of which it is a re-delivery.

    1. Two deliveries of one body arrive at once; neither sees a signal of the other.
    2. Both would take the time of receipt, two different moments, and so become two signals.
    3. Hence the lock on the body: the second waits for the commit of the first, and its look, a new statement, sees it.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('lock_timeout', %s, true), pg_advisory_xact_lock(%s)",
            [str(LOCK_WAIT_MILLISECONDS), _lock_key(source, raw_body)],
        )
        cursor.execute("SELECT clock_timestamp()")
        received_at: datetime = cursor.fetchone()[0]
        if earlier := _redelivery_of(raw_body, source=source, received_at=received_at):
            return earlier
        return _insert(alert, source=source, raw_body=raw_body, timestamp=received_at, received_at=received_at)


def _redelivery_of(raw_body: str, *, source: AlertSource, received_at: datetime) -> StoredSignal | None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT signal_id, signal_hash FROM signals
            WHERE timestamp_origin = 'received' AND md5(raw_body) = md5(%s) AND raw_body = %s AND source = %s
                AND received_at > %s - make_interval(secs => %s)
            ORDER BY received_at DESC, signal_id DESC LIMIT 1
            """,
            [raw_body, raw_body, source.name, received_at, source.dedupe_window_seconds],
        )
        row = cursor.fetchone()
    return StoredSignal(signal_id=row[0], signal_hash=row[1], duplicate=True) if row else None


def _lock_key(source: AlertSource, raw_body: str) -> int:
    digest = hashlib.sha256(f"{source.name}\n{raw_body}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def _rules_of(source: AlertSource) -> SourceRules:
    return SourceRules(
        default_timeframe=source.default_timeframe,
        accept_missing_timestamp=source.accept_missing_timestamp,
        paths=source.paths,
    )


def _refuse_too_long(raw: bytes) -> None:
    if len(raw) > settings.WEBHOOK_MAX_BODY_BYTES:
        raise UnreadableAlert(
            [
                Problem(
                    field="body",
                    code="too_large",
                    message=f"The body is larger than {settings.WEBHOOK_MAX_BODY_BYTES} bytes; only its beginning was kept.",
                    accepted=f"at most {settings.WEBHOOK_MAX_BODY_BYTES} bytes",
                    example=EXAMPLE,
                )
            ]
        )


def _refuse_encoded(content_encoding: str) -> None:
    if content_encoding:
        raise UnreadableAlert(
            [
                Problem(
                    field="body",
                    code="encoded_body",
                    message="The body is compressed. It was not kept, since what cannot be read cannot be redacted.",
                    accepted="a body without Content-Encoding",
                    example=EXAMPLE,
                    found=_storable(content_encoding)[:LONGEST_CONTENT_TYPE],
                )
            ]
        )


def _kept_text(raw: bytes, token: str) -> str:
    """Return a body as text that can be stored, whatever it was, without its secrets."""
    text = redact_bytes(raw, [token]).decode("utf-8-sig", errors="backslashreplace")
    return _storable(redact(text, [token]))


def _storable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
