"""The page on which a message is tried before it is used in TradingView: what would be read, chart by chart, and a test alert."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods
from psycopg import Error as DriverError
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from orchestrator.domain.vocabulary import AppMode, RequestedMode
from orchestrator.revisions import current_revision
from webhooks.message_templates import STRATEGY_ALERT
from webhooks.models import AlertSource
from webhooks.services import KeptLater, Outcome, SpoolFull, StoredSignal
from webhooks.storing import SourceChanged
from webhooks.trying import lint_for, send_test_alert

MAY_LOOK = "webhooks.view_alertsource"
MAY_SEND = "webhooks.change_alertsource"


class MessageForm(forms.Form):
    """A source and a message, as it stands in TradingView's alert dialog or as it was sent."""

    source: "forms.ModelChoiceField[AlertSource]" = forms.ModelChoiceField(
        AlertSource.objects.filter(enabled=True).order_by("name"), widget=UnfoldAdminSelectWidget, empty_label=None
    )
    message = forms.CharField(
        max_length=settings.WEBHOOK_MAX_BODY_BYTES,
        strip=False,
        initial=STRATEGY_ALERT,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 12, "spellcheck": "false"}),
        help_text="The message of an alert, with its {{placeholders}}, or a body as it was sent.",
    )


@require_http_methods(["GET", "HEAD", "POST"])
def try_alert(request: HttpRequest) -> HttpResponse:
    """Show what would be read; with ``send`` and a confirmation, send one of the filled-in bodies as a test alert."""
    if not request.user.has_perm(MAY_LOOK):
        raise PermissionDenied
    form = MessageForm(request.POST if request.method == "POST" else None, initial=request.GET.dict())
    context: dict[str, Any] = {
        "form": form,
        "title": "Try an alert",
        "danger": _danger(),
        "may_send": request.user.has_perm(MAY_SEND),
    }
    if request.method == "POST" and form.is_valid():
        source, message = form.cleaned_data["source"], form.cleaned_data["message"]
        found = lint_for(source, message)
        if "send" in request.POST:
            return _send(request, source, request.POST["send"])
        context |= {"lint": found, "source": source}
    return TemplateResponse(request, "webhooks/try_alert.html", {**admin.site.each_context(request), **context})


def _send(request: HttpRequest, source: AlertSource, body: str) -> HttpResponse:
    """Send one body, unless real money could be moved by it."""
    here = reverse("try-alert")
    if not request.user.has_perm(MAY_SEND):
        raise PermissionDenied
    if _danger() == "refused":
        messages.error(request, "Nothing was sent: with real money, halt trading or choose SHADOW_ONLY first.")
        return HttpResponseRedirect(here)
    try:
        outcome = send_test_alert(source, body)
    except (DatabaseError, DriverError, SpoolFull, SourceChanged) as error:
        messages.error(request, f"Nothing was stored: {error or 'the source is disabled or was just changed'}.")
        return HttpResponseRedirect(here)
    return _told(request, outcome, here)


def _told(request: HttpRequest, outcome: Outcome, here: str) -> HttpResponse:
    if isinstance(outcome, StoredSignal):
        kind = "It is the signal of an earlier, equal alert." if outcome.duplicate else "It is a new signal."
        messages.success(request, f"The test alert was taken. {kind}")
        return HttpResponseRedirect(reverse("admin:webhooks_signal_change", args=[outcome.signal_id]))
    if isinstance(outcome, KeptLater):
        messages.warning(request, "The database is away; the test alert waits on disk and becomes a signal later.")
        return HttpResponseRedirect(here)
    messages.error(request, " ".join(problem.message for problem in outcome.problems))
    return HttpResponseRedirect(reverse("admin:webhooks_rejectedalert_changelist"))


def _danger() -> str:
    """Return what a test alert could lead to: ``real`` money never, it is ``refused`` then; on ``paper``; or ``nothing``."""
    revision = current_revision()
    nobody = revision.trading_halted or revision.execution_mode == RequestedMode.SHADOW_ONLY
    if nobody or (settings.APP_MODE == AppMode.LIVE and revision.execution_mode == RequestedMode.AUTO):
        return "nothing"
    return "refused" if settings.APP_MODE == AppMode.LIVE else "paper"
