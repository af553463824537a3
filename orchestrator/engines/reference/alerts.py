"""What an engine is told with a question: the body of POST /recommendations, read strictly and never changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from orchestrator.domain.amounts import UnreadableAmount, read_amount
from orchestrator.domain.moments import UnreadableMoment, read_moment
from orchestrator.domain.strict_json import UnreadableJson, read_object

SCHEMA = "engine-input/1"
LONGEST_SYMBOL = 64


class UnreadableBody(ValueError):
    """A request whose body is not what the contract says; the message names the member and what is accepted."""


@dataclass(frozen=True, slots=True)
class SeenPrice:
    """What an earlier alert of a symbol said: the time of its bar and the price of the underlying."""

    at: datetime
    price: Decimal


@dataclass(frozen=True, slots=True)
class Alert:
    """One question. ``at`` is the signal's timestamp, ``price`` that of the underlying, None when nobody knows it."""

    experiment_id: str
    symbol: str
    direction: str
    timeframe: str
    at: datetime
    price: Decimal | None
    indicators: Mapping[str, Decimal]

    def indicator(self, name: str) -> Decimal | None:
        """Return the indicator of that name, however its length is written behind it: rsi, RSI, rsi14, rsi_14."""
        for key in sorted(self.indicators):
            if key.lower().rstrip("0123456789").rstrip("_- ") == name:
                return self.indicators[key]
        return None


def read_alert(body: bytes) -> Alert:
    """Read ``engine-input/1``.

    :raises UnreadableBody: when the bytes are not that.
    """
    question = read_body(body)
    if question.get("schema") != SCHEMA:
        raise UnreadableBody(f"schema is {_shown(question.get('schema'))}; accepted is {SCHEMA}")
    signal, context = member(question, "signal"), member(question, "market_context")
    direction, symbol = text(signal, "direction"), text(signal, "symbol")
    if direction not in {"long", "short"}:
        raise UnreadableBody(f"direction is {direction!r}; accepted is long or short")
    return Alert(
        experiment_id=identifier(question, "experiment_id"),
        symbol=symbol,
        direction=direction,
        timeframe=text(signal, "timeframe"),
        at=moment(signal, "timestamp"),
        price=None if context.get("current_price") is None else amount(context, "current_price", above=True),
        indicators={
            key: amount(member(context, "indicators"), key, signed=True) for key in member(context, "indicators")
        },
    )


def read_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a request.

    :raises UnreadableBody: saying why it cannot be read.
    """
    try:
        return read_object(body)
    except UnreadableJson as error:
        raise UnreadableBody(f"the body cannot be read: {error}") from None


def member(parent: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the object ``name``."""
    found = parent.get(name)
    if not isinstance(found, dict):
        raise UnreadableBody(f"{name} is {_shown(found)}; accepted is an object")
    return found


def text(parent: Mapping[str, Any], name: str) -> str:
    """Return the text ``name`` of 1 to 64 characters."""
    found = parent.get(name)
    if not isinstance(found, str) or not 1 <= len(found) <= LONGEST_SYMBOL:
        raise UnreadableBody(f"{name} is {_shown(found)}; accepted is a text of 1 to {LONGEST_SYMBOL} characters")
    return found


def identifier(parent: Mapping[str, Any], name: str) -> str:
    """Return the UUID ``name``, lower-case and hyphenated."""
    found = parent.get(name)
    try:
        return str(UUID(found if isinstance(found, str) else ""))
    except ValueError:
        raise UnreadableBody(f"{name} is {_shown(found)}; accepted is a UUID") from None


def moment(parent: Mapping[str, Any], name: str) -> datetime:
    """Return the time ``name`` in UTC."""
    try:
        return read_moment(parent.get(name), name=name)
    except UnreadableMoment as error:
        raise UnreadableBody(str(error)) from None


def amount(parent: Mapping[str, Any], name: str, *, above: bool = False, signed: bool = False) -> Decimal:
    """Return the number ``name``, at least 0 (``above``: more than 0) unless it is ``signed``."""
    try:
        return read_amount(parent.get(name), name=name, lowest=None if signed else Decimal(0), above=above)
    except UnreadableAmount as error:
        raise UnreadableBody(str(error)) from None


def _shown(value: object) -> str:
    return "missing" if value is None else repr(value)[:60]
