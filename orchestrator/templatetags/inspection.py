"""The admin's way of showing values, for templates."""

from datetime import datetime
from decimal import Decimal

from django import template
from django.utils import timezone

from orchestrator import display
from orchestrator.domain import incident_words
from orchestrator.models import Incident

register = template.Library()

register.filter("amount", display.amount)
register.filter("money", display.money)
register.filter("moment", display.moment)
register.filter("instant", display.instant)
register.filter("gain", display.gain)
register.filter("label", display.label)
register.filter("code", display.code)
register.filter("pretty", display.pretty)
register.filter("verbatim", display.verbatim)
register.filter("page_of", display.address)


@register.filter
def ago(value: datetime | None) -> str:
    """Return how long ago something was."""
    shown = display.age(value, at=timezone.now())
    return shown if value is None else f"{shown} ago"


@register.filter
def words(value: str) -> str:
    """Return a word of the vocabulary as people write it: ``Unknown execution``."""
    return value.replace("_", " ").capitalize()


@register.filter
def percent(value: Decimal | float | None) -> str:
    """Return a ratio as percent, undefined as a dash."""
    return display.NOTHING if value is None else f"{value * 100:.1f} %"


@register.filter
def what_happened(incident: Incident) -> str:
    """Return an incident in a sentence."""
    return incident_words.what_happened(incident.kind, incident.detail)
