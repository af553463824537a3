"""The one address to which alerts are sent."""

from django.urls import path

from webhooks.views import TradingViewWebhook

app_name = "webhooks"
ADDRESS = "/webhooks/tradingview/"

receive = TradingViewWebhook.as_view()

urlpatterns = [
    path(f"{ADDRESS[1:]}<path:token>/", receive, name="tradingview"),
    # <path:…>, so that a slash in the token (..%2f) is an unknown token too, answered as such.
    # Without the last slash as well: a redirected POST would be an alert lost.
    path(f"{ADDRESS[1:]}<path:token>", receive),
]
