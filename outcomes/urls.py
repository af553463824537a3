"""The addresses for reading: the API, its description, and what monitoring asks for."""

from django.contrib import admin
from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from outcomes import api, health
from outcomes.comparison_page import comparison_page

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("api/v1/signals/", api.SignalList.as_view(), name="signals"),
    path("api/v1/signals/<uuid:id>/", api.SignalDetail.as_view(), name="signal"),
    path("api/v1/experiments/", api.ExperimentList.as_view(), name="experiments"),
    path("api/v1/experiments/<uuid:id>/", api.ExperimentDetail.as_view(), name="experiment"),
    path("api/v1/experiments/<uuid:id>/trace/", api.Trace.as_view(), name="trace"),
    path("api/v1/experiments/<uuid:id>/certificate/", api.Certificate.as_view(), name="certificate"),
    path("api/v1/trades/", api.TradeList.as_view(), name="trades"),
    path("api/v1/trades/<uuid:id>/", api.TradeDetail.as_view(), name="trade"),
    path("api/v1/outcomes/", api.OutcomeList.as_view(), name="outcomes"),
    path("api/v1/outcomes/<uuid:id>/", api.OutcomeDetail.as_view(), name="outcome"),
    path("api/v1/incidents/", api.IncidentList.as_view(), name="incidents"),
    path("api/v1/incidents/<uuid:id>/", api.IncidentDetail.as_view(), name="incident"),
    path("api/v1/policy-revisions/", api.PolicyRevisionList.as_view(), name="policy-revisions"),
    path("api/v1/policy-revisions/<uuid:id>/", api.PolicyRevisionDetail.as_view(), name="policy-revision"),
    # before the admin's own addresses in config.urls, which answer everything below /admin/
    path("admin/comparison/", admin.site.admin_view(comparison_page), name="comparison"),
    path("api/v1/reports/performance/", api.PerformanceReport.as_view(), name="performance-report"),
    path("api/v1/reports/comparison/", api.ComparisonReport.as_view(), name="comparison-report"),
    path("api/v1/reports/policy/", api.PolicyReport.as_view(), name="policy-report"),
]
