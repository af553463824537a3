"""The three tables of the intake: who may send alerts, the signals made of them, and what was turned away."""

from typing import ClassVar, Self

import pgtrigger
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import MD5, Now

from config.keys import new_key
from webhooks.alerts import timeframes
from webhooks.alerts.directions import Direction
from webhooks.alerts.fields import NAMES
from webhooks.alerts.problems import Unreadable
from webhooks.alerts.timeframes import read_timeframe
from webhooks.networks import UnreadableNetwork, read_networks

HASH_PATTERN = r"^[0-9a-f]{64}$"
LONGEST_SYMBOL = 64
LONGEST_TIMEFRAME = 16
LONGEST_SOURCE_NAME = 64


class TimestampOrigin(models.TextChoices):
    """Where a signal's timestamp came from."""

    PAYLOAD = "payload", "the alert"
    RECEIVED = "received", "the time of receipt"


class AlertSource(models.Model):
    """Someone who may send alerts: a token, and what is assumed where its alerts are silent."""

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    name = models.CharField(max_length=LONGEST_SOURCE_NAME)
    token_sha256 = models.CharField(max_length=64, editable=False)
    enabled = models.BooleanField(default=True)
    default_timeframe = models.CharField(
        max_length=LONGEST_TIMEFRAME,
        blank=True,
        default="",
        help_text="Used when an alert names no timeframe, as TradingView writes it: 15, 60, 1D. Empty: such alerts are refused.",
    )
    accept_missing_timestamp = models.BooleanField(
        default=False, help_text="An alert without a time gets the time at which it was received."
    )
    dedupe_window_seconds = models.PositiveIntegerField(
        default=30, help_text="The same body without a time, received again within this many seconds, is a re-delivery."
    )
    paths = models.JSONField(
        default=dict,
        blank=True,
        help_text='Where this source keeps a field, when it is not found by itself: {"direction": "order.side"}.',
    )
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: no limit.")
    largest_body_bytes = models.PositiveIntegerField(
        null=True, blank=True, help_text="A larger body is refused. Empty: the limit of the service, 65536."
    )
    allowed_networks = models.JSONField(
        default=list,
        db_default=models.Value([], output_field=models.JSONField()),
        blank=True,
        help_text="Addresses and networks that may send. Empty: any.",
    )
    body_secret_sha256 = models.CharField(max_length=64, blank=True, default="", db_default="", editable=False)
    previous_token_sha256 = models.CharField(max_length=64, null=True, editable=False)  # noqa: DJ001 - none is null
    previous_token_until = models.DateTimeField(null=True, editable=False)
    refused_requests = models.PositiveBigIntegerField(default=0, db_default=0, editable=False)
    last_refused_at = models.DateTimeField(null=True, editable=False)
    last_refusal = models.TextField(default="", db_default="", blank=True, editable=False)
    minute_started_at = models.DateTimeField(null=True, editable=False)
    minute_requests = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    plain_token = ""  # known to whoever has just made the source, never stored

    class Meta:
        db_table = "alert_sources"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["name"], name="alert_source_name_is_unique"),
            models.UniqueConstraint(fields=["token_sha256"], name="alert_source_token_is_unique"),
            models.CheckConstraint(condition=~Q(name=""), name="alert_source_has_a_name"),
            models.CheckConstraint(condition=Q(token_sha256__regex=HASH_PATTERN), name="alert_source_token_is_hashed"),
            models.UniqueConstraint(fields=["previous_token_sha256"], name="alert_source_previous_token_is_unique"),
            models.CheckConstraint(
                condition=Q(previous_token_sha256=None, previous_token_until=None)
                | Q(previous_token_sha256__regex=HASH_PATTERN, previous_token_until__isnull=False),
                name="alert_source_previous_token_is_hashed_and_ends",
            ),
            models.CheckConstraint(
                condition=Q(body_secret_sha256="") | Q(body_secret_sha256__regex=HASH_PATTERN),
                name="alert_source_body_secret_is_hashed",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Spell the default timeframe as signals do, and refuse defaults that make no sense."""
        errors: dict[str, str] = {}
        if self.default_timeframe:
            try:
                self.default_timeframe = read_timeframe(self.default_timeframe)
            except Unreadable as error:
                errors["default_timeframe"] = f"{error} Accepted: {timeframes.ACCEPTED}."
        if not is_path_table(self.paths):
            errors["paths"] = f'Accepted: fields ({", ".join(NAMES)}) and their paths, {{"direction": "order.side"}}.'
        if self.requests_per_minute == 0:
            errors["requests_per_minute"] = (
                "A source that may send nothing is switched off instead. Accepted: 1 or more."
            )
        if self.largest_body_bytes is not None and not 0 < self.largest_body_bytes <= settings.WEBHOOK_MAX_BODY_BYTES:
            errors["largest_body_bytes"] = f"Accepted: 1 to {settings.WEBHOOK_MAX_BODY_BYTES} bytes, or empty."
        try:
            self.allowed_networks = [str(network) for network in read_networks(self.allowed_networks)]
        except UnreadableNetwork as error:
            errors["allowed_networks"] = str(error)
        if errors:
            raise ValidationError(errors)


def is_path_table(paths: object) -> bool:
    """Tell whether pinned paths are what they should be: one path for each of some of the four fields."""
    return isinstance(paths, dict) and all(
        name in NAMES and isinstance(path, str) and path.strip() for name, path in paths.items()
    )


class SignalQuerySet(models.QuerySet["Signal"]):
    """Signals by where they stand on their way to an experiment."""

    def unprocessed(self) -> Self:
        """Signals that have no experiment yet and were not parked."""
        return self.filter(processed=False, parked_at__isnull=True)

    def claimable(self) -> Self:
        """Unprocessed signals that are due and that nobody holds, by the database clock, oldest first."""
        return (
            self.unprocessed()
            .filter(Q(lock_expires_at__isnull=True) | Q(lock_expires_at__lte=Now()))
            .filter(Q(next_attempt_at__isnull=True) | Q(next_attempt_at__lte=Now()))
            .order_by("received_at", "signal_id")
        )

    def locked(self) -> Self:
        """Unprocessed signals that a worker holds at this moment, by the database clock."""
        return self.unprocessed().filter(lock_expires_at__gt=Now())

    def processed(self) -> Self:
        """Signals that have their experiment."""
        return self.filter(processed=True)

    def parked(self) -> Self:
        """Signals that were set aside because processing them kept failing."""
        return self.filter(parked_at__isnull=False)


class Signal(models.Model):
    """One alert, stored once and never changed; only the processing columns move."""

    signal_id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    source = models.TextField()
    symbol = models.CharField(max_length=LONGEST_SYMBOL)
    exchange = models.TextField(null=True)  # noqa: DJ001 - unknown is null
    direction = models.TextField(choices=[(way.value, way.value) for way in Direction])
    timeframe = models.CharField(max_length=LONGEST_TIMEFRAME)
    timestamp = models.DateTimeField()
    timestamp_origin = models.TextField(choices=TimestampOrigin.choices)
    signal_hash = models.CharField(max_length=64)
    raw_payload = models.JSONField()
    raw_body = models.TextField()
    notes = models.JSONField(default=list, db_default=models.Value([], output_field=models.JSONField()))
    received_at = models.DateTimeField(db_default=Now())

    processed = models.BooleanField(default=False, db_default=False)
    processed_at = models.DateTimeField(null=True)
    experiment_id = models.UUIDField(null=True)
    processing_lock = models.UUIDField(null=True)
    lock_expires_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0, db_default=0)
    next_attempt_at = models.DateTimeField(null=True)
    last_error = models.TextField(default="", db_default="", blank=True)
    parked_at = models.DateTimeField(null=True)

    objects = SignalQuerySet.as_manager()

    class Meta:
        db_table = "signals"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["signal_hash"], name="signal_hash_is_unique"),
            models.CheckConstraint(condition=Q(signal_hash__regex=HASH_PATTERN), name="signal_hash_is_64_hex_digits"),
            models.CheckConstraint(
                condition=Q(direction__in=[way.value for way in Direction]), name="signal_is_long_or_short"
            ),
            models.CheckConstraint(condition=~Q(symbol=""), name="signal_has_a_symbol"),
            models.CheckConstraint(condition=~Q(timeframe=""), name="signal_has_a_timeframe"),
            models.CheckConstraint(
                condition=Q(timestamp_origin__in=TimestampOrigin.values), name="signal_time_has_a_known_origin"
            ),
            models.CheckConstraint(
                condition=Q(processed=True, processed_at__isnull=False, experiment_id__isnull=False)
                | Q(processed=False, processed_at__isnull=True, experiment_id__isnull=True),
                name="signal_is_processed_with_its_experiment",
            ),
        ]
        indexes: ClassVar = [
            # Serves SignalQuerySet.claimable(): the worker's claim, oldest first; holds only what still waits.
            models.Index(
                fields=["received_at", "signal_id"],
                condition=Q(processed=False, parked_at__isnull=True),
                name="signals_claimable",
            ),
            # Serves the watch for alerts that never arrived: what a source sent last, and in the same hours of earlier weeks.
            models.Index(fields=["source", "-received_at"], name="signals_by_source"),
            # Serves storing.store_without_own_time(): the same body again, among alerts that carry no time of their own.
            models.Index(
                MD5("raw_body"),
                F("received_at"),
                condition=Q(timestamp_origin="received"),
                name="signals_without_their_own_time",
            ),
        ]
        triggers: ClassVar = [
            pgtrigger.ReadOnly(
                name="signal_alert_is_immutable",
                fields=[
                    "signal_id",
                    "source",
                    "symbol",
                    "exchange",
                    "direction",
                    "timeframe",
                    "timestamp",
                    "timestamp_origin",
                    "signal_hash",
                    "raw_payload",
                    "raw_body",
                    "notes",
                    "received_at",
                ],
            ),
            pgtrigger.Protect(name="signal_is_never_deleted", operation=pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"{self.symbol} {self.direction} {self.timeframe} {self.timestamp:%Y-%m-%d %H:%M:%S}Z"


class RejectedAlertQuerySet(models.QuerySet["RejectedAlert"]):
    """Alerts that were turned away, by what became of them."""

    def unreplayed(self) -> Self:
        """Alerts that no later reading has turned into a signal."""
        return self.filter(replayed_signal__isnull=True)

    def exits(self) -> Self:
        """Alerts that told of an exit: kept, never read as an entry."""
        return self.filter(code="exit_alert")


class RejectedAlert(models.Model):
    """An authenticated request that did not become a signal: what came (redacted, capped) and why it was turned away."""

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    received_at = models.DateTimeField(db_default=Now())
    source = models.TextField()
    code = models.TextField()
    body = models.TextField(blank=True)
    content_type = models.TextField(blank=True)
    sent_from = models.TextField(blank=True, default="", db_default="")
    errors = models.JSONField()
    replayed_signal = models.ForeignKey(Signal, null=True, on_delete=models.PROTECT, related_name="rejected_alerts")

    objects = RejectedAlertQuerySet.as_manager()

    class Meta:
        db_table = "rejected_alerts"
        permissions: ClassVar = [("read_again", "Can read rejected alerts again")]
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(code=""), name="rejected_alert_has_a_reason"),
        ]
        indexes: ClassVar = [
            # Serves the watch for alerts that never arrived, as signals_by_source does.
            models.Index(fields=["source", "-received_at"], name="rejected_alerts_by_source"),
        ]
        triggers: ClassVar = [
            pgtrigger.ReadOnly(
                name="rejected_alert_is_immutable",
                fields=["id", "received_at", "source", "code", "body", "content_type", "errors", "sent_from"],
            ),
            pgtrigger.Protect(name="rejected_alert_is_never_deleted", operation=pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"{self.code} from {self.source} at {self.received_at:%Y-%m-%d %H:%M:%S}Z"
