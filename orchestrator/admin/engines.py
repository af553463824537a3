"""What is asked of the engines and what they say, in the admin; their health, and the workers' signs of life."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from orchestrator.admin.columns import experiment_link, text, when, word
from orchestrator.admin.inspection import InspectionAdmin
from orchestrator.admin.trades import contract_name
from orchestrator.display import NOTHING, follow, label, link
from orchestrator.domain.agreement import MEANINGS, Agreement
from orchestrator.domain.vocabulary import EventType
from orchestrator.models import (
    EngineCall,
    EngineEvent,
    EngineHealth,
    EngineProof,
    Recommendation,
    RepeatedQuestion,
    WorkerHeartbeat,
)


@admin.register(EngineCall)
class EngineCallAdmin(InspectionAdmin):
    list_display = (
        when("created_at"),
        experiment_link(),
        word("engine"),
        "kind",
        word("state"),
        "attempts",
        "took",
        when("deadline_at"),
        text("error"),
    )
    list_filter = ("engine", "kind", "state", "created_at")
    list_select_related = ("experiment__signal",)
    search_fields = ("id", "experiment", "experiment__signal", "experiment__signal__symbol", "input_hash")
    search_help_text = "Call, experiment or signal id, symbol or input hash"
    fieldsets = (
        ("Call", {"fields": ("engine", "kind", "state", "experiment", "recommendation_link", "input_hash", "id")}),
        ("Course", {"fields": ("created_at", "sent_at", "answered_at", "took", "deadline_at", "error")}),
        ("Queue", {"fields": ("attempts", "next_attempt_at", "lease", "lease_expires_at", "fence")}),
        ("Request, as it is sent", {"fields": ("request",)}),
        ("Answer, as it was received", {"fields": ("response",)}),
    )

    @admin.display(description="took", ordering="latency")
    def took(self, call: EngineCall) -> str:
        return NOTHING if call.latency is None else f"{call.latency:.3f} s"

    @admin.display(description="recommendation")
    def recommendation_link(self, call: EngineCall) -> SafeString:
        return link(follow(call, "recommendation"))


@admin.register(Recommendation)
class RecommendationAdmin(InspectionAdmin):
    list_display = (
        when("received_at"),
        experiment_link(),
        word("engine"),
        word("action"),
        "contract",
        text("reason"),
    )
    list_filter = ("engine", "action", "received_at")
    list_select_related = ("experiment__signal", "call")
    search_fields = ("id", "experiment", "experiment__signal", "experiment__signal__symbol", "call")
    search_help_text = "Experiment or signal id, or symbol"
    fieldsets = (
        ("Recommendation", {"fields": ("engine", "action", "contract", "reason", "received_at")}),
        ("Belongs to", {"fields": ("experiment", "call", "id")}),
        ("Terms", {"fields": ("terms",)}),
        ("The whole answer, as it was received", {"fields": ("raw",)}),
    )

    def contract(self, recommendation: Recommendation) -> str:
        return contract_name(recommendation.terms) if recommendation.terms else NOTHING


class EventTypeFilter(admin.SimpleListFilter):
    """The known types, without asking the whole inbox which ones it holds."""

    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(known.value, known.value) for known in EventType]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[EngineEvent]") -> "QuerySet[EngineEvent]":
        return queryset.filter(type=self.value()) if self.value() else queryset


@admin.register(EngineEvent)
class EngineEventAdmin(InspectionAdmin):
    list_display = (
        when("received_at"),
        word("engine"),
        "type",
        word("verdict"),
        when("applied_at"),
        experiment_link(),
        "message_id",
        text("detail"),
    )
    list_filter = ("engine", "verdict", EventTypeFilter, "received_at")
    list_select_related = ("experiment__signal",)
    search_fields = ("id", "message_id", "experiment", "experiment__signal", "type")
    search_help_text = "Message, experiment or signal id, or type"
    fieldsets = (
        ("Event", {"fields": ("engine", "type", "message_id", "experiment", "id")}),
        ("What became of it", {"fields": ("verdict", "applied_at", "detail", "received_at")}),
        ("Message, as it was received", {"fields": ("body",)}),
    )


@admin.register(EngineHealth)
class EngineHealthAdmin(InspectionAdmin):
    ordering = ("engine",)
    list_display = (word("engine"), "state", when("checked_at"), text("detail"))
    list_filter = ("ok",)
    search_fields = ("engine",)

    @admin.display(description="last probe", ordering="ok")
    def state(self, health: EngineHealth) -> SafeString:
        return label("available" if health.ok else "unavailable")


@admin.register(EngineProof)
class EngineProofAdmin(InspectionAdmin):
    list_display = (when("checked_at"), word("engine"), "capability", "verdict", "claimed", text("detail"))
    list_filter = ("engine", "capability", "proved", "claimed", "checked_at")
    search_fields = ("engine", "capability", "address")
    fieldsets = (
        ("Proof", {"fields": ("engine", "capability", "verdict", "claimed", "checked_at", "address", "id")}),
        ("What was seen", {"fields": ("detail",)}),
    )

    @admin.display(description="verdict", ordering="proved")
    def verdict(self, proof: EngineProof) -> SafeString:
        return label({True: "proved", False: "refuted", None: "not judged"}[proof.proved])


@admin.register(RepeatedQuestion)
class RepeatedQuestionAdmin(InspectionAdmin):
    list_display = (when("asked_at"), experiment_link(), word("engine"), word("agreement"), "took", text("detail"))
    list_filter = ("engine", "agreement", "asked_at")
    list_select_related = ("experiment__signal",)
    search_fields = ("id", "experiment", "experiment__signal", "experiment__signal__symbol")
    search_help_text = "Experiment or signal id, or symbol"
    fieldsets = (
        ("Question", {"fields": ("engine", "experiment", "asked_at", "id")}),
        ("Compared with the recorded answer", {"fields": ("agreement", "meaning", "detail")}),
        ("The second answer, as it was received", {"fields": ("answered_at", "took", "raw")}),
    )

    @admin.display(description="took", ordering="latency")
    def took(self, repeat: RepeatedQuestion) -> str:
        return NOTHING if repeat.latency is None else f"{repeat.latency:.3f} s"

    @admin.display(description="that is")
    def meaning(self, repeat: RepeatedQuestion) -> str:
        return MEANINGS[Agreement(repeat.agreement)] if repeat.agreement else "no usable answer"


@admin.register(WorkerHeartbeat)
class WorkerHeartbeatAdmin(InspectionAdmin):
    ordering = ("-beat_at", "id")
    list_display = ("name", when("started_at"), when("beat_at", "last beat"), when("stopped_at"))
    list_filter = ("beat_at",)
    search_fields = ("name",)
