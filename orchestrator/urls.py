"""What engines and data services post."""

from django.contrib import admin
from django.urls import path, re_path

from orchestrator.admin.trying import try_alert
from orchestrator.event_views import EngineEventView
from orchestrator.quote_views import QuotesView

urlpatterns = [
    path("admin/try-alert/", admin.site.admin_view(try_alert), name="try-alert"),
    re_path(r"^api/v1/engines/(?P<engine>[AB])/events/$", EngineEventView.as_view(), name="engine-events"),
    path("api/v1/quotes/", QuotesView.as_view(), name="quotes"),
]
