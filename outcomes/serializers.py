"""How the API writes rows: every field named, money as decimal strings, unknown is null."""

from decimal import Decimal
from typing import Any

from django.db import models
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from orchestrator.domain.amounts import decimal_string
from orchestrator.domain.vocabulary import Purpose
from orchestrator.models import (
    ExecutionPermit,
    ExecutionPolicy,
    Experiment,
    Incident,
    MarketContext,
    PolicyRevision,
    RealTrade,
    Recommendation,
    ShadowTrade,
)
from outcomes.models import RealTradeOutcome, ShadowTradeOutcome
from outcomes.summaries import KIND_OF_PURPOSE, REAL
from webhooks.models import Signal

KINDS = (REAL, *KIND_OF_PURPOSE.values())


@extend_schema_field({"type": "string", "format": "decimal", "example": "589.12"})
class MoneyField(serializers.Field[Decimal, Any, str, Any]):
    """A decimal string without exponent and without trailing zeros."""

    def __init__(self, **options: Any) -> None:
        for name in ("max_digits", "decimal_places", "max_value", "min_value"):
            options.pop(name, None)
        super().__init__(**options)

    def to_representation(self, value: Decimal) -> str:
        return decimal_string(value)


class RowSerializer(serializers.ModelSerializer[models.Model]):
    """What all rows share: they are only ever read here."""

    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.DecimalField: MoneyField,
    }


class SignalSerializer(RowSerializer):
    class Meta:
        model = Signal
        fields = read_only_fields = (
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
            "processed",
            "processed_at",
            "experiment_id",
            "attempts",
            "last_error",
        )


class PolicySerializer(RowSerializer):
    class Meta:
        model = ExecutionPolicy
        fields = read_only_fields = (
            "execution_mode",
            "executed_engine",
            "shadow_engine",
            "reason",
            "reason_code",
            "policy_version",
            "inputs",
        )


class ExperimentSerializer(RowSerializer):
    signal_id = serializers.UUIDField(read_only=True)
    symbol = serializers.CharField(source="signal.symbol", read_only=True)
    direction = serializers.CharField(source="signal.direction", read_only=True)
    timeframe = serializers.CharField(source="signal.timeframe", read_only=True)
    policy = PolicySerializer(read_only=True)

    class Meta:
        model = Experiment
        fields = read_only_fields = (
            "experiment_id",
            "signal_id",
            "symbol",
            "direction",
            "timeframe",
            "variant",
            "assignment_hash",
            "split_percentage",
            "policy_version",
            "created_at",
            "policy",
        )


class MarketContextSerializer(RowSerializer):
    class Meta:
        model = MarketContext
        fields = read_only_fields = (
            "timestamp",
            "symbol",
            "current_price",
            "bid",
            "ask",
            "volume",
            "indicators",
            "provenance",
            "engine_input",
            "context_hash",
            "distributed_at",
        )


class RecommendationSerializer(RowSerializer):
    class Meta:
        model = Recommendation
        fields = read_only_fields = ("engine", "action", "terms", "reason", "raw", "received_at")


class PermitSerializer(RowSerializer):
    class Meta:
        model = ExecutionPermit
        fields = read_only_fields = (
            "permit_id",
            "engine",
            "state",
            "not_after",
            "granted_at",
            "armed_at",
            "accepted_at",
            "resolved_at",
            "resolved_by",
            "detail",
        )


class TradeSerializer(serializers.Serializer["RealTrade | ShadowTrade"]):
    """A real trade or a simulated one; ``kind`` says which. What only the other kind has is null."""

    trade_id = serializers.UUIDField()
    kind = serializers.SerializerMethodField()
    experiment_id = serializers.UUIDField()
    symbol = serializers.CharField(source="experiment.signal.symbol")
    engine = serializers.CharField()
    status = serializers.CharField()
    terms = serializers.JSONField()
    entry_price = MoneyField()
    entry_time = serializers.DateTimeField()
    quantity = MoneyField()
    fees = serializers.SerializerMethodField()
    permit_id = serializers.SerializerMethodField()
    authorised = serializers.SerializerMethodField()
    external_id = serializers.SerializerMethodField()
    own_exit_price = serializers.SerializerMethodField()
    own_exit_time = serializers.SerializerMethodField()
    own_exit_reason = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()

    @extend_schema_field({"type": "string", "enum": list(KINDS)})
    def get_kind(self, trade: RealTrade | ShadowTrade) -> str:
        return kind_of(trade)

    @extend_schema_field({"type": "string", "format": "decimal"})
    def get_fees(self, trade: RealTrade | ShadowTrade) -> str:
        return decimal_string(trade.fees) if isinstance(trade, RealTrade) else "0"

    @extend_schema_field({"type": "string", "format": "uuid", "nullable": True})
    def get_permit_id(self, trade: RealTrade | ShadowTrade) -> str | None:
        return str(trade.permit_id) if isinstance(trade, RealTrade) and trade.permit_id else None

    def get_authorised(self, trade: RealTrade | ShadowTrade) -> bool | None:
        return trade.authorised if isinstance(trade, RealTrade) else None

    def get_external_id(self, trade: RealTrade | ShadowTrade) -> str | None:
        return trade.external_id if isinstance(trade, RealTrade) else None

    @extend_schema_field({"type": "string", "format": "decimal", "nullable": True})
    def get_own_exit_price(self, trade: RealTrade | ShadowTrade) -> str | None:
        if isinstance(trade, RealTrade) or trade.own_exit_price is None:
            return None
        return decimal_string(trade.own_exit_price)

    @extend_schema_field({"type": "string", "format": "date-time", "nullable": True})
    def get_own_exit_time(self, trade: RealTrade | ShadowTrade) -> str | None:
        if isinstance(trade, RealTrade) or trade.own_exit_time is None:
            return None
        return str(serializers.DateTimeField().to_representation(trade.own_exit_time))

    def get_own_exit_reason(self, trade: RealTrade | ShadowTrade) -> str | None:
        return None if isinstance(trade, RealTrade) else trade.own_exit_reason


class OutcomeSerializer(serializers.Serializer["RealTradeOutcome | ShadowTradeOutcome"]):
    """A closed trade, real or simulated; ``kind`` says which."""

    outcome_id = serializers.UUIDField()
    kind = serializers.SerializerMethodField()
    trade_id = serializers.UUIDField()
    experiment_id = serializers.UUIDField()
    symbol = serializers.CharField(source="experiment.signal.symbol")
    engine = serializers.CharField()
    side = serializers.CharField()
    entry_price = MoneyField()
    exit_price = MoneyField()
    quantity = MoneyField()
    multiplier = MoneyField()
    fees = MoneyField()
    pnl = MoneyField()
    exit_reason = serializers.CharField()
    entry_time = serializers.DateTimeField()
    exit_time = serializers.DateTimeField()
    market_conditions = serializers.JSONField()
    recorded_at = serializers.DateTimeField()

    @extend_schema_field({"type": "string", "enum": list(KINDS)})
    def get_kind(self, outcome: RealTradeOutcome | ShadowTradeOutcome) -> str:
        return kind_of(outcome.trade)


class IncidentSerializer(RowSerializer):
    experiment_id = serializers.UUIDField(read_only=True, allow_null=True)
    permit_id = serializers.UUIDField(read_only=True, allow_null=True)

    class Meta:
        model = Incident
        fields = read_only_fields = (
            "id",
            "kind",
            "severity",
            "subject",
            "experiment_id",
            "permit_id",
            "detail",
            "opened_at",
            "resolved_at",
            "resolved_by",
            "resolution",
        )


class PolicyRevisionSerializer(RowSerializer):
    policy_version = serializers.CharField(read_only=True)

    class Meta:
        model = PolicyRevision
        fields = read_only_fields = (
            "id",
            "number",
            "policy_version",
            "execution_mode",
            "split_percentage",
            "trading_halted",
            "max_signal_age_seconds",
            "app_mode",
            "changed_by",
            "created_at",
        )


def kind_of(trade: RealTrade | ShadowTrade) -> str:
    """Return real, shadow or twin."""
    return REAL if isinstance(trade, RealTrade) else KIND_OF_PURPOSE[Purpose(trade.purpose)]
