"""Trying a message before it is used: what would be read from it, on which chart it breaks, and how to write it instead."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from webhooks.alerts.charts import Chart, charts_for, filled, placeholders_in
from webhooks.alerts.problems import Problem, UnreadableAlert
from webhooks.alerts.reading import Alert, SourceRules, read_alert
from webhooks.alerts.redaction import redact


class Outcome(StrEnum):
    """What becomes of one body."""

    SIGNAL = "signal"
    EXIT = "exit"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class FieldReading:
    """One field as it would be stored: its value, and the path it was read from, or None when the source supplies it."""

    name: str
    value: str
    path: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What one body is read as: the message filled in for one chart, or the body that was given.

    ``chart`` names it in a few words; ``body`` is the text that was read, without secrets; ``sentence`` says what becomes
    of it; ``problems`` stand only where it is refused, ``notes`` where it contradicts itself.
    """

    chart: str
    body: str
    outcome: Outcome
    sentence: str
    fields: tuple[FieldReading, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caution:
    """Something that works here and breaks elsewhere, or that says less than it could."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Lint:
    """What is to be said of a message template or a body.

    ``is_template`` when it has placeholders: then there is a reading for each chart, else one. ``is_accepted`` when no
    reading is refused. ``corrected`` is the message as it is better written, None when nothing is to be mended or we
    cannot say how.
    """

    is_template: bool
    readings: tuple[Reading, ...]
    warnings: tuple[Caution, ...]
    corrected: str | None
    is_accepted: bool


def lint(text: str, *, rules: SourceRules, received_at: datetime) -> Lint:
    """Say what would be read from a message template or a body that a source with these rules received at that time."""
    names = placeholders_in(text)
    readings = (
        tuple(_read_on(chart, text, rules, received_at) for chart in charts_for(names, received_at))
        if names
        else (_read("as it is", text, rules, received_at),)
    )
    return Lint(
        is_template=bool(names),
        readings=readings,
        warnings=(),
        corrected=None,
        is_accepted=all(reading.outcome is not Outcome.REFUSED for reading in readings),
    )


def _read_on(chart: Chart, text: str, rules: SourceRules, received_at: datetime) -> Reading:
    return _read(chart.name, filled(text, chart.values), rules, received_at)


def _read(name: str, text: str, rules: SourceRules, received_at: datetime) -> Reading:
    body = redact(text, [])
    try:
        read = read_alert(body, rules=rules, received_at=received_at)
    except UnreadableAlert as error:
        fields = ", ".join(dict.fromkeys(problem.field for problem in error.problems))
        return Reading(name, body, Outcome.REFUSED, f"Refused: {fields}.", problems=error.problems)
    if not isinstance(read, Alert):
        return Reading(name, body, Outcome.EXIT, read.as_problem().message)
    return Reading(name, body, Outcome.SIGNAL, _sentence(read), fields=tuple(_fields(read)), notes=read.notes)


def _sentence(alert: Alert) -> str:
    return f"A signal: {alert.symbol} {alert.direction}, {alert.timeframe}."


def _fields(alert: Alert) -> list[FieldReading]:
    said: Mapping[str, str | None] = {
        "symbol": alert.symbol,
        "exchange": alert.exchange,
        "direction": alert.direction,
        "timeframe": alert.timeframe,
        "timestamp": "the time of receipt" if alert.timestamp is None else f"{alert.timestamp.isoformat()}",
    }
    return [FieldReading(name, value, alert.paths.get(name)) for name, value in said.items() if value is not None]
