"""What operators asked for, and what was decided from it, in the admin."""

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString

from orchestrator.admin.columns import experiment_link, text, when, word
from orchestrator.admin.inspection import InspectionAdmin
from orchestrator.display import NOTHING, label, link
from orchestrator.models import ExecutionPolicy, PolicyRevision


@admin.register(ExecutionPolicy)
class ExecutionPolicyAdmin(InspectionAdmin):
    list_display = (
        when("created_at"),
        experiment_link(),
        word("execution_mode", "mode"),
        word("executed_engine", "executes"),
        word("shadow_engine", "shadow"),
        word("reason_code"),
        text("reason", longest=110),
        "policy_version",
    )
    list_filter = ("execution_mode", "executed_engine", "reason_code", "created_at")
    list_select_related = ("experiment__signal",)
    search_fields = ("id", "experiment", "experiment__signal", "experiment__signal__symbol", "policy_version")
    search_help_text = "Id, symbol or policy version"
    fieldsets = (
        ("Decision", {"fields": ("execution_mode", "executed_engine", "shadow_engine", "reason_code", "reason")}),
        ("Belongs to", {"fields": ("experiment", "policy_version", "revision", "created_at", "id")}),
        ("Everything that the decision saw", {"fields": ("inputs",)}),
    )

    def revision(self, policy: ExecutionPolicy) -> SafeString:
        """Link to the settings under which it was decided (property 21)."""
        number = policy.policy_version.rpartition("-r")[2]
        return link(PolicyRevision.objects.filter(number=number).first()) if number.isdigit() else NOTHING


@admin.register(PolicyRevision)
class PolicyRevisionAdmin(InspectionAdmin):
    ordering = ("-number",)
    date_hierarchy = "created_at"  # one row a save: short for ever
    list_display = (
        "revision",
        when("created_at"),
        "changed_by",
        word("execution_mode", "asked for"),
        "split_percentage",
        "halted",
        "max_signal_age_seconds",
        word("app_mode"),
    )
    list_filter = ("execution_mode", "trading_halted", "app_mode", "created_at")
    search_fields = ("number", "id", "changed_by", "execution_mode")
    search_help_text = "Number, author or mode"
    fieldsets = (
        (
            "Settings",
            {
                "fields": (
                    "execution_mode",
                    "split_percentage",
                    "trading_halted",
                    "max_signal_age_seconds",
                    "app_mode",
                )
            },
        ),
        ("Saved", {"fields": ("number", "policy_version", "changed_by", "created_at", "id")}),
    )

    @admin.display(ordering="number")
    def revision(self, row: PolicyRevision) -> str:
        return f"r{row.number}"

    @admin.display(ordering="trading_halted")
    def halted(self, row: PolicyRevision) -> SafeString:
        return label("HALTED") if row.trading_halted else NOTHING

    def policy_version(self, row: PolicyRevision) -> SafeString:
        return format_html("{}", row.policy_version)
