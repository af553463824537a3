"""The acts of the intake: tell who sends, store one signal, or keep what was turned away; all of it within a deadline."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NoReturn

import psycopg
import structlog
from django.conf import settings
from django.db import connection, transaction

from config.fault_points import Commit
from config.faults import surrounded
from webhooks import keeping
from webhooks.alerts.bodies import EXAMPLE, decode_body, wide_encoding
from webhooks.alerts.body_secrets import find_secret
from webhooks.alerts.problems import Problem, UnreadableAlert
from webhooks.alerts.reading import Alert, SourceRules, read_alert
from webhooks.alerts.redaction import WIDE_ENCODINGS, redact, redact_bytes
from webhooks.coalescing import coalescer
from webhooks.lines import DATABASE_ERRORS, OutOfReach, cut, intake_cursor, intake_transaction
from webhooks.models import AlertSource, RejectedAlert
from webhooks.networks import may_send
from webhooks.notifications import wake_workers
from webhooks.refusals import count_refusal
from webhooks.sources import (
    KnownSource,
    SourceExists,
    UnusableSecret,
    UnusableToken,
    create_source,
    find_source,
    hash_of_token,
    known_sources,
    new_token,
    read_source,
    replace_token,
    set_body_secret,
)
from webhooks.spool import SpoolFull, the_spool
from webhooks.storing import (
    LONGEST_CONTENT_TYPE,
    Check,
    NewRejection,
    NewSignal,
    SourceChanged,
    StoredSignal,
    new_rejection,
    new_signal,
    storable,
    store_rejection,
    store_signals,
    store_without_own_time,
)
from webhooks.telling import tell_received, tell_rejected, tell_spooled

__all__ = [
    "Alert",
    "Delivery",
    "KeptLater",
    "OutOfReach",
    "Outcome",
    "Refused",
    "Rejection",
    "SourceExists",
    "SpoolFull",
    "StoredSignal",
    "UnknownToken",
    "UnusableSecret",
    "UnusableToken",
    "create_source",
    "find_source",
    "hash_of_token",
    "new_token",
    "read_again",
    "read_by_todays_rules",
    "receive",
    "replace_token",
    "set_body_secret",
    "store_signal",
]

# TradingView gives up after three seconds. By then the database has answered or the alert lies in the spool.
DATABASE_SECONDS = 1.7
READINGS = 3
LOST = "08006"  # what the driver raises without a code when the server has gone
LOST_CONNECTION = ("08", "57P")

log = structlog.get_logger(__name__)


class UnknownToken(Exception):
    """No enabled source has this token."""


class Refused(Exception):
    """The token is right, but the request is not the source's: nothing of it is kept but that there was one."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request as it came: the body, or its beginning when it is too long, and what is said about it.

    ``token`` is redacted wherever it stands in the body.
    """

    raw: bytes
    token: str
    content_type: str = ""
    content_encoding: str = ""
    sent_from: str = ""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a request did not become a signal, at least one problem; it is a row of rejected_alerts, or will be one.

    ``wait_seconds`` is set when it came too soon after too many others.
    """

    code: str
    problems: tuple[Problem, ...]
    wait_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class KeptLater:
    """The alert waits in the spool. ``signal_hash`` is known when the alert carries its time."""

    signal_hash: str | None


Outcome = StoredSignal | KeptLater | Rejection


def receive(delivery: Delivery) -> Outcome:
    """Make one signal of a request, or keep it with the reasons why it is none.

    :raises UnknownToken: when nobody has that token; nothing is kept then.
    :raises Refused: when it comes from elsewhere than the source may send from, or lacks the secret in its body.
    :raises OutOfReach: when the database is away and the token is not among those that it has lately confirmed.
    :raises SpoolFull: when the database is away and there is no room to keep the alert.
    """
    until = time.monotonic() + DATABASE_SECONDS
    at = keeping.keeper.now()
    for _ in range(READINGS):
        known = _authenticate(delivery.token, until=until)
        secrets = _secrets_in(delivery, known.source, until=until)
        wait = _seconds_to_wait(known.source, until=until)
        try:
            if wait:
                problems: Sequence[Problem] = [_too_many(known.source)]
                return replace(_reject(problems, delivery, known, secrets, at=at, until=until), wait_seconds=wait)
            return _read_and_keep(delivery, known, secrets, at=at, until=until)
        except SourceChanged:
            known_sources.forget(known)
    raise OutOfReach("The source kept changing while the alert was read.")


def receive_as(source: AlertSource, delivery: Delivery, *, until: float) -> Outcome:
    """Make one signal of a request whose sender is known by other means than a token.

    :raises OutOfReach: when the database is away.
    :raises SourceChanged: when the source is no longer as it was read, or is disabled.
    """
    with intake_cursor(until=until) as cursor:
        known = read_source(cursor, source.token_sha256)
    if known is None:
        raise SourceChanged
    return _read_and_keep(delivery, known, [delivery.token], at=keeping.keeper.now(), until=until)


def store_signal(alert: Alert, *, source: AlertSource, raw_body: str, at: datetime | None = None) -> StoredSignal:
    """Store an alert as one signal; the same alert again is the same signal, under any concurrency.

    An alert that carries its time is that signal for ever (unique signal_hash). Of alerts that carry none, the same body
    within the source's window is a re-delivery, and after it a new signal.

    :param at: the time of receipt; now, unless given.
    :raises psycopg.Error: when the database does not take it; django.db.Error inside a transaction of the caller's.
    """
    row = new_signal(alert, source=source, raw_body=raw_body, at=at or keeping.keeper.now())
    stored = _store(row, None, until=time.monotonic() + DATABASE_SECONDS)
    tell_received(row, stored)
    return stored


def read_by_todays_rules(kept: RejectedAlert, *, source: AlertSource) -> Alert | tuple[Problem, ...]:
    """Read a rejected alert by today's rules and those of its source now; return it, or what is still wrong."""
    try:
        alert = read_alert(kept.body, rules=rules_of(source), received_at=kept.received_at)
    except UnreadableAlert as error:
        return tuple(error.problems)
    return alert if isinstance(alert, Alert) else (alert.as_problem(),)


def read_again(kept: RejectedAlert, *, source: AlertSource) -> StoredSignal | tuple[Problem, ...]:
    """Make a signal of a rejected alert that can be read by now; return it, or what is still wrong.

    The signal was received when the alert was: an old one is followed, not traded.

    :raises psycopg.Error: when the database does not take it.
    """
    alert = read_by_todays_rules(kept, source=source)
    if not isinstance(alert, Alert):
        return alert
    row = new_signal(alert, source=source, raw_body=kept.body, at=kept.received_at)
    row = replace(row, received_at=kept.received_at)
    stored = _store(row, None, until=time.monotonic() + DATABASE_SECONDS)
    RejectedAlert.objects.filter(pk=kept.pk, replayed_signal=None).update(replayed_signal=stored.signal_id)
    tell_received(row, stored)
    return stored


def _authenticate(token: str, *, until: float) -> KnownSource:
    try:
        hashed = hash_of_token(token)
    except UnusableToken:
        count_refusal()
        raise UnknownToken from None
    is_ours = not connection.in_atomic_block  # what a caller's transaction sees is nobody else's business
    if is_ours and (known := known_sources.get(hashed)):
        return known
    try:
        with intake_cursor(until=until) as cursor:
            found = read_source(cursor, hashed)
    except DATABASE_ERRORS as error:
        if is_ours and (kept := known_sources.get_kept(hashed, folder=settings.SPOOL_DIR)):
            return kept
        raise OutOfReach("The database is away and cannot say whose token this is.") from error
    if found is None:
        count_refusal()
        raise UnknownToken
    if is_ours:
        known_sources.add(found)
    return found


def _secrets_in(delivery: Delivery, source: AlertSource, *, until: float) -> list[str]:
    """Return what must be redacted in a body: the token, and the source's own secret, which has to be there.

    :raises Refused: when the request is not the source's.
    """
    if not may_send(delivery.sent_from, source.allowed_networks):
        _refuse(source, "address_not_allowed", f"It came from {delivery.sent_from or 'nowhere'}.", until=until)
    if not source.body_secret_sha256:
        return [delivery.token]
    text = "" if delivery.content_encoding else delivery.raw.decode("utf-8-sig", errors="replace")
    secret = find_secret(text, source.body_secret_sha256)
    if secret is None:
        _refuse(source, "body_secret_missing", "Its body did not carry the source's secret.", until=until)
    return [delivery.token, secret]


def _refuse(source: AlertSource, code: str, what: str, *, until: float) -> NoReturn:
    """Count a request that knew the token and nothing more; the source's page says so to whoever has set it up."""
    count_refusal()
    with suppress(*DATABASE_ERRORS), intake_cursor(until=until) as cursor:
        cursor.execute(
            "UPDATE alert_sources SET refused_requests = refused_requests + 1, last_refused_at = statement_timestamp(),"
            " last_refusal = %s WHERE id = %s",
            [what, source.pk],
        )
    log.warning("signal.refused", source=source.name, code=code)
    raise Refused(code)


def _seconds_to_wait(source: AlertSource, *, until: float) -> int | None:
    """Count a request of a source that has a limit; return the seconds until it may send again, None when it may now.

    Windows of a minute begin with a request, by the database clock, and are counted in the source's row: every server
    process sees the same count. While the database is away nobody counts, and the spool's size is the limit.
    """
    if source.requests_per_minute is None or _has_to_queue():
        return None
    try:
        with intake_cursor(until=until) as cursor:
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
            count, left = cursor.fetchone() or (0, 0)
    except DATABASE_ERRORS:
        if connection.in_atomic_block:
            raise
        return None
    return max(1, left) if count > source.requests_per_minute else None


def _read_and_keep(
    delivery: Delivery, known: KnownSource, secrets: Sequence[str], *, at: datetime, until: float
) -> Outcome:
    try:
        _refuse_encoded(delivery.content_encoding)
        _refuse_too_long(delivery.raw, known.source)
        raw = redact_bytes(delivery.raw, secrets, encodings=WIDE_ENCODINGS)  # what is in UTF-8 is redacted as text
        text = redact(decode_body(raw), secrets)
        alert = read_alert(text, rules=rules_of(known.source), received_at=at)
    except UnreadableAlert as error:
        return _reject(error.problems, delivery, known, secrets, at=at, until=until)
    if not isinstance(alert, Alert):
        return _reject([alert.as_problem()], delivery, known, secrets, at=at, until=until)
    row = new_signal(alert, source=known.source, raw_body=text, at=at)
    if not _has_to_queue():
        try:
            stored = _store(row, Check(known.source.pk, known.version), until=until)
        except DATABASE_ERRORS as error:
            _may_be_spooled(error)
        else:
            tell_received(row, stored)
            return stored
    _spool(replace(row, received_at=at), known)
    return KeptLater(signal_hash=row.signal_hash if row.has_own_time else None)


def _reject(
    problems: Sequence[Problem],
    delivery: Delivery,
    known: KnownSource,
    secrets: Sequence[str],
    *,
    at: datetime,
    until: float,
) -> Rejection:
    """Keep a request that did not become a signal, with its reasons."""
    rejection = Rejection(code=problems[0].code if len(problems) == 1 else "invalid", problems=tuple(problems))
    kept = "" if delivery.content_encoding else _kept_text(delivery.raw, secrets)
    row = new_rejection(
        problems,
        source=known.source,
        body=kept,
        content_type=delivery.content_type,
        sent_from=delivery.sent_from,
        code=rejection.code,
    )
    if not _has_to_queue():
        try:
            with surrounded(Commit.STORE_REJECTION, cut=cut), intake_cursor(until=until) as cursor:
                store_rejection(cursor, row, Check(known.source.pk, known.version))
        except DATABASE_ERRORS as error:
            _may_be_spooled(error)
        else:
            tell_rejected(row)
            return rejection
    _spool(replace(row, received_at=at), known)
    return rejection


def _store(row: NewSignal, check: Check | None, *, until: float) -> StoredSignal:
    """Store a signal; a connection that was lost meanwhile is made anew once, for the hash makes a second try harmless.

    :raises SourceChanged: when the source is no longer what ``check`` says.
    """
    try:
        with surrounded(Commit.STORE_SIGNAL, cut=cut):
            stored = _try_to_store(row, check, until=until)
    except psycopg.OperationalError as error:
        if isinstance(error, OutOfReach) or not (error.sqlstate or LOST).startswith(LOST_CONNECTION):
            raise
        stored = _try_to_store(row, check, until=until)
    if stored is None:
        raise SourceChanged
    if not stored.duplicate:
        if connection.in_atomic_block:
            transaction.on_commit(wake_workers)
        else:
            wake_workers()
    return stored


def _try_to_store(row: NewSignal, check: Check | None, *, until: float) -> StoredSignal | None:
    if not row.has_own_time:
        with intake_transaction(until=until) as cursor:
            return store_without_own_time(cursor, row, check)
    if check and not connection.in_atomic_block:
        return coalescer.store(row, check, until=until)
    with intake_cursor(until=until) as cursor:
        return store_signals(cursor, [row], [check] if check else None)[0]


def _has_to_queue() -> bool:
    """Tell whether older alerts wait in the spool; a newer one has to stand behind them."""
    return the_spool().is_waiting() and not connection.in_atomic_block


def _may_be_spooled(error: Exception) -> None:
    """Return when the alert goes to the spool; a caller's transaction has failed as a whole, and is told so."""
    if connection.in_atomic_block:
        raise error
    log.warning("intake.not_stored", error_type=type(error).__name__, error_message=str(error))


def _spool(row: NewSignal | NewRejection, known: KnownSource) -> None:
    if not known.is_trusted:
        raise OutOfReach("The database has been away for too long to tell whether the source is still enabled.")
    the_spool().append(row)
    keeping.keeper.start()
    tell_spooled(row)


def rules_of(source: AlertSource) -> SourceRules:
    """Return what is assumed where the alerts of a source are silent, and where it keeps its fields."""
    return SourceRules(
        default_timeframe=source.default_timeframe,
        accept_missing_timestamp=source.accept_missing_timestamp,
        paths=source.paths,
    )


def _too_many(source: AlertSource) -> Problem:
    return Problem(
        field="body",
        code="rate_limited",
        message=f"The source {source.name} may send {source.requests_per_minute} requests a minute.",
        accepted=f"{source.requests_per_minute} requests a minute",
        example=EXAMPLE,
    )


def _refuse_too_long(raw: bytes, source: AlertSource) -> None:
    most = source.largest_body_bytes or settings.WEBHOOK_MAX_BODY_BYTES
    if len(raw) > most:
        raise UnreadableAlert(
            [
                Problem(
                    field="body",
                    code="too_large",
                    message=f"The body is larger than {most} bytes; only its beginning was kept.",
                    accepted=f"at most {most} bytes",
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
                    found=storable(content_encoding)[:LONGEST_CONTENT_TYPE],
                )
            ]
        )


def _kept_text(raw: bytes, secrets: Sequence[str]) -> str:
    """Return a body as text that can be stored, whatever it was, without its secrets."""
    text = redact_bytes(raw, secrets).decode(wide_encoding(raw) or "utf-8-sig", errors="backslashreplace")
    return storable(redact(text, secrets))
