"""PURE: reading an alert. Nothing in this package knows Django, a clock or a database."""

from webhooks.alerts.bodies import read_payload
from webhooks.alerts.market import MarketFields, read_market_fields
from webhooks.alerts.problems import Problem, UnreadableAlert
from webhooks.alerts.reading import Alert, ExitAlert, SourceRules, read_alert
from webhooks.alerts.redaction import redact

__all__ = [
    "Alert",
    "ExitAlert",
    "MarketFields",
    "Problem",
    "SourceRules",
    "UnreadableAlert",
    "read_alert",
    "read_market_fields",
    "read_payload",
    "redact",
]
