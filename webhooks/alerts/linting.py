"""Trying a message before it is used: what would be read from it, on which chart it breaks, and how to write it instead."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from webhooks.alerts.charts import Chart, charts_for, filled, is_known, is_plot, placeholders_in
from webhooks.alerts.nearly_json import PLACEHOLDER, NotNearlyJson, Numbers, Reader
from webhooks.alerts.problems import Problem, UnreadableAlert
from webhooks.alerts.reading import FIELDS, Alert, SourceRules, read_alert
from webhooks.alerts.redaction import redact
from webhooks.alerts.tokens import is_too_deep, tokens_of
from webhooks.alerts.values import JsonValue

AS_GIVEN = "as it is"
_NUMERIC = frozenset({
    "close", "open", "high", "low", "volume", "strategy.order.contracts", "strategy.order.price", "strategy.position_size",
    "strategy.market_position_size", "strategy.prev_market_position_size",
})  # fmt: skip
_FREE_TEXT = ("strategy.order.comment", "strategy.order.id", "strategy.order.alert_message")
_WRITTEN = {
    "symbol": ("ticker", "{{exchange}}:{{ticker}}"),
    "direction": ("action", "{{strategy.order.action}}"),
    "timeframe": ("interval", "{{interval}}"),
    "timestamp": ("time", "{{timenow}}"),
}
_POSITIONS = {
    "market_position": "{{strategy.market_position}}",
    "prev_market_position": "{{strategy.prev_market_position}}",
}


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
    charts = charts_for(names, received_at) if names else []
    readings = _readings(text, charts, rules, received_at)
    warnings = tuple(_warnings(text, names, charts, readings))
    is_accepted = all(reading.outcome is not Outcome.REFUSED for reading in readings)
    corrected = None
    if not is_accepted or any(warning.code in _MENDABLE for warning in warnings):
        corrected = _corrected(text, names, readings)
    if corrected is not None:
        mended = _readings(corrected, charts, rules, received_at)
        if corrected == text or any(reading.outcome is Outcome.REFUSED for reading in mended):
            corrected = None
    return Lint(
        is_template=bool(names), readings=readings, warnings=warnings, corrected=corrected, is_accepted=is_accepted
    )


def _readings(text: str, charts: Sequence[Chart], rules: SourceRules, received_at: datetime) -> tuple[Reading, ...]:
    if not charts:
        return (_read(AS_GIVEN, text, rules, received_at),)
    return tuple(_read(chart.name, filled(text, chart), rules, received_at) for chart in charts)


def _read(name: str, text: str, rules: SourceRules, received_at: datetime) -> Reading:
    body = redact(text, [])
    try:
        read = read_alert(body, rules=rules, received_at=received_at)
    except UnreadableAlert as error:
        fields = " and ".join(dict.fromkeys(problem.field for problem in error.problems))
        return Reading(name, body, Outcome.REFUSED, f"Refused, because of its {fields}.", problems=error.problems)
    if not isinstance(read, Alert):
        found = FieldReading("direction", "exit", read.path)
        return Reading(name, body, Outcome.EXIT, read.as_problem().message, fields=(found,))
    sentence = f"A signal: {read.symbol} {read.direction} on {read.timeframe}."
    return Reading(name, body, Outcome.SIGNAL, sentence, fields=tuple(_fields(read)), notes=read.notes)


def _fields(alert: Alert) -> Iterator[FieldReading]:
    said: Mapping[str, str | None] = {
        "symbol": alert.symbol,
        "exchange": alert.exchange,
        "direction": alert.direction.value,
        "timeframe": alert.timeframe,
        "timestamp": f"{alert.timestamp:%Y-%m-%d %H:%M:%S} UTC" if alert.timestamp else "the time of receipt",
    }
    for name, value in said.items():
        if value is not None:
            yield FieldReading(name, value, alert.paths.get(name))


# What a better message mends.
_MENDABLE = frozenset(
    {"unquoted_placeholder", "exit_read_as_entry", "no_time", "bar_time", "no_timeframe", "not_strict_json"}
)


def _warnings(
    text: str, names: Sequence[str], charts: Sequence[Chart], readings: Sequence[Reading]
) -> Iterator[Caution]:
    unquoted = [name for name in _unquoted(text) if name not in _NUMERIC]
    for name in unquoted:
        yield Caution("unquoted_placeholder", _why_to_quote(name))
    is_readable = any(reading.outcome is not Outcome.REFUSED for reading in readings)
    is_strict = all(_is_strict(reading.body) for reading in readings)
    if is_readable and not is_strict and not unquoted and not set(_FREE_TEXT).intersection(names):
        yield Caution(
            "not_strict_json", "This is not JSON. It is read all the same; JSON leaves nothing to be guessed."
        )
    yield from _about_exits(names, charts, readings)
    yield from _about_absent_fields(names, readings)
    if text.strip() == "{{strategy.order.alert_message}}":
        yield Caution("from_script", "The script writes the whole message. Try what it writes, not this placeholder.")
    for name in names:
        if not is_known(name):
            yield Caution("unknown_placeholder", f"TradingView does not fill in {{{{{name}}}}}: it stays as it is.")
        elif name in _FREE_TEXT:
            yield Caution(
                "free_text",
                f"{{{{{name}}}}} is whatever the script says: a quote, a line break or a word such as exit in it changes how the "
                "message is read.",
            )
    if redact(text, []) != text:
        yield Caution(
            "secret_in_message",
            "The message carries a secret. It is redacted before anything is stored, and better left out "
            "unless the source asks for it: the address is the secret.",
        )
    for note in dict.fromkeys(note for reading in readings for note in reading.notes):
        yield Caution("contradiction", f"The message contradicts itself: {note}.")


def _why_to_quote(name: str) -> str:
    if name == "interval":
        return "{{interval}} stands without quotes: 15 on a chart of minutes is JSON, 1D on one of days is not."
    if is_plot(name):
        return (
            f"{{{{{name}}}}} stands without quotes: where the plot is empty it gives NaN or nothing, which is not JSON."
        )
    return f"{{{{{name}}}}} stands without quotes: it gives text, which is not JSON without them."


def _about_exits(names: Sequence[str], charts: Sequence[Chart], readings: Sequence[Reading]) -> Iterator[Caution]:
    for chart, reading in zip(charts, readings, strict=False):
        if chart.is_exit and reading.outcome is Outcome.SIGNAL:
            yield Caution(
                "exit_read_as_entry",
                "An order that closes a position is read as an entry, for nothing says that the position is gone. Add "
                '"market_position": "{{strategy.market_position}}".',
            )
            return
    for chart, reading in zip(charts, readings, strict=False):
        if chart.order and not chart.is_exit and reading.outcome is Outcome.EXIT:
            now = "strategy.market_position" in names
            yield Caution(
                "entry_read_as_exit",
                f"An entry is read as an exit ({chart.name})."
                + ("" if now else ' Add "market_position": "{{strategy.market_position}}".'),
            )
            return


def _about_absent_fields(names: Sequence[str], readings: Sequence[Reading]) -> Iterator[Caution]:
    signals = [reading for reading in readings if reading.outcome is Outcome.SIGNAL]
    supplied = {field.name for reading in signals for field in reading.fields if field.path is None} - {"exchange"}
    if "timestamp" in supplied:
        yield Caution(
            "no_time",
            'The alert carries no time: a re-sent one is told from a new one by the clock only. Add "time": "{{timenow}}".',
        )
    elif "time" in names and "timenow" not in names:
        yield Caution(
            "bar_time",
            "{{time}} is the opening of the bar, the same for all its alerts; {{timenow}} is the moment the alert fired.",
        )
    if "timeframe" in supplied:
        yield Caution(
            "no_timeframe",
            'The alert names no timeframe: the source\'s default is used on every chart. Add "interval": "{{interval}}".',
        )


def _unquoted(text: str) -> list[str]:
    """Return the placeholders that stand outside of quotes, when the message is meant to be JSON."""
    if not text.lstrip().startswith(("{", "[")):
        return []
    marked, names = _marked(text)
    words = [token.text for token in tokens_of(marked) if token.kind == "word" and not _QUOTES.intersection(token.text)]
    return list(dict.fromkeys(names[int(number)] for word in words for number in _MARK.findall(word)))


_QUOTES = frozenset("'\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f")
_MARK = re.compile("\ue000([0-9]{1,5})\ue001")  # stands for a placeholder while the message around it is looked at


def _marked(text: str) -> tuple[str, list[str]]:
    names: list[str] = []

    def mark(match: re.Match[str]) -> str:
        names.append(match.group()[2:-2])
        return f"\ue000{len(names) - 1}\ue001"

    return re.sub(PLACEHOLDER, mark, text), names


def _corrected(text: str, names: Sequence[str], readings: Sequence[Reading]) -> str | None:
    marked, marks = _marked(text)
    said = _as_object(marked)
    if said is None:
        said = _from_readings(readings, is_strategy=any(name.startswith("strategy.") for name in names))
    if said is None or (not names and not said):
        return None
    if names:
        said |= _additions(names, readings)
    dumped = json.dumps(said, indent=2, ensure_ascii=False)
    written = _MARK.sub(lambda match: f"{{{{{marks[int(match[1])]}}}}}", dumped)
    return written.replace("{{time}}", "{{timenow}}") if "timenow" not in names else written


def _as_object(text: str) -> dict[str, JsonValue] | None:
    """Return the object that a message is, with every placeholder in quotes."""
    if is_too_deep(text) or not text.lstrip().startswith(("{", "[")):
        return None
    try:
        said = Reader(text, Numbers(whole=int, broken=float)).read()
    except (NotNearlyJson, UnreadableAlert, ValueError):
        return None
    if isinstance(said, list) and len(said) == 1:
        said = said[0]
    return said if isinstance(said, dict) else None


def _from_readings(readings: Sequence[Reading], *, is_strategy: bool) -> dict[str, JsonValue] | None:
    """Return the beginning of a message that says what a text says."""
    signals = [reading for reading in readings if reading.outcome is Outcome.SIGNAL]
    if is_strategy:
        return {"ticker": _WRITTEN["symbol"][1], "action": _WRITTEN["direction"][1]}
    if not signals:
        return None
    ways = {field.value for reading in signals for field in reading.fields if field.name == "direction"}
    return {"ticker": _WRITTEN["symbol"][1], "action": ways.pop()} if len(ways) == 1 else None


def _additions(names: Sequence[str], readings: Sequence[Reading]) -> dict[str, JsonValue]:
    is_strategy = any(name.startswith("strategy.") for name in names)
    absent = {problem.field for reading in readings for problem in reading.problems if problem.code == "missing"}
    absent |= {
        field.name
        for reading in readings
        if reading.outcome is Outcome.SIGNAL
        for field in reading.fields
        if field.path is None
    }
    added: dict[str, JsonValue] = {
        _WRITTEN[name][0]: _WRITTEN[name][1]
        for name in FIELDS
        if name in absent and (is_strategy or name != "direction")
    }
    if is_strategy and "strategy.market_position" not in names:
        added |= _POSITIONS
    return added


def _is_strict(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
