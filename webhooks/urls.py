"""The one address to which alerts are sent."""

from django.urls import path

from webhooks.views import TradingViewWebhook

app_name = "webhooks"

receive = TradingViewWebhook.as_view()

urlpatterns = [
    path("webhooks/tradingview/<str:token>/", receive, name="tradingview"),
    # Without the last slash as well: a redirected POST would be an alert lost.
    path("webhooks/tradingview/<str:token>", receive),
]
