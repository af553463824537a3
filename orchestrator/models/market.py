"""The state of the market: quotes that others pushed, and the snapshot that was distributed with a signal."""

from typing import Any, ClassVar

from django.db import models
from django.db.models import F, Func, Value

from config.keys import new_key
from orchestrator.models.rules import a_hash, amounts, created_at_field, immutable, money_field
from webhooks.models import Signal


class MarketQuote(models.Model):
    """A quote pushed by the platform's data service; nothing is ever fetched (requirement 7.1)."""

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    symbol = models.CharField(max_length=64)
    quoted_at = models.DateTimeField()
    price = money_field(null=True)
    bid = money_field(null=True)
    ask = money_field(null=True)
    volume = models.BigIntegerField(null=True)
    indicators = models.JSONField(default=dict)
    received_at = created_at_field()

    class Meta:
        db_table = "market_quotes"
        constraints: ClassVar[list[Any]] = [
            # also serves: the newest quote of a symbol not later than a signal
            models.UniqueConstraint(fields=["symbol", "quoted_at"], name="one_quote_per_symbol_and_time"),
            amounts("quote_prices_are_finite", "price", "bid", "ask"),
            models.CheckConstraint(name="quote_volume_is_not_negative", condition=models.Q(volume__gte=0)),
        ]
        triggers: ClassVar[list[Any]] = immutable("quotes")

    def __str__(self) -> str:
        return f"{self.symbol} at {self.quoted_at:%Y-%m-%d %H:%M:%S}"


class MarketContext(models.Model):
    """The snapshot taken for a signal; ``engine_input`` is what both engines receive, to the byte."""

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    signal = models.OneToOneField(Signal, on_delete=models.PROTECT, related_name="context")
    timestamp = models.DateTimeField()
    symbol = models.CharField(max_length=64)
    current_price = money_field(null=True)
    bid = money_field(null=True)
    ask = money_field(null=True)
    volume = models.BigIntegerField(null=True)
    indicators = models.JSONField(default=dict)
    provenance = models.JSONField(default=dict)
    engine_input = models.TextField()
    context_hash = models.CharField(max_length=64)
    distributed_at = models.DateTimeField()

    class Meta:
        db_table = "market_contexts"
        constraints: ClassVar[list[Any]] = [
            a_hash("context_hash_is_a_hash", "context_hash"),
            models.CheckConstraint(
                name="context_hash_is_of_engine_input",
                condition=models.Q(
                    context_hash=Func(
                        Func(
                            Func(F("engine_input"), Value("UTF8"), function="convert_to"),
                            function="sha256",
                        ),
                        Value("hex"),
                        function="encode",
                        output_field=models.TextField(),
                    )
                ),
            ),
            amounts("context_prices_are_finite", "current_price", "bid", "ask"),
            models.CheckConstraint(name="context_volume_is_not_negative", condition=models.Q(volume__gte=0)),
        ]
        triggers: ClassVar[list[Any]] = immutable("contexts")

    def __str__(self) -> str:
        return f"{self.symbol} {self.context_hash[:12]}"
