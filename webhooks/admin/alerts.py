"""Signals, and what was turned away, in the admin: to look at, and to read again."""

import json
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from config.paging import CappedPaginator, InspectionList
from webhooks.admin.columns import act, column
from webhooks.admin.reading_again import read_again_page
from webhooks.models import AlertSource, RejectedAlert, Signal

TEXT_BLOCK = '<pre class="max-w-3xl overflow-x-auto text-xs whitespace-pre-wrap">{}</pre>'
LABELS = {"long": "success", "short": "danger", "waiting": "info", "processed": "success", "parked": "danger"}
LONGEST_REASON = 120


class SourceFilter(admin.SimpleListFilter):
    """Rows by the name of their source; the names come from the few sources, not from the many rows."""

    title = "source"
    parameter_name = "source"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return all sources."""
        return [(name, name) for name in AlertSource.objects.order_by("name").values_list("name", flat=True)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the chosen source."""
        return queryset.filter(source=self.value()) if self.value() else queryset


class StandingFilter(admin.SimpleListFilter):
    """Signals by where they stand on their way to an experiment."""

    title = "standing"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the standings."""
        return [("waiting", "waiting"), ("processed", "processed"), ("parked", "parked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the signals of the chosen standing."""
        signals = Signal.objects
        chosen = {"waiting": signals.unprocessed, "processed": signals.processed, "parked": signals.parked}
        value = self.value()
        return queryset & chosen[value]() if value in chosen else queryset


class Inspection(ModelAdmin):  # type: ignore[misc]
    """A table to look at: nothing can be added, changed or deleted."""

    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0
    paginator = CappedPaginator
    actions: tuple[str, ...] | None = None

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[InspectionList]:
        """Return a list that does not count the whole table."""
        return InspectionList

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds rows by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes rows by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes rows by hand."""
        return False


@admin.register(Signal)
class SignalAdmin(Inspection):
    list_display = ("received", "symbol", "direction_label", "timeframe", "time", "source", "standing", "attempts")
    list_filter = (StandingFilter, "direction", SourceFilter)
    search_fields = ("symbol", "signal_hash", "signal_id")
    search_help_text = "A symbol, the beginning of a hash, a signal's or an experiment's id"
    ordering = ("-signal_id",)
    list_fullwidth = True
    fieldsets = (
        (
            "The alert",
            {
                "fields": (
                    "signal_id", "source", "symbol", "exchange", "direction", "timeframe", "time", "timestamp_origin",
                    "received", "signal_hash", "marked", "payload",
                    "body_as_received",
                )
            },
        ),
        (
            "Its processing",
            {
                "fields": (
                    "standing", "processed_at", "experiment", "attempts", "next_attempt_at", "processing_lock",
                    "lock_expires_at", "parked_at", "last_error",
                )
            },
        ),
    )  # fmt: skip

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Signal], search_term: str
    ) -> tuple[QuerySet[Signal], bool]:
        """Return what an exact id, a symbol or the beginning of a hash finds: each of them by an index or in one pass."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            wanted = UUID(term)
        except ValueError:
            return queryset.filter(Q(symbol__iexact=term) | Q(signal_hash__startswith=term.lower())), False
        return queryset.filter(Q(pk=wanted) | Q(experiment_id=wanted)), False

    @column("received", ordering="received_at")
    def received(self, signal: Signal) -> str:
        """When it came, in UTC."""
        return f"{signal.received_at:%Y-%m-%d %H:%M:%S.%f}"[:-3]

    @column("timestamp", ordering="timestamp")
    def time(self, signal: Signal) -> str:
        """The time it carries, in UTC."""
        return f"{signal.timestamp:%Y-%m-%d %H:%M:%S}"

    @column("direction", ordering="direction", label=LABELS)
    def direction_label(self, signal: Signal) -> str:
        """Its direction as a coloured label."""
        return signal.direction

    @column("standing", label=LABELS)
    def standing(self, signal: Signal) -> str:
        """Where it stands on its way to an experiment."""
        return "processed" if signal.processed else "parked" if signal.parked_at else "waiting"

    @column("experiment")
    def experiment(self, signal: Signal) -> str:
        """The experiment that it became; its page belongs to a later stage and is only named here."""
        if signal.experiment_id is None:
            return ""
        address = reverse("admin:orchestrator_experiment_change", args=[signal.experiment_id])
        return format_html('<a class="o-link" href="{}">{}</a>', address, signal.experiment_id)

    @column("marked")
    def marked(self, signal: Signal) -> str:
        """What the alert contradicts itself in; its direction counts all the same."""
        return "; ".join(signal.notes) or "-"

    @column("body")
    def body_as_received(self, signal: Signal) -> SafeString:
        """The text of the alert without its secrets; the hash recomputes from it."""
        return format_html(TEXT_BLOCK, signal.raw_body)

    @column("payload")
    def payload(self, signal: Signal) -> SafeString:
        """The alert as JSON."""
        return format_html(TEXT_BLOCK, json.dumps(signal.raw_payload, indent=2, ensure_ascii=False))


@admin.register(RejectedAlert)
class RejectedAlertAdmin(Inspection):
    list_display = ("received", "source", "code_label", "reason")
    list_filter = ("code", SourceFilter)
    search_fields = ("body",)
    search_help_text = "A text in the body"
    ordering = ("-id",)
    list_fullwidth = True
    fields = (
        "id", "received", "source", "sent_from", "code", "reasons", "content_type", "body_as_received", "replayed_signal",
    )  # fmt: skip
    actions = ("read_again",)
    actions_detail = ("read_this_again",)

    def has_read_again_permission(self, request: HttpRequest, *_: Any) -> bool:
        """Tell who may make signals of rejected alerts."""
        return request.user.has_perm("webhooks.read_again")

    @act("Read again with today's rules", permissions=["read_again"])
    def read_again(self, request: HttpRequest, queryset: QuerySet[RejectedAlert]) -> HttpResponse | None:
        """Show what the chosen alerts would be read as today, and store them once that is confirmed."""
        return read_again_page(request, queryset, site=self.admin_site, action="read_again")

    @act("Read again", permissions=["read_again"], url_path="read-again")
    def read_this_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Do the same with one alert, from its page."""
        answer = read_again_page(request, RejectedAlert.objects.filter(pk=object_id), site=self.admin_site, action="")
        return answer or HttpResponseRedirect(reverse("admin:webhooks_rejectedalert_change", args=[object_id]))

    def get_queryset(self, request: HttpRequest) -> QuerySet[RejectedAlert]:
        """Return the rows with the signal that a later reading has made of them."""
        rows: QuerySet[RejectedAlert] = super().get_queryset(request)
        return rows.select_related("replayed_signal")

    @column("received", ordering="received_at")
    def received(self, alert: RejectedAlert) -> str:
        """When it came, in UTC."""
        return f"{alert.received_at:%Y-%m-%d %H:%M:%S.%f}"[:-3]

    @column("code", ordering="code", label={"exit_alert": "info"})
    def code_label(self, alert: RejectedAlert) -> str:
        """Why it is no signal, as a coloured label."""
        return alert.code

    @column("reason")
    def reason(self, alert: RejectedAlert) -> str:
        """Why it is no signal, in one line."""
        text = " ".join(str(error.get("message", "")) for error in alert.errors)
        return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"

    @column("reasons")
    def reasons(self, alert: RejectedAlert) -> SafeString:
        """Why it is no signal, field by field, and what would be accepted."""
        return format_html_join(
            "",
            '<p class="mb-2">{}<br>Accepted: {}<br>Example: <code>{}</code></p>',
            ((error.get("message", ""), error.get("accepted", ""), error.get("example", "")) for error in alert.errors),
        )

    @column("body")
    def body_as_received(self, alert: RejectedAlert) -> SafeString:
        """The body without its secrets."""
        return format_html(TEXT_BLOCK, alert.body)
