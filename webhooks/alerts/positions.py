"""What a strategy's alert says of its position: where it was before the order, where it is now."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TypeVar

from webhooks.alerts.bodies import Body, JsonValue, read_body
from webhooks.alerts.fields import candidates_for, named
from webhooks.alerts.problems import Unreadable, UnreadableAlert
from webhooks.alerts.reading import SourceRules
from webhooks.alerts.symbols import read_symbol
from webhooks.alerts.timeframes import read_timeframe
from webhooks.alerts.times import read_time

NOW = ("marketposition", "strategymarketposition")
BEFORE = ("prevmarketposition", "strategyprevmarketposition", "previousmarketposition")
SIZE_NOW = ("marketpositionsize", "strategymarketpositionsize")
SIZE_BEFORE = ("prevmarketpositionsize", "strategyprevmarketpositionsize", "previousmarketpositionsize")
STRATEGY = ("strategyname", "strategyid", "strategy", "botname", "botid", "bot")
LONGEST_NAME = 100
Value = TypeVar("Value")
_NUMBER = re.compile(r"[0-9]{1,30}(?:\.[0-9]{1,30})?")


class Position(StrEnum):
    """As TradingView writes ``{{strategy.market_position}}``."""

    LONG = "long"
    SHORT = "short"
    FLAT = "flat"


@dataclass(frozen=True, slots=True)
class PositionReport:
    """Both ends of one step of a strategy. Sizes are None where the alert has none; ``strategy`` is empty without a name."""

    before: Position
    now: Position
    size_before: Decimal | None = None
    size_now: Decimal | None = None
    strategy: str = ""


def read_position(text: str) -> PositionReport | None:
    """Return what the text of an alert says of the position, None when it does not say both where it was and where it is."""
    try:
        body = read_body(text)
    except UnreadableAlert:
        return None
    before, now = _position(_value(BEFORE, body)), _position(_value(NOW, body))
    if before is None or now is None:
        return None
    name = _value(STRATEGY, body)
    return PositionReport(
        before,
        now,
        size_before=_size(_value(SIZE_BEFORE, body)),
        size_now=_size(_value(SIZE_NOW, body)),
        strategy=str(name)[:LONGEST_NAME] if isinstance(name, str | int) else "",
    )


def _value(names: tuple[str, ...], body: Body) -> JsonValue:
    found = named(names, body)
    return found.value if found else None


def _position(value: JsonValue) -> Position | None:
    try:
        return Position(value.strip().casefold()) if isinstance(value, str) else None
    except ValueError:
        return None


def _size(value: JsonValue) -> Decimal | None:
    written = str(value).strip().removeprefix("-") if isinstance(value, str | int | float | Decimal) else ""
    try:
        return Decimal(written) if _NUMBER.fullmatch(written) else None
    except InvalidOperation:
        return None


@dataclass(frozen=True, slots=True)
class Place:
    """Where an alert belongs, as far as it says so; ``at`` is None without a time of its own."""

    symbol: str
    timeframe: str
    at: datetime | None


def read_place(text: str, *, rules: SourceRules, received_at: datetime) -> Place | None:
    """Return symbol, timeframe and time of an alert that became no signal, None when it names no symbol."""
    try:
        body = read_body(text)
    except UnreadableAlert:
        return None
    symbol = _first_readable("symbol", body, rules, read_symbol)
    if symbol is None:
        return None
    timeframe = _first_readable("timeframe", body, rules, read_timeframe) or rules.default_timeframe
    at = _first_readable("timestamp", body, rules, lambda value: read_time(value, received_at=received_at))
    return Place(symbol[0], timeframe, at)


def _first_readable(name: str, body: Body, rules: SourceRules, read: Callable[[JsonValue], Value]) -> Value | None:
    for candidate in candidates_for(name, body, pinned=rules.paths.get(name)):
        with suppress(Unreadable):
            return read(candidate.value)
    return None
