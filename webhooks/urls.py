"""The one address to which alerts are sent."""

from django.urls import re_path

from webhooks.views import TradingViewWebhook

app_name = "webhooks"

urlpatterns = [
    # With or without the last slash: a redirected POST would be an alert lost.
    re_path(r"^webhooks/tradingview/(?P<token>[^/]+)/?$", TradingViewWebhook.as_view(), name="tradingview"),
]
