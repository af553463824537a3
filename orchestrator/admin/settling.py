"""The pages on which an operator settles an incident: say it, see what it would do, confirm it."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_http_methods
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from orchestrator.display import address
from orchestrator.domain.incident_words import what_happened
from orchestrator.domain.settling import UnusableInput
from orchestrator.models import Incident
from orchestrator.settlement import (
    MAY_SETTLE,
    AlreadySettled,
    Choice,
    Field,
    NotPossible,
    check,
    check_possible,
    choice_named,
    settle,
)


class SettlementForm(forms.Form):
    """The fields of a choice as texts; what they mean is decided in one place, which is not here."""

    def __init__(self, choice: Choice, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for field in choice.asks_for:
            self.fields[field.name] = forms.CharField(
                label=field.label,
                help_text=field.hint,
                required=False,
                strip=True,
                widget=_widget(field),
            )

    def refuse(self, problems: dict[str, str]) -> None:
        """Put a sentence beside each field that cannot be used."""
        for name, sentence in problems.items():
            self.add_error(name, sentence)

    def said(self) -> dict[str, str]:
        """Return the fields as they were typed."""
        return {name: str(self.data.get(name, "")) for name in self.fields}

    def shown(self) -> list[tuple[str, str]]:
        """Return label and value of what was typed."""
        return [(str(self.fields[name].label), value) for name, value in self.said().items() if value.strip()]


@require_http_methods(["GET", "HEAD", "POST"])
def settle_incident(request: HttpRequest, incident: Incident, *, name: str, context: dict[str, Any]) -> HttpResponse:
    """Ask, show for confirmation, and settle; only a confirmed POST has an effect."""
    if not request.user.has_perm(MAY_SETTLE):
        raise PermissionDenied
    try:
        choice = choice_named(incident, name)
    except NotPossible as error:
        raise Http404(str(error)) from None
    form = SettlementForm(choice, request.POST if request.method == "POST" else None)
    is_confirming = False
    try:
        check_possible(incident, choice)
        if request.method == "POST" and form.is_valid():
            if "confirmed" in request.POST:
                recorded = settle(incident.pk, name, given=form.said(), by=request.user.get_username())
                messages.success(request, f"Settled: {choice.title}. {recorded}")
                return HttpResponseRedirect(address(incident))
            check(incident, choice, given=form.said())
            is_confirming = "change" not in request.POST
    except AlreadySettled as error:
        messages.error(request, f"Nothing was done, the incident is settled already. {error}")
        return HttpResponseRedirect(address(incident))
    except NotPossible as error:
        messages.error(request, f"Nothing was done. {error}")
        return HttpResponseRedirect(address(incident))
    except UnusableInput as error:
        form.refuse(error.problems)
    return TemplateResponse(
        request,
        "admin/orchestrator/incident/settle.html",
        {
            **context,
            "title": f"{choice.title}?",
            "incident": incident,
            "happened": what_happened(incident.kind, incident.detail),
            "choice": choice,
            "effects": choice.effects(incident),
            "form": form,
            "is_confirming": is_confirming,
        },
    )


def _widget(field: Field) -> forms.Widget:
    widget: forms.Widget = (
        UnfoldAdminTextareaWidget(attrs={"rows": 4, "maxlength": 1000})
        if field.is_long
        else UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "maxlength": 200})
    )
    return widget
