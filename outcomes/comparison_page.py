"""The operator's page "Comparison": which engine is better, how sure that is, and what to know before it is believed."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.http import require_safe

from config.problems import Fault, Refused, shown
from outcomes.charts.difference import difference_chart
from outcomes.charts.pairs import histogram, scatter
from outcomes.charts.results import drawdown_charts, equity_charts
from outcomes.charts.shapes import counted
from outcomes.comparison_csv import FILES, csv_of, file_name
from outcomes.comparison_reading import Shown, choices, read_comparison
from outcomes.comparison_trust import trust
from outcomes.comparison_words import COLUMNS, bases, headline, method, performance_rows
from outcomes.filters import NAMES, read_filters

MAY_READ = "outcomes.view_dailyresult"
LABELS = {
    "from": "From",
    "to": "To",
    "symbol": "Symbol",
    "timeframe": "Timeframe",
    "mode": "Execution mode",
    "policy_version": "Policy version",
}
HINTS = {"from": "2026-03-02", "to": "2026-03-31", "symbol": "SPY", "timeframe": "15", "policy_version": "v1.0-r3"}


@dataclass(frozen=True, slots=True)
class Field:
    """One filter as it was asked for; ``choices`` is what can be chosen, empty for a text."""

    name: str
    label: str
    value: str
    hint: str
    choices: list[str]
    problem: str


@require_safe
def comparison_page(request: HttpRequest) -> HttpResponse:
    """Show the comparison of what the filters in the address choose, or one of its figures as CSV."""
    if not request.user.has_perm(MAY_READ):
        raise PermissionDenied
    # a form sends its empty fields too; they restrict nothing
    asked = {name: values for name, values in request.GET.lists() if any(value.strip() for value in values)}
    figure = asked.pop("csv", None)
    try:
        filters = read_filters(asked)
        name = None if figure is None else _figure(figure)
    except Refused as error:
        return _page(request, asked, faults=error.faults)
    found = read_comparison(filters)
    if name is not None:
        return HttpResponse(
            csv_of(found, name),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{file_name(found, name)}"'},
        )
    return _page(request, asked, found=found)


def _figure(asked: list[str]) -> str:
    if len(asked) != 1 or asked[0] not in FILES:
        raise Refused([Fault("csv", shown(" and ".join(asked)), f"no such figure; there are {', '.join(FILES)}")])
    return asked[0]


def _page(
    request: HttpRequest, asked: dict[str, list[str]], *, found: Shown | None = None, faults: tuple[Fault, ...] = ()
) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": "Comparison",
        "fields": _fields(asked, faults),
        "other_faults": [fault for fault in faults if fault.field not in NAMES],
        "is_filtered": bool(asked),
        "csv": {name: f"?{urlencode([*_pairs_of(asked), ('csv', name)])}" for name in FILES},
        **(_content(found) if found else {}),
    }
    request.current_app = admin.site.name
    return TemplateResponse(request, "admin/comparison/page.html", context, status=400 if faults else 200)


def _content(found: Shown) -> dict[str, Any]:
    report = found.comparison
    return {
        "report": report,
        "headline": headline(report),
        "bases": bases(report),
        "equity": equity_charts(found.curves),
        "drawdowns": drawdown_charts(found.curves),
        "difference": difference_chart(found.moments, unit="R", cluster=found.series.cluster),
        "histogram": histogram(found.results_in_r),
        "scatter": scatter(found.results_in_r),
        "newest": counted(len(found.newest), "complete pair"),
        "headings": [heading for heading, _ in COLUMNS.values()],
        "performance": performance_rows(found.performance),
        "trust": trust(found),
        "method": method(found.performance, report),
    }


def _fields(asked: dict[str, list[str]], faults: tuple[Fault, ...]) -> list[Field]:
    known = choices()
    problems = {fault.field: f"{fault.found} cannot be used. Accepted is {fault.accepted}." for fault in faults}
    fields = []
    for name in NAMES:
        value = " ".join(asked.get(name, []))
        # what was asked for stays chosen, even when no trade has it
        offered = known.get(name, [])
        if value and offered and value not in offered:
            offered = [*offered, value]
        fields.append(Field(name, LABELS[name], value, HINTS.get(name, ""), offered, problems.get(name, "")))
    return fields


def _pairs_of(asked: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, values in asked.items() for value in values]
