"""Execution permits in the admin: who was authorised, how far the order got, and who said so."""

from django.contrib import admin
from django.utils.safestring import SafeString

from orchestrator.admin.columns import experiment_link, text, when, word
from orchestrator.admin.inspection import InspectionAdmin
from orchestrator.display import follow, link
from orchestrator.models import ExecutionPermit

COURSE = ("granted_at", "armed_at", "may_send_until", "accepted_at", "resolved_at", "resolved_by", "detail")


@admin.register(ExecutionPermit)
class ExecutionPermitAdmin(InspectionAdmin):
    list_display = (
        when("granted_at"),
        experiment_link(),
        word("engine"),
        word("state"),
        when("armed_at"),
        when("resolved_at"),
        "resolved_by",
        "attempts",
        text("detail"),
    )
    list_filter = ("state", "engine", "granted_at")
    list_select_related = ("experiment__signal",)
    search_fields = ("permit_id", "experiment", "experiment__signal", "experiment__signal__symbol", "resolved_by")
    search_help_text = "Permit, experiment or signal id, or symbol"
    fieldsets = (
        ("Authorisation", {"fields": ("permit_id", "experiment", "engine", "state", "not_after", "real_trade")}),
        ("Course", {"fields": COURSE}),
        ("Queue", {"fields": ("attempts", "next_attempt_at", "lease", "lease_expires_at", "fence")}),
    )

    def real_trade(self, permit: ExecutionPermit) -> SafeString:
        return link(follow(permit, "trade"))
