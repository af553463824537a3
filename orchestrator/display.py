"""How one value of a row is shown in the admin: money without trailing zeros, times in UTC, words as coloured labels."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

NOTHING = mark_safe('<span class="o-none">-</span>')  # a constant, no input in it
LONGEST_LINE = 120
COUNTED = {"quantity", "multiplier"}  # numbers, not money
A_HASH = re.compile(r"[0-9a-f]{64}")

# The colour of a word, as unfold names colours; a word that is not here is grey.
TONES: dict[str, str] = {
    "A": "info",
    "B": "primary",
    "LIVE": "danger",
    "PAPER": "info",
    "HALTED": "danger",
    "ENGINE_A_PRIMARY": "info",
    "ENGINE_B_PRIMARY": "primary",
    "SPLIT_CAPITAL": "success",
    "STALE_SIGNAL": "warning",
    "ENGINE_A_UNAVAILABLE": "warning",
    "ENGINE_B_UNAVAILABLE": "warning",
    "LIVE_NEEDS_EXPLICIT_MODE": "warning",
    "PENDING": "warning",
    "SENT": "info",
    "ACCEPTED": "info",
    "ANSWERED": "success",
    "FAILED": "danger",
    "GRANTED": "info",
    "ARMED": "warning",
    "EXECUTED": "success",
    "UNKNOWN": "danger",
    "OPEN": "info",
    "CLOSED": "success",
    "APPLIED": "success",
    "WAITING": "warning",
    "CONFLICT": "danger",
    "UNMATCHED": "danger",
    "CRITICAL": "danger",
    "HIGH": "warning",
    "MEDIUM": "info",
    "DONE": "success",
    "BLOCKED": "danger",
    "SAME_TEXT": "success",
    "SAME_TERMS": "success",
    "SAME_TRADE": "info",
    "SAME_ACTION": "warning",
    "OTHER_ACTION": "danger",
    "A_BETTER": "info",
    "B_BETTER": "primary",
    "TOO_EARLY": "warning",
    "FITS": "success",
    "ALARM": "danger",
    "BROKEN": "danger",
    "calibrated": "success",
    "not calibrated": "danger",
    "long": "success",
    "short": "danger",
    "proved": "success",
    "refuted": "danger",
    "not judged": "warning",
    "settled": "success",
    "unsettled": "danger",
    "yes": "success",
    "no": "danger",
    "real": "success",
    "running": "success",
    "silent": "danger",
    "available": "success",
    "unavailable": "danger",
}


def follow(row: Any, path: str) -> Any:
    """Return what ``path`` (``policy__execution_mode``) leads to, None where a step leads nowhere."""
    for step in path.split("__"):
        try:
            row = getattr(row, step)
        except ObjectDoesNotExist:
            return None
        if row is None:
            return None
    return row


def amount(value: Decimal | None) -> str:
    """Return a number without trailing zeros: ``2`` for ``2.00000000``."""
    return NOTHING if value is None else format(value.normalize(), "f")


def money(value: Decimal | None) -> str:
    """Return an amount of money with the decimals it has, at least two: ``4.35``, ``0.0125``, ``1,250.00``."""
    if value is None:
        return NOTHING
    whole, _, decimals = f"{value.normalize():,f}".partition(".")
    return f"{whole}.{decimals:0<2}"


def gain(value: Decimal | None) -> SafeString:
    """Return a profit or loss with its sign and colour."""
    if value is None:
        return NOTHING
    tone = "o-gain" if value > 0 else "o-loss" if value < 0 else "o-none"
    return format_html('<span class="o-number {}">{}{}</span>', tone, "+" if value > 0 else "", money(value))


def moment(value: datetime | None) -> SafeString:
    """Return a time in UTC, to the second; the tooltip has the microseconds."""
    return _time(value, "seconds")


def instant(value: datetime | None) -> SafeString:
    """Return a time in UTC, to the millisecond: for what happens within a second."""
    return _time(value, "milliseconds")


def age(value: datetime | None, *, at: datetime) -> str:
    """Return how long before ``at`` something was, in the largest sensible unit."""
    if value is None:
        return "never"
    seconds = max((at - value).total_seconds(), 0)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def label(word: str | None, *, text: str | None = None) -> SafeString:
    """Return a word as a coloured label."""
    if not word:
        return NOTHING
    return SafeString(
        render_to_string("unfold/helpers/label.html", {"text": text or word, "type": TONES.get(word)}).strip()
    )


def code(value: object) -> SafeString:
    """Return an id or a hash in letters of equal width."""
    return NOTHING if value in {None, ""} else format_html('<code class="o-code">{}</code>', value)


def pretty(value: object) -> SafeString:
    """Return JSON, indented."""
    if value in (None, {}, []):
        return NOTHING
    return verbatim(json.dumps(value, indent=2, ensure_ascii=False))


def verbatim(text: str) -> SafeString:
    """Return a text exactly as it was received; markup in it is shown, never obeyed."""
    return format_html('<pre class="o-json">{}</pre>', text) if text else NOTHING


def address(row: models.Model) -> str:
    """Return the admin page of a row, empty when it has none."""
    try:
        options = row._meta  # noqa: SLF001 - Django documents it
        return reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[row.pk])
    except NoReverseMatch:
        return ""


def link(row: models.Model | None, text: object = None) -> SafeString:
    """Return a link to the admin page of a row."""
    if row is None:
        return NOTHING
    href = address(row)
    shown = str(row) if text is None else text
    return format_html('<a class="o-link" href="{}">{}</a>', href, shown) if href else format_html("{}", shown)


def show(row: models.Model, field: "models.Field[Any, Any]") -> str:
    """Return a column of a row as the kind of column asks for."""
    value = follow(row, field.name)
    if value is None:
        return NOTHING
    if field.is_relation:
        return link(value)
    if field.name in COUNTED:
        return amount(value)
    for kind, shown in _SHOWN:
        if isinstance(field, kind):
            return shown(value)
    return label(str(value)) if field.flatchoices else _show_text(value)


def _time(value: datetime | None, precision: str) -> SafeString:
    if value is None:
        return NOTHING
    at = value.astimezone(UTC)
    shown = at.replace(tzinfo=None).isoformat(sep=" ", timespec=precision)
    return format_html('<time class="o-time" datetime="{0}" title="{0}">{1}</time>', at.isoformat(), shown)


def _show_text(value: object) -> str:
    text = str(value)
    if isinstance(value, UUID) or A_HASH.fullmatch(text):
        return code(text)
    if len(text) > LONGEST_LINE or "\n" in text:
        return verbatim(text)
    return format_html("{}", text) if text else NOTHING


_SHOWN: tuple[tuple[type[Any], Callable[[Any], str]], ...] = (
    (models.BooleanField, lambda value: label("yes" if value else "no")),
    (models.DecimalField, money),
    (models.DateTimeField, moment),
    (models.JSONField, pretty),
)
