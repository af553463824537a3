"""What stands on every page of the admin: the mode of the house, and the way to every table."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from orchestrator.domain.vocabulary import AppMode
from orchestrator.revisions import current_revision

# Per group: title, then (title, icon, page, permission); the pages of later stages are named, never imported;
# a slash before a name says that it is not one of the admin's own.
GROUPS = (
    (
        "",
        (
            ("Overview", "monitoring", "index", None),
            ("Control panel", "tune", "constance_config_changelist", "constance.view_config"),
            ("Incidents", "warning", "orchestrator_incident_changelist", "orchestrator.view_incident"),
        ),
    ),
    (
        "Comparison",
        (
            ("Comparison", "compare_arrows", "/comparison", "outcomes.view_dailyresult"),
            ("Experiments", "science", "orchestrator_experiment_changelist", "orchestrator.view_experiment"),
            (
                "Real outcomes",
                "payments",
                "outcomes_realtradeoutcome_changelist",
                "outcomes.view_realtradeoutcome",
            ),
            (
                "Shadow outcomes",
                "contrast",
                "outcomes_shadowtradeoutcome_changelist",
                "outcomes.view_shadowtradeoutcome",
            ),
            ("Daily results", "calendar_month", "outcomes_dailyresult_changelist", "outcomes.view_dailyresult"),
        ),
    ),
    (
        "Trades",
        (
            ("Real trades", "receipt_long", "orchestrator_realtrade_changelist", "orchestrator.view_realtrade"),
            ("Shadow trades", "tonality", "orchestrator_shadowtrade_changelist", "orchestrator.view_shadowtrade"),
            (
                "Permits",
                "verified_user",
                "orchestrator_executionpermit_changelist",
                "orchestrator.view_executionpermit",
            ),
            ("Exit syncs", "sync_alt", "outcomes_exitsync_changelist", "outcomes.view_exitsync"),
        ),
    ),
    (
        "Alerts",
        (
            ("Signals", "notifications", "webhooks_signal_changelist", "webhooks.view_signal"),
            ("Rejected alerts", "block", "webhooks_rejectedalert_changelist", "webhooks.view_rejectedalert"),
            ("Try an alert", "experiment", "/try-alert", "webhooks.view_alertsource"),
            ("Alert sources", "key", "webhooks_alertsource_changelist", "webhooks.view_alertsource"),
        ),
    ),
    (
        "Engines",
        (
            (
                "Recommendations",
                "lightbulb",
                "orchestrator_recommendation_changelist",
                "orchestrator.view_recommendation",
            ),
            ("Engine calls", "call_made", "orchestrator_enginecall_changelist", "orchestrator.view_enginecall"),
            ("Engine events", "inbox", "orchestrator_engineevent_changelist", "orchestrator.view_engineevent"),
            ("Engine health", "favorite", "orchestrator_enginehealth_changelist", "orchestrator.view_enginehealth"),
            ("Engine proofs", "verified", "orchestrator_engineproof_changelist", "orchestrator.view_engineproof"),
            (
                "Repeated questions",
                "repeat",
                "orchestrator_repeatedquestion_changelist",
                "orchestrator.view_repeatedquestion",
            ),
            ("Workers", "engineering", "orchestrator_workerheartbeat_changelist", "orchestrator.view_workerheartbeat"),
        ),
    ),
    (
        "Decisions and market",
        (
            (
                "Execution policies",
                "gavel",
                "orchestrator_executionpolicy_changelist",
                "orchestrator.view_executionpolicy",
            ),
            (
                "Policy revisions",
                "history",
                "orchestrator_policyrevision_changelist",
                "orchestrator.view_policyrevision",
            ),
            (
                "Market contexts",
                "photo_camera",
                "orchestrator_marketcontext_changelist",
                "orchestrator.view_marketcontext",
            ),
            ("Market quotes", "show_chart", "orchestrator_marketquote_changelist", "orchestrator.view_marketquote"),
        ),
    ),
    ("Access", (("Users", "person", "auth_user_changelist", "auth.view_user"),)),
)


def environment_badge(request: HttpRequest) -> list[str] | None:
    """Return APP_MODE, the execution mode asked for and whether trading is halted, with the colour for it."""
    if not (request.user.is_authenticated and request.user.is_staff):
        return None
    revision = current_revision()
    words = [settings.APP_MODE, revision.execution_mode]
    if revision.trading_halted:
        return [" · ".join([*words, "HALTED"]), "danger"]
    return [" · ".join(words), "danger" if settings.APP_MODE == AppMode.LIVE else "info"]


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the sidebar: the tables that this user may see, by what they are about."""
    groups = []
    for place, (title, pages) in enumerate(GROUPS):
        items = [
            {"title": name, "icon": icon, "link": link}
            for name, icon, page, permission in pages
            if (permission is None or request.user.has_perm(permission)) and (link := _address(page))
        ]
        if items:
            groups.append({"title": title, "separator": place > 0, "items": items})
    return groups


def _address(page: str) -> str:
    try:
        return reverse(page[1:] if page.startswith("/") else f"admin:{page}")
    except NoReverseMatch:  # a table that is not in the admin
        return ""
