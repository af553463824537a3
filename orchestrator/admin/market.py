"""The state of the market in the admin: pushed quotes, and the snapshots that were distributed."""

from django.contrib import admin
from django.utils.safestring import SafeString

from orchestrator.admin.columns import alert_name, price, when
from orchestrator.admin.inspection import InspectionAdmin
from orchestrator.display import NOTHING, follow, link
from orchestrator.models import MarketContext, MarketQuote


@admin.register(MarketContext)
class MarketContextAdmin(InspectionAdmin):
    list_display = (
        when("distributed_at"),
        "alert",
        when("timestamp"),
        price("current_price", "price"),
        price("bid"),
        price("ask"),
        "volume",
        "context_hash",
    )
    list_filter = ("distributed_at", "timestamp")
    list_select_related = ("signal", "signal__experiment")
    search_fields = ("id", "signal", "symbol", "context_hash")
    search_help_text = "Signal id, symbol or context hash"
    fieldsets = (
        ("Snapshot", {"fields": ("symbol", "timestamp", "current_price", "bid", "ask", "volume", "distributed_at")}),
        ("Belongs to", {"fields": ("alert", "experiment", "context_hash", "id")}),
        ("Indicators", {"fields": ("indicators",)}),
        ("Where each value came from", {"fields": ("provenance",)}),
        ("The bytes that both engines received", {"fields": ("engine_input",)}),
    )

    @admin.display(description="signal", ordering="signal_id")
    def alert(self, context: MarketContext) -> SafeString:
        return link(context.signal, alert_name(context.signal))

    def experiment(self, context: MarketContext) -> SafeString:
        found = follow(context, "signal__experiment")
        return NOTHING if found is None or not hasattr(found, "pk") else link(found)


@admin.register(MarketQuote)
class MarketQuoteAdmin(InspectionAdmin):
    list_display = (
        "symbol",
        when("quoted_at"),
        price("price"),
        price("bid"),
        price("ask"),
        "volume",
        when("received_at"),
    )
    list_filter = ("quoted_at", "received_at")
    search_fields = ("symbol", "id")
    search_help_text = "Symbol"
    fieldsets = (
        ("Quote", {"fields": ("symbol", "quoted_at", "price", "bid", "ask", "volume", "received_at", "id")}),
        ("Indicators", {"fields": ("indicators",)}),
    )
