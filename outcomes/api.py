"""The API for reading: lists and single rows, the trace of an experiment, the reports. Nothing can be changed here."""

from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from django.db import models
from django.http import Http404, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orchestrator.domain.vocabulary import ExecutionMode
from orchestrator.models import Experiment, Incident, PolicyRevision, RealTrade, ShadowTrade
from outcomes import reports
from outcomes.api_filters import (
    ExperimentFilters,
    IncidentFilters,
    OutcomeFilters,
    PolicyRevisionFilters,
    RowFilters,
    SignalFilters,
    TradeFilters,
    refuse_senseless,
)
from outcomes.certificate import certificate
from outcomes.domain.policy_rules import ACCEPTED as POLICY_ACCEPTED
from outcomes.filters import ACCEPTED, read_filters
from outcomes.models import RealTradeOutcome, ShadowTradeOutcome
from outcomes.paging import NewestFirst, SideBySide
from outcomes.policy_reading import read_policies
from outcomes.policy_report import policy_report
from outcomes.report_serializers import ComparisonReportSerializer, PerformanceReportSerializer
from outcomes.serializers import (
    ExperimentSerializer,
    IncidentSerializer,
    OutcomeSerializer,
    PolicyRevisionSerializer,
    SignalSerializer,
    TradeSerializer,
)
from outcomes.summaries import KIND_OF_PURPOSE, REAL
from outcomes.trace import trace
from webhooks.canonical import canonical
from webhooks.models import Signal

PURPOSE_OF_KIND = {kind: purpose for purpose, kind in KIND_OF_PURPOSE.items()}
REPORT_PARAMETERS = [
    OpenApiParameter(name, OpenApiTypes.STR, enum=list(ExecutionMode) if name == "mode" else None, description=accepted)
    for name, accepted in ACCEPTED.items()
]


class Rows(generics.ListAPIView[Any]):
    """A list of one table. ``key`` is the primary key, which also orders it."""

    key: ClassVar[str]
    filterset_class: ClassVar[type[RowFilters]]
    pagination_class = NewestFirst

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        refuse_senseless(request.query_params, self.filterset_class)
        return super().list(request, *args, **kwargs)


class Row(generics.RetrieveAPIView[Any]):
    """One row of a table."""

    lookup_url_kwarg = "id"
    lookup_field = "pk"

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        refuse_senseless(request.query_params, None)
        return super().retrieve(request, *args, **kwargs)


class SignalList(Rows):
    key = "signal_id"
    queryset = Signal.objects.all()
    serializer_class = SignalSerializer
    filterset_class = SignalFilters


class SignalDetail(Row):
    queryset = SignalList.queryset
    serializer_class = SignalSerializer


class ExperimentList(Rows):
    key = "experiment_id"
    queryset = Experiment.objects.select_related("signal", "policy")
    serializer_class = ExperimentSerializer
    filterset_class = ExperimentFilters


class ExperimentDetail(Row):
    queryset = ExperimentList.queryset
    serializer_class = ExperimentSerializer


class IncidentList(Rows):
    key = "id"
    queryset = Incident.objects.all()
    serializer_class = IncidentSerializer
    filterset_class = IncidentFilters


class IncidentDetail(Row):
    queryset = IncidentList.queryset
    serializer_class = IncidentSerializer


class PolicyRevisionList(Rows):
    key = "id"
    queryset = PolicyRevision.objects.all()
    serializer_class = PolicyRevisionSerializer
    filterset_class = PolicyRevisionFilters


class PolicyRevisionDetail(Row):
    queryset = PolicyRevisionList.queryset
    serializer_class = PolicyRevisionSerializer


@dataclass(frozen=True, slots=True)
class BothTables:
    """Where real and simulated rows of one sort stand, and the column that tells shadow from twin."""

    real: "models.QuerySet[Any]"
    shadow: "models.QuerySet[Any]"
    purpose: str

    def of_kind(self, kind: str | None) -> "list[models.QuerySet[Any]]":
        """Return the rows of real, shadow or twin; without a kind those of both tables."""
        if kind is None:
            return [self.real.all(), self.shadow.all()]
        if kind == REAL:
            return [self.real.all()]
        return [self.shadow.filter(**{self.purpose: PURPOSE_OF_KIND[kind]})]


class RowsOfBothTables(Rows):
    """The list of both tables in one order; ``kind`` narrows it to one."""

    tables: ClassVar[BothTables]

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        refuse_senseless(request.query_params, self.filterset_class)
        # the backend refuses senseless values; only then is ``kind`` one of the known ones
        self.filter_queryset(self.get_queryset())
        querysets = [
            self.filterset_class(request.query_params, queryset=rows, request=request).qs
            for rows in self.tables.of_kind(request.query_params.get("kind"))
        ]
        page = self.paginate_queryset(SideBySide(querysets))  # type: ignore[arg-type] # as much of one as a page needs
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class RowOfBothTables(Row):
    tables: ClassVar[BothTables]

    def get_object(self) -> Any:
        for rows in self.tables.of_kind(None):
            found = rows.filter(pk=self.kwargs["id"]).first()
            if found is not None:
                return found
        raise Http404


TRADES = BothTables(
    real=RealTrade.objects.select_related("experiment__signal"),
    shadow=ShadowTrade.objects.select_related("experiment__signal"),
    purpose="purpose",
)
OUTCOMES = BothTables(
    real=RealTradeOutcome.objects.select_related("trade", "experiment__signal"),
    shadow=ShadowTradeOutcome.objects.select_related("trade", "experiment__signal"),
    purpose="trade__purpose",
)


class TradeList(RowsOfBothTables):
    key = "trade_id"
    tables = TRADES
    queryset = TRADES.real
    serializer_class = TradeSerializer
    filterset_class = TradeFilters


class TradeDetail(RowOfBothTables):
    tables = TRADES
    queryset = TRADES.real
    serializer_class = TradeSerializer


class OutcomeList(RowsOfBothTables):
    key = "outcome_id"
    tables = OUTCOMES
    queryset = OUTCOMES.real
    serializer_class = OutcomeSerializer
    filterset_class = OutcomeFilters


class OutcomeDetail(RowOfBothTables):
    tables = OUTCOMES
    queryset = OUTCOMES.real
    serializer_class = OutcomeSerializer


class Trace(APIView):
    """Which engine recommended this trade, and why did it execute?"""

    @extend_schema(responses=OpenApiTypes.OBJECT, operation_id="experiments_trace")
    def get(self, request: Request, id: UUID) -> Response:  # noqa: A002 - the name in the address
        refuse_senseless(request.query_params, None)
        experiment = Experiment.objects.filter(pk=id).first()
        if experiment is None:
            raise Http404
        return Response(trace(experiment))


class Certificate(APIView):
    """The evidence that both engines were treated alike in one experiment, as a file to keep."""

    @extend_schema(responses=OpenApiTypes.OBJECT, operation_id="experiments_certificate")
    def get(self, request: Request, id: UUID) -> HttpResponse:  # noqa: A002 - the name in the address
        refuse_senseless(request.query_params, None)
        experiment = Experiment.objects.filter(pk=id).first()
        if experiment is None:
            raise Http404
        # canonical, not as the renderer writes it: whoever removes certificate_hash from the text can recompute it
        return HttpResponse(
            canonical(certificate(experiment)),
            content_type="application/json",
            headers={"Content-Disposition": f'attachment; filename="certificate-{id}.json"'},
        )


class PerformanceReport(APIView):
    """Performance per engine and kind: real, shadow and twin are never added together."""

    @extend_schema(responses=PerformanceReportSerializer, parameters=REPORT_PARAMETERS)
    def get(self, request: Request) -> Response:
        return Response(reports.performance(read_filters(dict(request.query_params.lists()))))


class ComparisonReport(APIView):
    """Is one engine better? Paired, day-clustered, and valid however often one looks."""

    @extend_schema(responses=ComparisonReportSerializer, parameters=REPORT_PARAMETERS)
    def get(self, request: Request) -> Response:
        return Response(reports.comparison(read_filters(dict(request.query_params.lists()))))


class PolicyReport(APIView):
    """What would we have earned under another policy? ``policy`` may be given several times; the filters are the reports'."""

    @extend_schema(
        responses=OpenApiTypes.OBJECT,
        parameters=[
            OpenApiParameter("policy", OpenApiTypes.STR, many=True, required=True, description=POLICY_ACCEPTED),
            *REPORT_PARAMETERS,
        ],
    )
    def get(self, request: Request) -> Response:
        params = dict(request.query_params.lists())
        policies = read_policies(params.pop("policy", []))
        return Response(policy_report(policies, read_filters(params)))
