"""Incidents in the admin: what happened, in plain words, with the evidence beside it."""

from typing import Any

from django.contrib import admin
from django.db.models import Case, IntegerField, QuerySet, Value, When
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from orchestrator.admin.columns import experiment_link, when, word
from orchestrator.admin.inspection import InspectionAdmin
from orchestrator.display import label
from orchestrator.domain.incident_words import what_happened, what_to_do
from orchestrator.domain.vocabulary import Severity
from orchestrator.models import Incident

URGENCY = {severity: place for place, severity in enumerate(Severity)}


class SettledFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "open"), ("settled", "settled")]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Incident]") -> "QuerySet[Incident]":
        if self.value() in {"open", "settled"}:
            return queryset.filter(resolved_at__isnull=self.value() == "open")
        return queryset


@admin.register(Incident)
class IncidentAdmin(InspectionAdmin):
    date_hierarchy = "opened_at"
    list_display = (
        "happened",
        word("severity"),
        "state",
        when("opened_at"),
        experiment_link(),
        when("resolved_at"),
        "resolved_by",
    )
    list_filter = (SettledFilter, "severity", "kind", "opened_at")
    list_select_related = ("experiment__signal", "permit")
    search_fields = ("id", "subject", "experiment", "experiment__signal", "permit", "kind", "resolved_by")
    search_help_text = "Incident, experiment, permit or signal id, kind or subject"
    fieldsets = (
        ("What happened", {"fields": ("kind", "severity", "state", "what_happened", "what_to_do")}),
        ("Belongs to", {"fields": ("experiment", "permit", "subject", "opened_at", "id")}),
        ("Settled", {"fields": ("resolved_at", "resolved_by", "resolution")}),
        ("Evidence", {"fields": ("detail",)}),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Incident]":
        rows = by_urgency(Incident.objects.select_related(*self.list_select_related))
        return rows.order_by(*self.get_ordering(request))

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        return ("is_settled", "urgency", "-opened_at", "-id")

    @admin.display(description="what happened", ordering="kind")
    def happened(self, incident: Incident) -> SafeString:
        return format_html(
            '<span class="o-stack o-wide"><strong>{}</strong><span class="o-quiet">{}</span></span>',
            incident.kind.replace("_", " ").capitalize(),
            what_happened(incident.kind, incident.detail),
        )

    @admin.display(description="state", ordering="resolved_at")
    def state(self, incident: Incident) -> SafeString:
        return label("settled", text="settled") if incident.resolved_at else label("unsettled", text="open")

    def what_happened(self, incident: Incident) -> SafeString:
        return format_html("{}", what_happened(incident.kind, incident.detail))

    def what_to_do(self, incident: Incident) -> SafeString:
        return format_html("{}", what_to_do(incident.kind))


def by_urgency(incidents: "QuerySet[Incident]") -> "QuerySet[Incident]":
    """Name what an operator should look at first: ``is_settled`` and ``urgency``, both 0 for the worst."""
    return incidents.annotate(
        is_settled=Case(When(resolved_at=None, then=Value(0)), default=Value(1), output_field=IntegerField()),
        urgency=Case(
            *(When(severity=severity.value, then=Value(place)) for severity, place in URGENCY.items()),
            default=Value(len(URGENCY)),
            output_field=IntegerField(),
        ),
    )
