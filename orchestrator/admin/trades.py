"""Trades in the admin: those that were placed, and those that are followed as shadows."""

from typing import Any

from django.contrib import admin
from django.utils.safestring import SafeString

from orchestrator.admin.columns import experiment_link, number, price, profit, when, word
from orchestrator.admin.inspection import InspectionAdmin
from orchestrator.display import NOTHING, follow, label, link
from orchestrator.models import RealTrade, ShadowTrade


class TradeAdmin(InspectionAdmin):
    """What real and shadow trades have in common."""

    list_select_related = ("experiment__signal", "outcome")

    @admin.display(description="contract")
    def contract(self, trade: RealTrade | ShadowTrade) -> str:
        return contract_name(trade.terms)

    def outcome_link(self, trade: RealTrade | ShadowTrade) -> SafeString:
        return link(follow(trade, "outcome"))

    outcome_link.short_description = "outcome"  # type: ignore[attr-defined]

    def other_trades(self, trade: RealTrade | ShadowTrade) -> SafeString:
        """Link to the other trades of the same experiment: the shadow, the twin, the real one."""
        experiment = trade.experiment
        found = [*experiment.real_trades.all(), *experiment.shadow_trades.all()]
        links = [link(other) for other in found if other.pk != trade.pk]
        return SafeString("<br>".join(links)) if links else NOTHING


@admin.register(RealTrade)
class RealTradeAdmin(TradeAdmin):
    list_display = (
        when("entry_time"),
        experiment_link(),
        word("engine"),
        "contract",
        number("quantity"),
        price("entry_price"),
        word("status"),
        profit("outcome__pnl"),
        "authorisation",
        "external_id",
    )
    list_filter = ("engine", "status", "authorised", "entry_time")
    search_fields = (
        "trade_id",
        "external_id",
        "permit",
        "experiment",
        "experiment__signal",
        "experiment__signal__symbol",
    )
    search_help_text = "Trade, permit, experiment or signal id, the engine's own id, or symbol"
    fieldsets = (
        ("Trade", {"fields": ("engine", "contract", "quantity", "entry_price", "entry_time", "fees", "status")}),
        (
            "Belongs to",
            {
                "fields": (
                    "experiment",
                    "authorisation",
                    "permit",
                    "external_id",
                    "outcome_link",
                    "other_trades",
                    "created_at",
                    "trade_id",
                )
            },
        ),
        ("Terms, as the engine gave them", {"fields": ("terms",)}),
    )

    @admin.display(description="authorised", ordering="authorised")
    def authorisation(self, trade: RealTrade) -> SafeString:
        return label("yes" if trade.authorised else "no")


@admin.register(ShadowTrade)
class ShadowTradeAdmin(TradeAdmin):
    list_display = (
        when("entry_time"),
        experiment_link(),
        word("engine"),
        word("purpose"),
        "contract",
        number("quantity"),
        price("entry_price"),
        word("status"),
        profit("outcome__pnl"),
        when("own_exit_time", "own exit"),
    )
    list_filter = ("engine", "purpose", "status", "entry_time")
    search_fields = ("trade_id", "experiment", "experiment__signal", "experiment__signal__symbol")
    search_help_text = "Trade, experiment or signal id, or symbol"
    fieldsets = (
        ("Trade", {"fields": ("engine", "purpose", "contract", "quantity", "entry_price", "entry_time", "status")}),
        ("Belongs to", {"fields": ("experiment", "outcome_link", "other_trades", "created_at", "trade_id")}),
        (
            "The exit that its engine would have made",
            {"fields": ("own_exit_price", "own_exit_time", "own_exit_reason")},
        ),
        ("Terms, as the engine gave them", {"fields": ("terms",)}),
    )


def contract_name(terms: Any) -> str:
    """Return what is traded in a few words: ``BUY SPY260320C00590000``."""
    terms = terms if isinstance(terms, dict) else {}
    instrument = terms.get("instrument") if isinstance(terms.get("instrument"), dict) else {}
    symbol = (instrument or {}).get("option_symbol") or terms.get("symbol") or "-"
    return f"{terms.get('side', '')} {symbol}".strip()
