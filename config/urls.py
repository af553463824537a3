"""The addresses of the whole service; each app names its own."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("", include("webhooks.urls")),
    path("", include("orchestrator.urls")),
    path("", include("outcomes.urls")),
    path("admin/", admin.site.urls),  # last: it answers for everything below its address
]
