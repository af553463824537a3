"""Reading one alert: its four fields, or a list of everything that is wrong with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from webhooks.alerts import directions, symbols, timeframes, times
from webhooks.alerts.bodies import read_body
from webhooks.alerts.directions import Direction, Pointing, read_direction
from webhooks.alerts.fields import Candidate, candidates_for, is_placeholder, named
from webhooks.alerts.problems import Problem, Unreadable, UnreadableAlert, shown
from webhooks.alerts.values import Body, JsonValue

FIELDS = ("symbol", "direction", "timeframe", "timestamp")
EXCHANGE_NAMES = ("exchange", "exch", "tvexchange", "exchangename", "prefix")
_SPELLED = {"symbol": symbols, "direction": directions, "timeframe": timeframes, "timestamp": times}
_USUAL_NAMES = {
    "symbol": "ticker or symbol",
    "direction": "action, side or direction",
    "timeframe": "interval or timeframe",
    "timestamp": "time or timestamp",
}

# What is wrong in a way that no other spelling of the field can mend.
FINAL = frozenset({"unfilled_placeholder", "in_the_future", "out_of_range"})

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class SourceRules:
    """What is assumed where a source's alerts are silent; ``paths`` pins fields to where they stand."""

    default_timeframe: str = ""
    accept_missing_timestamp: bool = False
    paths: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that was read. ``timestamp`` is None when it carries none and the time of receipt stands in.

    ``payload`` is what is hashed; ``notes`` say what was contradictory; ``paths`` where each field was read, without those
    that the source supplies.
    """

    payload: JsonValue
    symbol: str
    exchange: str | None
    direction: Direction
    timeframe: str
    timestamp: datetime | None
    notes: tuple[str, ...] = ()
    paths: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExitAlert:
    """An alert that tells of the end of a position: never an entry, for the engines own their exits."""

    path: str
    found: str

    def as_problem(self) -> Problem:
        """Return why this alert did not become a signal."""
        return Problem(
            field="direction",
            code="exit_alert",
            message=f"{self.path} is {self.found}: an exit. Engines own their exits, so it is kept and starts nothing.",
            accepted=directions.ACCEPTED,
            example=directions.EXAMPLE,
            found=self.found,
            path=self.path,
        )


def read_alert(text: str, *, rules: SourceRules, received_at: datetime) -> Alert | ExitAlert:
    """Read the four fields of an alert from the text of its body, which carries no secrets any more.

    :raises UnreadableAlert: with one problem for each field that is missing or cannot be read.
    """
    body = read_body(text)
    problems: list[Problem] = []
    pointing = _read_pointing(body, rules, problems)
    if pointing is not None and pointing.direction is None:
        return ExitAlert(path=pointing.path, found=pointing.found)

    def read_time(value: JsonValue) -> datetime:
        return times.read_time(value, received_at=received_at)

    paths: dict[str, str] = {}
    symbol = _read_field("symbol", body, symbols.read_symbol, rules, problems, paths)
    timeframe = _read_field(
        "timeframe", body, timeframes.read_timeframe, rules, problems, paths, default=rules.default_timeframe or None
    )
    timestamp = _read_field(
        "timestamp", body, read_time, rules, problems, paths, may_be_missing=rules.accept_missing_timestamp
    )
    if problems or symbol is None or timeframe is None or pointing is None or pointing.direction is None:
        raise UnreadableAlert(sorted(problems, key=lambda problem: FIELDS.index(problem.field)))
    code, exchange = symbol
    paths["direction"] = pointing.path
    elsewhere = named(EXCHANGE_NAMES, body)
    if exchange:
        paths["exchange"] = paths["symbol"]
    elif elsewhere and (exchange := symbols.read_exchange(elsewhere.value)):
        paths["exchange"] = elsewhere.path
    return Alert(
        payload=body.payload,
        symbol=code,
        exchange=exchange,
        direction=pointing.direction,
        timeframe=timeframe,
        timestamp=timestamp,
        notes=(pointing.note,) if pointing.note else (),
        paths=paths,
    )


def _read_pointing(body: Body, rules: SourceRules, problems: list[Problem]) -> Pointing | None:
    pinned = rules.paths.get("direction")
    try:
        pointing = read_direction(body, pinned=pinned)
    except Unreadable as error:
        problems.append(_problem("direction", error, path=error.path, found=error.found))
        return None
    if pointing is None:
        problems.append(_missing("direction", pinned))
    return pointing


def _read_field(  # noqa: PLR0917 - what is read, where from, by which rules, and where the findings go
    name: str,
    body: Body,
    read: Callable[[JsonValue], Value],
    rules: SourceRules,
    problems: list[Problem],
    paths: dict[str, str],
    *,
    default: Value | None = None,
    may_be_missing: bool = False,
) -> Value | None:
    """Return the best candidate that can be read. When none can, note why the first cannot; when there is none, the default."""
    first: Problem | None = None
    for candidate in candidates_for(name, body, pinned=rules.paths.get(name)):
        if name == "symbol" and candidate.ambiguous and symbols.is_title(candidate.value):
            continue
        try:
            value = _read_value(candidate, read)
        except Unreadable as error:
            first = first or _problem(name, error, path=candidate.path, found=shown(candidate.value))
            if error.code in FINAL:
                break
        else:
            paths[name] = candidate.path
            return value
    if first is None and default is None and not may_be_missing:
        first = _missing(name, rules.paths.get(name))
    if first is None:
        return default
    problems.append(first)
    return None


def _read_value(candidate: Candidate, read: Callable[[JsonValue], Value]) -> Value:
    if is_placeholder(candidate.value):
        raise Unreadable("unfilled_placeholder", f"{shown(candidate.value)} was not filled in by TradingView.")
    return read(candidate.value)


def _problem(name: str, error: Unreadable, *, path: str | None, found: str | None) -> Problem:
    return Problem(
        field=name,
        code=error.code,
        message=f"{name}: {error}",
        accepted=_SPELLED[name].ACCEPTED,
        example=_SPELLED[name].EXAMPLE,
        found=found,
        path=path,
    )


def _missing(name: str, pinned: str | None) -> Problem:
    where = f"nothing stands at {pinned}" if pinned else f"the alert has none. Usual names: {_USUAL_NAMES[name]}"
    return Problem(
        field=name,
        code="missing",
        message=f"{name}: {where}. Add {_SPELLED[name].EXAMPLE.split(', which')[0]}.",
        accepted=_SPELLED[name].ACCEPTED,
        example=_SPELLED[name].EXAMPLE,
        path=pinned,
    )
