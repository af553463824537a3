"""The panel's page in the admin: constance's page with our form, real permissions, and the revisions as its history."""

from typing import Any

from constance.admin import Config, ConstanceAdmin
from constance.utils import get_values
from django.contrib import admin, messages
from django.contrib.admin.views.main import PAGE_VAR
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from orchestrator.models import PolicyRevision
from orchestrator.panel.forms import PanelForm
from orchestrator.revisions import ChangedMeanwhile, current_revision

REVISIONS_PER_PAGE = 50
TITLE = "Execution policy"


class PanelAdmin(ConstanceAdmin):  # type: ignore[misc]  # constance has no types
    """``constance.view_config`` may look, ``constance.change_config`` may save."""

    change_list_template = "panel/change_list.html"
    change_list_form = PanelForm

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the settings, or save them and show them again."""
        if request.method == "POST":
            if not self.has_change_permission(request):
                raise PermissionDenied
            form = PanelForm(data=request.POST, initial=get_values(), request=request)
            if form.is_valid():
                try:
                    form.save()
                except ChangedMeanwhile as refusal:
                    messages.error(request, str(refusal))
                return HttpResponseRedirect(".")
        context = {
            "revision": current_revision(),
            "may_change": self.has_change_permission(request),
            **(extra_context or {}),
        }
        page: TemplateResponse = super().changelist_view(request, context)
        if page.context_data is not None:
            page.context_data |= {"title": TITLE, "content_title": TITLE, "opts": None}
        return page

    def history_view(
        self, request: HttpRequest, object_id: str | None = None, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show every revision, the newest first."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        revisions = PolicyRevision.objects.order_by("-number")
        page = self.get_paginator(request, revisions, REVISIONS_PER_PAGE).get_page(request.GET.get(PAGE_VAR, 1))
        context = {
            **self.admin_site.each_context(request),
            "title": "Revisions of the execution policy",
            "content_title": "Revisions of the execution policy",
            "page": page,
            "page_range": page.paginator.get_elided_page_range(page.number),
            "page_var": PAGE_VAR,
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "panel/history.html", context)


admin.site.unregister([Config])
admin.site.register([Config], PanelAdmin)
