"""Outcomes, exit syncs and daily results in the admin, and the experiment with everything that became of it."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from orchestrator.admin.columns import alert_name, experiment_link, number, price, profit, when, word
from orchestrator.admin.inspection import InspectionAdmin
from orchestrator.display import NOTHING, gain, label, link
from orchestrator.domain.vocabulary import Engine
from orchestrator.models import Experiment, RealTrade, ShadowTrade
from outcomes.experiment_page import experiment_page
from outcomes.models import DailyResult, ExitSync, RealTradeOutcome, ShadowTradeOutcome


@admin.register(Experiment)
class ExperimentAdmin(InspectionAdmin):
    """The list of experiments, and the page that answers who recommended a trade and why it executed."""

    change_form_template = "admin/orchestrator/experiment/page.html"
    ordering = ("-created_at", "-experiment_id")
    list_display = (
        "alert",
        when("created_at"),
        word("variant"),
        word("policy__execution_mode", "mode"),
        word("policy__executed_engine", "executes"),
        "recommended",
        word("permit__state", "permit"),
        "real_pnl",
        "shadow_a",
        "shadow_b",
    )
    list_filter = (
        "variant",
        "policy__execution_mode",
        "policy__executed_engine",
        "policy__reason_code",
        "permit__state",
        "created_at",
    )
    list_select_related = ("signal", "signal__context", "policy", "permit", "exit_sync")
    search_fields = (
        "experiment_id",
        "signal",
        "permit__permit_id",
        "signal__symbol",
        "signal__signal_hash",
        "assignment_hash",
        "policy_version",
    )
    search_help_text = "Experiment, signal or permit id, hash, symbol"

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Experiment]":
        return (
            super()
            .get_queryset(request)
            .prefetch_related("recommendations", "realtradeoutcomes", "shadowtradeoutcomes")
        )

    def page(self, request: HttpRequest, row: Experiment) -> dict[str, Any]:
        return experiment_page(row)

    @admin.display(description="alert")
    def alert(self, experiment: Experiment) -> SafeString:
        return format_html('<strong class="o-name">{}</strong>', alert_name(experiment.signal))

    @admin.display(description="recommended")
    def recommended(self, experiment: Experiment) -> SafeString:
        answers = sorted(experiment.recommendations.all(), key=lambda answer: answer.engine)
        return _several([label(answer.engine, text=f"{answer.engine} {answer.action}") for answer in answers])

    @admin.display(description="real P&L")
    def real_pnl(self, experiment: Experiment) -> SafeString:
        return _several([gain(outcome.pnl) for outcome in experiment.realtradeoutcomes.all()])

    @admin.display(description="A simulated")
    def shadow_a(self, experiment: Experiment) -> SafeString:
        return _simulated(experiment, Engine.A)

    @admin.display(description="B simulated")
    def shadow_b(self, experiment: Experiment) -> SafeString:
        return _simulated(experiment, Engine.B)


class OutcomeAdmin(InspectionAdmin):
    """What real and shadow outcomes have in common; they stay two lists (requirement 5.2)."""

    date_hierarchy = None
    ordering = ("-exit_time", "-outcome_id")
    list_select_related = ("experiment__signal", "trade")
    list_filter: tuple[str, ...] = ("engine", "side", "exit_time")
    search_fields = (
        "outcome_id",
        "trade",
        "experiment",
        "experiment__signal",
        "experiment__signal__symbol",
        "exit_reason",
    )
    search_help_text = "Outcome, trade, experiment or signal id, symbol or exit reason"
    fieldsets = (
        ("Result", {"fields": ("engine", "profit_or_loss", "exit_reason", "entry_time", "exit_time")}),
        ("How it is computed", {"fields": ("side", "entry_price", "exit_price", "quantity", "multiplier", "fees")}),
        ("Belongs to", {"fields": ("experiment", "trade", "recorded_at", "outcome_id")}),
        ("Market conditions at the exit", {"fields": ("market_conditions",)}),
    )

    @admin.display(description="P&L")
    def profit_or_loss(self, outcome: RealTradeOutcome | ShadowTradeOutcome) -> SafeString:
        return gain(outcome.pnl)


COLUMNS = (
    when("exit_time", "exited"),
    experiment_link(),
    word("engine"),
    profit("pnl"),
    word("side"),
    number("quantity"),
    price("entry_price", "entry"),
    price("exit_price", "exit"),
    price("fees"),
    "exit_reason",
)


@admin.register(RealTradeOutcome)
class RealTradeOutcomeAdmin(OutcomeAdmin):
    list_display = COLUMNS


@admin.register(ShadowTradeOutcome)
class ShadowTradeOutcomeAdmin(OutcomeAdmin):
    list_display = (*COLUMNS[:3], word("trade__purpose", "purpose"), *COLUMNS[3:])
    list_filter = ("engine", "trade__purpose", "side", "exit_time")


@admin.register(ExitSync)
class ExitSyncAdmin(InspectionAdmin):
    list_display = (
        when("created_at"),
        experiment_link(),
        word("lead_engine", "lead"),
        "lead_kind",
        word("state"),
        when("exit_time"),
        price("exit_price"),
        "exit_reason",
        "attempts",
    )
    list_filter = ("state", "lead_engine", "lead_is_real", "created_at")
    list_select_related = ("experiment__signal",)
    search_fields = ("id", "lead_trade_id", "experiment", "experiment__signal", "experiment__signal__symbol")
    search_help_text = "Lead trade, experiment or signal id, or symbol"
    fieldsets = (
        (
            "Lead",
            {
                "fields": (
                    "experiment",
                    "lead_engine",
                    "lead_kind",
                    "lead_trade",
                    "exit_price",
                    "exit_time",
                    "exit_reason",
                )
            },
        ),
        ("Followers", {"fields": ("state", "attempts", "created_at", "id")}),
        ("Market conditions at the exit", {"fields": ("market_conditions",)}),
    )

    @admin.display(description="kind", ordering="lead_is_real")
    def lead_kind(self, sync: ExitSync) -> SafeString:
        return label("real" if sync.lead_is_real else "shadow")

    @admin.display(description="lead trade")
    def lead_trade(self, sync: ExitSync) -> SafeString:
        trades = RealTrade.objects if sync.lead_is_real else ShadowTrade.objects
        return link(trades.filter(pk=sync.lead_trade_id).first())


@admin.register(DailyResult)
class DailyResultAdmin(InspectionAdmin):
    ordering = ("-day", "engine", "kind")
    date_hierarchy = "day"  # a few rows a day
    list_display = ("day", word("engine"), word("kind"), "trades", "wins", "losses", profit("total_pnl"))
    list_filter = ("engine", "kind", "day")


def _simulated(experiment: Experiment, engine: Engine) -> SafeString:
    """Return what the shadow trade or the twin of an engine came to."""
    return _several([gain(one.pnl) for one in experiment.shadowtradeoutcomes.all() if one.engine == engine])


def _several(shown: list[SafeString]) -> SafeString:
    return (
        SafeString(f'<span class="o-several">{"".join(f"<span>{one}</span>" for one in shown)}</span>')
        if shown
        else NOTHING
    )
