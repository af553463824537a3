"""The page on which rejected alerts are read again: what each would be today, then the confirmation."""

from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from webhooks.models import AlertSource, RejectedAlert
from webhooks.services import Alert, read_again, read_by_todays_rules

MOST_AT_ONCE = 500


def read_again_page(
    request: HttpRequest, chosen: QuerySet[RejectedAlert], *, site: Any, action: str
) -> HttpResponse | None:
    """Show what would become of the chosen alerts, or with a confirmed POST let it; None once that is done.

    :param action: the name of the list's action, which a confirmation has to repeat; empty from an alert's own page.
    """
    alerts = list(chosen.filter(replayed_signal=None).order_by("received_at", "id")[: MOST_AT_ONCE + 1])
    sources = {source.name: source for source in AlertSource.objects.all()}
    if request.method == "POST" and "confirmed" in request.POST:
        _read(request, alerts[:MOST_AT_ONCE], sources)
        return None
    read = [(alert, *_today(alert, sources)) for alert in alerts[:MOST_AT_ONCE]]
    context = {
        **site.each_context(request),
        "title": "Read again with today's rules",
        "read": read,
        "readable": sum(is_signal for _, is_signal, _ in read),
        "has_more": len(alerts) > MOST_AT_ONCE,
        "most": MOST_AT_ONCE,
        "action": action,
        "chosen": [str(alert.pk) for alert, *_ in read],
    }
    return TemplateResponse(request, "webhooks/read_again.html", context)


def _today(alert: RejectedAlert, sources: dict[str, AlertSource]) -> tuple[bool, str]:
    """Tell whether an alert would be a signal today, and which, or why not."""
    source = sources.get(alert.source)
    if source is None:
        return False, f"There is no source {alert.source} any more."
    found = read_by_todays_rules(alert, source=source)
    if isinstance(found, Alert):
        time = f"{found.timestamp:%Y-%m-%d %H:%M:%S}" if found.timestamp else "the time of its receipt"
        return True, f"{found.symbol} {found.direction} {found.timeframe}, {time}"
    return False, " ".join(problem.message for problem in found)


def _read(request: HttpRequest, alerts: list[RejectedAlert], sources: dict[str, AlertSource]) -> None:
    made = again = 0
    for alert in alerts:
        source = sources.get(alert.source)
        if source is None or isinstance(stored := read_again(alert, source=source), tuple):
            continue
        made, again = made + (not stored.duplicate), again + stored.duplicate
    messages.success(
        request,
        f"{made} signals were made, {again} were there already, {len(alerts) - made - again} cannot be read as before. "
        "A signal keeps the time at which its alert was received; an old one is followed, not traded.",
    )
