"""The admin's rule for every table: looked at, searched and followed, never edited."""

from typing import Any

from django.contrib.admin import ShowFacets
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin

from config.paging import CappedPaginator, InspectionList
from orchestrator.admin.search import narrow
from orchestrator.display import show

Sections = list[tuple[str, list[tuple[str, str]]]]


class InspectionAdmin(ModelAdmin):  # type: ignore[misc]
    """Lists and pages of one table without any way to change it.

    ``fieldsets`` are the sections of a row's page; a name in them is a column or a method of the admin that returns what
    to show. ``list_select_related`` serves lists and pages alike.
    """

    actions = None
    ordering: tuple[str, ...] = ("-pk",)  # keys sort by the time they were made: newest first
    list_per_page = 50
    list_max_show_all = 0
    list_filter_sheet = True
    list_fullwidth = True
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    paginator = CappedPaginator
    change_form_template = "admin/inspection.html"
    list_select_related: tuple[str, ...] = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[InspectionList]:
        return InspectionList

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.select_related(*self.list_select_related) if self.list_select_related else rows

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[Any]", search_term: str
    ) -> "tuple[QuerySet[Any], bool]":
        return narrow(queryset, search_term, fields=tuple(self.get_search_fields(request))), False

    def get_readonly_fields(self, request: HttpRequest, obj: models.Model | None = None) -> list[str]:
        return [field.name for field in self.opts.concrete_fields]

    def get_fieldsets(self, request: HttpRequest, obj: models.Model | None = None) -> Any:
        return self.fieldsets or [("", {"fields": [field.name for field in self.opts.concrete_fields]})]

    def sections(self, request: HttpRequest, row: models.Model) -> Sections:
        """Return what a row's page shows: titled lists of name and value."""
        return [
            (title or "", [self._fact(row, name) for name in options["fields"]])
            for title, options in self.get_fieldsets(request, row)
        ]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show one row; the form that Django would build around it is never needed."""
        row = None if object_id is None else self.get_object(request, object_id)
        if request.method not in {"GET", "HEAD"} or row is None or not self.has_view_permission(request, row):
            return super().changeform_view(request, object_id, form_url, extra_context)
        context = {
            **self.admin_site.each_context(request),
            "title": str(row),
            "opts": self.opts,
            "original": row,
            "is_popup": False,
            "media": self.media,
            **self.page(request, row),
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, self.change_form_template, context)

    def page(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return what the template of a row's page needs."""
        return {"sections": self.sections(request, row)}

    def _fact(self, row: models.Model, name: str) -> tuple[str, str]:
        if callable(method := getattr(self, name, None)):
            return getattr(method, "short_description", name.replace("_", " ")), method(row)
        field = self.opts.get_field(name)
        return str(getattr(field, "verbose_name", name)), show(row, field)
