"""What the lists of the API can be filtered by; a filter that is unknown, given twice or senseless is refused by name."""

from collections.abc import Iterable
from typing import Any

import django_filters
from django.db import models
from django.http import QueryDict

from config.problems import Fault, Refused, shown
from orchestrator.domain.vocabulary import (
    AppMode,
    Direction,
    Engine,
    ExecutionMode,
    IncidentKind,
    RequestedMode,
    Severity,
    TradeStatus,
)
from outcomes.serializers import KINDS

PAGING = frozenset({"cursor", "page_size"})


def words(of: Iterable[str]) -> list[tuple[str, str]]:
    """Return words as choices."""
    return [(str(word), str(word)) for word in of]


class YesOrNo(django_filters.ChoiceFilter):  # type: ignore[misc]
    """``true`` or ``false``; anything else is refused, never read as no."""

    def __init__(self, **options: Any) -> None:
        super().__init__(choices=words(("true", "false")), **options)

    def filter(self, rows: Any, value: str) -> Any:
        return super().filter(rows, value == "true") if value else rows


class RowFilters(django_filters.FilterSet):  # type: ignore[misc]
    """The filters of one list."""

    @classmethod
    def names(cls) -> list[str]:
        return list(cls.base_filters)


class SignalFilters(RowFilters):
    symbol = django_filters.CharFilter()
    direction = django_filters.ChoiceFilter(choices=words(Direction))
    timeframe = django_filters.CharFilter()
    source = django_filters.CharFilter()
    signal_hash = django_filters.CharFilter()
    processed = YesOrNo()
    received_from = django_filters.IsoDateTimeFilter(field_name="received_at", lookup_expr="gte")
    received_to = django_filters.IsoDateTimeFilter(field_name="received_at", lookup_expr="lte")


class ExperimentFilters(RowFilters):
    signal = django_filters.UUIDFilter(field_name="signal_id")
    symbol = django_filters.CharFilter(field_name="signal__symbol")
    timeframe = django_filters.CharFilter(field_name="signal__timeframe")
    variant = django_filters.ChoiceFilter(choices=words(Engine))
    mode = django_filters.ChoiceFilter(field_name="policy__execution_mode", choices=words(ExecutionMode))
    executed_engine = django_filters.ChoiceFilter(field_name="policy__executed_engine", choices=words(Engine))
    policy_version = django_filters.CharFilter()
    created_from = django_filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    created_to = django_filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lte")


class OfExperiment(RowFilters):
    """What trades and outcomes share. ``kind`` chooses the table, see the view."""

    kind = django_filters.ChoiceFilter(choices=words(KINDS), method="every_row")
    engine = django_filters.ChoiceFilter(choices=words(Engine))
    experiment = django_filters.UUIDFilter(field_name="experiment_id")
    symbol = django_filters.CharFilter(field_name="experiment__signal__symbol")

    def every_row(self, rows: "models.QuerySet[Any]", name: str, value: str) -> "models.QuerySet[Any]":
        return rows


class TradeFilters(OfExperiment):
    status = django_filters.ChoiceFilter(choices=words(TradeStatus))
    entry_from = django_filters.IsoDateTimeFilter(field_name="entry_time", lookup_expr="gte")
    entry_to = django_filters.IsoDateTimeFilter(field_name="entry_time", lookup_expr="lte")


class OutcomeFilters(OfExperiment):
    exit_from = django_filters.IsoDateTimeFilter(field_name="exit_time", lookup_expr="gte")
    exit_to = django_filters.IsoDateTimeFilter(field_name="exit_time", lookup_expr="lte")


class IncidentFilters(RowFilters):
    kind = django_filters.ChoiceFilter(choices=words(IncidentKind))
    severity = django_filters.ChoiceFilter(choices=words(Severity))
    experiment = django_filters.UUIDFilter(field_name="experiment_id")
    open = YesOrNo(field_name="resolved_at", lookup_expr="isnull")


class PolicyRevisionFilters(RowFilters):
    number = django_filters.NumberFilter()
    execution_mode = django_filters.ChoiceFilter(choices=words(RequestedMode))
    app_mode = django_filters.ChoiceFilter(choices=words(AppMode))
    changed_by = django_filters.CharFilter()


def refuse_senseless(params: QueryDict, filters: type[RowFilters] | None) -> None:
    """Refuse parameters that would otherwise be passed over in silence.

    :raises Refused: naming every parameter that is unknown, empty or given more than once.
    """
    names = filters.names() if filters else []
    known = PAGING.union(names) if filters else frozenset()
    faults = []
    for name, values in params.lists():
        if name not in known:
            accepted = f"one of {', '.join([*names, *sorted(PAGING)])}" if filters else "no parameter"
            faults.append(Fault(name, shown(", ".join(values)), accepted))
        elif len(values) > 1 or not values[0].strip():
            faults.append(Fault(name, shown(", ".join(values)), "one value"))
    if faults:
        raise Refused(faults)
