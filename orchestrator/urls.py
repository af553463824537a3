"""What engines and data services post."""

from django.urls import re_path

from orchestrator.event_views import EngineEventView

urlpatterns = [
    re_path(r"^api/v1/engines/(?P<engine>[AB])/events/$", EngineEventView.as_view(), name="engine-events"),
]
