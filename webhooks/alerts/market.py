"""The market as an alert tells it: price, bid, ask, volume and every other number, with all their digits."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from webhooks.alerts.bodies import Body, JsonValue, read_body
from webhooks.alerts.fields import NAMES, plain_name
from webhooks.alerts.problems import UnreadableAlert

# Without case and separators, the best first.
MARKET_NAMES: Mapping[str, tuple[str, ...]] = {
    "current_price": ("close", "price", "currentprice", "lastprice", "last"),
    "bid": ("bid", "bidprice"),
    "ask": ("ask", "askprice"),
    "volume": ("volume",),
}
LARGEST_PRICE = Decimal(10) ** 12  # numeric(20,8) holds 12 digits before the point
FINEST_PRICE = -8
LARGEST_VOLUME = 2**63 - 1
LONGEST_NUMBER = 64  # digits, written out
_NOT_INDICATORS = frozenset(name for names in NAMES.values() for name in names)
_DECIMAL_TEXT = re.compile(r"-?[0-9]{1,64}(\.[0-9]{1,64})?")


@dataclass(frozen=True, slots=True)
class MarketFields:
    """What an alert says about the market; None where it says nothing that fits.

    ``indicators`` are the other numeric fields, a nested one as ``outer.inner``; ``notes`` say by name what was left out
    of its column and why.
    """

    current_price: Decimal | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None
    volume: int | None = None
    indicators: Mapping[str, Decimal] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


def read_market_fields(raw_body: str) -> MarketFields:
    """Read the numbers of an alert from the text that was stored; numbers and texts that are purely decimal count.

    A price fits when it is not negative and numeric(20,8) holds it unrounded, a volume when bigint does. What does not fit its column stays among
    the indicators. Symbol, direction, timeframe and time of the alert are no indicators.
    """
    try:
        body = read_body(raw_body, parse_float=_decimal)
    except UnreadableAlert:
        return MarketFields()
    numbers: dict[str, Decimal] = {}
    notes: dict[str, str] = {}
    for path, number in _numbers(body):
        if _is_writable(number):
            numbers[path] = number
        else:
            notes[path] = f"it has more than {LONGEST_NUMBER} digits"
    taken: dict[str, Any] = {}
    for column, names in MARKET_NAMES.items():
        for path in _paths_named(names, numbers):
            misfit = _misfit(column, numbers[path])
            if misfit is None:
                number = numbers.pop(path)
                taken[column] = int(number) if column == "volume" else number
                break
            notes[path] = misfit
    return MarketFields(**taken, indicators=numbers, notes=notes)


def _numbers(body: Body) -> Iterator[tuple[str, Decimal]]:
    """Yield the numeric fields of the alert: all of the top level, then all of one level of nesting."""
    for key, value in body.fields.items():
        if (number := _number(value)) is not None and plain_name(key) not in _NOT_INDICATORS:
            yield key, number
    for key, value in body.fields.items():
        if isinstance(value, dict):
            for inner, nested in value.items():
                if (number := _number(nested)) is not None and plain_name(inner) not in _NOT_INDICATORS:
                    yield f"{key}.{inner}", number
    for key, value in body.wrapped.items():
        if (number := _number(value)) is not None and plain_name(key) not in _NOT_INDICATORS:
            yield f"{body.wrapper}.{key}", number


def _number(value: JsonValue) -> Decimal | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, str) and _DECIMAL_TEXT.fullmatch(value.strip()):
        return Decimal(value.strip())
    return None


def _paths_named(names: tuple[str, ...], numbers: Mapping[str, Decimal]) -> list[str]:
    """Return the paths with one of these names: by name, the top level before nesting."""
    by_name: dict[str, list[str]] = {}
    for path in numbers:
        by_name.setdefault(plain_name(path.rpartition(".")[2]), []).append(path)
    found = [path for name in names for path in by_name.get(name, [])]
    return sorted(found, key=lambda path: "." in path)


def _misfit(column: str, number: Decimal) -> str | None:
    if column == "volume":
        if number != number.to_integral_value() or not 0 <= number <= LARGEST_VOLUME:
            return "it is not a whole number from 0 to 2^63 - 1"
    elif number < 0:
        return "it is negative"
    elif number >= LARGEST_PRICE or number != number.quantize(Decimal(1).scaleb(FINEST_PRICE)):
        return "it has more than 12 digits before or 8 after the point"
    return None


def _is_writable(number: Decimal) -> bool:
    sign_digits_exponent = number.as_tuple()
    exponent = sign_digits_exponent.exponent
    return isinstance(exponent, int) and max(number.adjusted() + 1, 1) + max(-exponent, 0) <= LONGEST_NUMBER


def _decimal(literal: str) -> Decimal:
    try:
        return Decimal(literal)
    except InvalidOperation:  # an exponent beyond all bounds; it is then left out as unwritable
        return Decimal("NaN")
