"""Incidents in the admin: what happened, in plain words, with the evidence beside it."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Case, IntegerField, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from orchestrator.admin.columns import experiment_link, when, word
from orchestrator.admin.evidence import evidence_of
from orchestrator.admin.inspection import InspectionAdmin
from orchestrator.admin.settling import settle_incident
from orchestrator.display import NOTHING, label
from orchestrator.domain.incident_words import WORDS, what_happened, what_to_do
from orchestrator.domain.vocabulary import IncidentKind, Severity
from orchestrator.models import Incident, IncidentNotification
from orchestrator.queue import database_clock
from orchestrator.settlement import MAY_SETTLE, choices_for

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
    change_form_template = "admin/orchestrator/incident/page.html"
    fieldsets = (
        ("Belongs to", {"fields": ("kind", "severity", "experiment", "permit", "subject", "opened_at", "id", "told")}),
        ("Settled", {"fields": ("resolved_at", "resolved_by", "resolution")}),
        ("What was noted when it was opened", {"fields": ("detail",)}),
    )

    def get_urls(self) -> list[Any]:
        settling = path(
            "<uuid:incident_id>/settle/<slug:choice>/",
            self.admin_site.admin_view(self.settle),
            name="orchestrator_incident_settle",
        )
        return [settling, *super().get_urls()]

    def page(self, request: HttpRequest, row: Incident) -> dict[str, Any]:
        is_open = row.resolved_at is None
        at = database_clock()
        return {
            **super().page(request, row),
            "state": self.state(row),
            "happened": what_happened(row.kind, row.detail),
            "to_do": what_to_do(row.kind),
            "in_general": WORDS[IncidentKind(row.kind)][0],
            "choices": [(one, one.effects(row), one.refusal(row, at)) for one in choices_for(row)] if is_open else [],
            "may_settle": request.user.has_perm(MAY_SETTLE),
            "evidence": evidence_of(row),
        }

    def settle(self, request: HttpRequest, incident_id: UUID, choice: str) -> HttpResponse:
        """Settle one incident; who may not see it does not learn that it exists."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        incident = get_object_or_404(Incident.objects.select_related(*self.list_select_related), pk=incident_id)
        context = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        request.current_app = self.admin_site.name
        return settle_incident(request, incident, name=choice, context=context)

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

    @admin.display(description="operators were told")
    def told(self, incident: Incident) -> SafeString:
        told = incident.notifications.order_by("channel")
        return format_html_join(", ", "{}", ((how_told(one),) for one in told)) or NOTHING


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


def how_told(notification: IncidentNotification) -> str:
    """Return what became of a notification, in words."""
    channel = notification.channel.lower()
    if notification.sent_at is not None:
        return f"by {channel} at {notification.sent_at:%Y-%m-%d %H:%M:%S}"
    tried = f"{notification.attempts} attempts, {notification.error}" if notification.attempts else "not tried yet"
    return f"not by {channel}: {'given up after ' if notification.given_up_at else ''}{tried}"
