"""Which way an alert points: long, short, or out of a position (an exit alert).

An explicit long or short beats buy and sell, and both beat prose; a contradiction (action buy, direction short) follows
the direction and is noted. Words that close a position make an exit alert whatever stands beside them: an exit is never
read as an entry. Options: the direction is that of the underlying, so a bought put points down and a sold put up.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import IntEnum, StrEnum
from itertools import pairwise

from webhooks.alerts.bodies import Body, JsonValue
from webhooks.alerts.fields import Candidate, candidates_for, is_placeholder, named
from webhooks.alerts.problems import Unreadable, shown


class Direction(StrEnum):
    """The two ways a signal can point."""

    LONG = "long"
    SHORT = "short"


class Strength(IntEnum):
    """How plainly a value says where it points; the plainest decides."""

    PROSE = 1
    ORDER = 2
    EXPLICIT = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """What one value says; ``direction`` is None for the end of a position."""

    direction: Direction | None
    strength: Strength
    flips_with_put: bool = False


@dataclass(frozen=True, slots=True)
class Pointing:
    """Where an alert points: ``direction`` is None for an exit alert. ``note`` marks a contradiction."""

    direction: Direction | None
    path: str
    found: str
    note: str | None = None


ACCEPTED = "long, short, buy, sell and their common forms; close, exit and flat are kept as exit alerts"
EXAMPLE = '"action": "{{strategy.order.action}}"'

_SIDES = {Direction.LONG: ("long", "bull", "bullish"), Direction.SHORT: ("short", "bear", "bearish")}
_ORDERS = {Direction.LONG: "buy", Direction.SHORT: "sell"}
_EXPLICIT: Mapping[str, Direction] = {
    form.format(word): way
    for way, words in _SIDES.items()
    for word in words
    for form in ("{}", "go{}", "enter{}", "{}entry", "entry{}", "open{}", "{}open", "{}signal", "strong{}", "start{}")
} | {"buylong": Direction.LONG, "sellshort": Direction.SHORT, "shortsell": Direction.SHORT}
_ORDER: Mapping[str, Direction] = {
    form.format(word): way
    for way, word in _ORDERS.items()
    for form in ("{}", "{}toopen", "{}market", "market{}", "{}limit", "limit{}", "{}stop", "strong{}", "{}signal",
                 "{}entry", "entry{}", "enter{}", "open{}", "{}open", "{}order", "{}now")
} | {"bto": Direction.LONG, "sto": Direction.SHORT, "purchase": Direction.LONG}  # fmt: skip
_OPTION: Mapping[str, Direction] = {
    "call": Direction.LONG, "calls": Direction.LONG, "buycall": Direction.LONG, "longcall": Direction.LONG,
    "put": Direction.SHORT, "puts": Direction.SHORT, "buyput": Direction.SHORT, "longput": Direction.SHORT,
    "sellput": Direction.LONG, "shortput": Direction.LONG, "sellcall": Direction.SHORT, "shortcall": Direction.SHORT,
}  # fmt: skip
_VOCABULARY: Mapping[str, Reading] = (
    {word: Reading(way, Strength.ORDER) for word, way in _OPTION.items()}
    | {word: Reading(way, Strength.ORDER, flips_with_put=True) for word, way in _ORDER.items()}
    | {word: Reading(way, Strength.EXPLICIT) for word, way in _EXPLICIT.items()}
)
_EXIT = frozenset(
    {f"{verb}{what}" for verb in ("close", "exit", "closed", "exited", "flatten", "liquidate")
     for what in ("", "long", "short", "buy", "sell", "position", "positions", "all", "trade", "trades", "order", "orders",
                  "partial", "pos")}
    | {f"{what}{verb}" for verb in ("close", "exit", "closed", "tp", "sl", "takeprofit", "stoploss", "stop", "stopped")
       for what in ("long", "short", "buy", "sell", "partial")}
    | {"flat", "selltoclose", "stc", "buytoclose", "buytocover", "cover", "covershort", "takeprofit", "takeprofits",
       "stoploss", "stopout", "stoppedout", "stophit", "tp", "sl", "tphit", "slhit", "trailingstop", "reduce", "trim",
       "reducelong", "reduceshort"}
    | {f"tp{step}{end}" for step in range(1, 10) for end in ("", "hit")}
)  # fmt: skip
_EXIT_NOUNS = frozenset({"exit", "exited", "exits", "closed", "closing", "tp", "sl", "flat", "flatten", "takeprofit",
                         "stoploss", "stopped", "cover"})  # fmt: skip
_EXIT_PAIRS = frozenset(
    {("take", "profit"), ("stop", "loss")}
    | {pair for side in ("long", "short") for pair in (("close", side), (side, "close"))}
)
_NUMBERED = frozenset({"direction", "signal", "side", "bias", "tradedirection", "signaldirection"})
_NUMBERS = {"1": Direction.LONG, "-1": Direction.SHORT}
_NEGATIONS = frozenset({"no", "not", "don", "dont", "never", "without", "cancel", "cancelled", "canceled"})
_PUNCTUATION = re.compile(r"[\s_\-.:!/()\[\]'*]+")  # anything else, another alphabet say, stays and matches no word
_PUT = frozenset({"put", "puts", "p"})


def read_direction(body: Body, *, pinned: str | None = None) -> Pointing | None:
    """Return where an alert points; None when nothing says so.

    :raises Unreadable: when something should say so, and cannot be read.
    """
    candidates = candidates_for("direction", body, pinned=pinned)
    position = named(("marketposition", "strategymarketposition"), body) or named(("position",), body)
    if ended := _ended_position(body, position):
        return ended
    for candidate in candidates:
        if is_placeholder(candidate.value) and not candidate.ambiguous:
            raise _unreadable(candidate)
    known = [(candidate, reading) for candidate in candidates if (reading := _read(candidate))]
    if position and (reading := _read(position)):
        known = [*_judged_by_position(known, reading), (position, reading)]
    if known:
        return _strongest(known, body)
    if candidates:
        raise _unreadable(candidates[0])
    return None


def _ended_position(body: Body, position: Candidate | None) -> Pointing | None:
    if position is not None:
        ended = _word(position.value) in {"flat", "none"} or _is_zero(position.value)
        return Pointing(None, position.path, shown(position.value)) if ended else None
    size = named(("positionsize", "marketpositionsize", "strategypositionsize"), body)
    if size is not None and _is_zero(size.value):
        return Pointing(None, size.path, shown(size.value))
    return None


def _judged_by_position(
    known: Sequence[tuple[Candidate, Reading]], position: Reading
) -> list[tuple[Candidate, Reading]]:
    """An order against the position that remains after it has only made that position smaller: an exit."""
    return [
        (candidate, Reading(None, reading.strength))
        if reading.strength == Strength.ORDER and reading.direction not in {position.direction, None}
        else (candidate, reading)
        for candidate, reading in known
    ]


def _strongest(known: Sequence[tuple[Candidate, Reading]], body: Body) -> Pointing:
    plain = [pair for pair in known if pair[1].strength > Strength.PROSE] or list(known)
    for candidate, reading in plain:
        if reading.direction is None:
            return Pointing(None, candidate.path, shown(candidate.value))
    best, reading = max(plain, key=lambda pair: (not pair[0].ambiguous, pair[1].strength))
    direction = _of_underlying(reading, body)
    against = [candidate.path for candidate, other in plain if _of_underlying(other, body) != direction]
    note = f"{best.path} says {direction}, {' and '.join(against)} the opposite" if against else None
    return Pointing(direction, best.path, shown(best.value), note)


def _of_underlying(reading: Reading, body: Body) -> Direction | None:
    right = named(("right", "optiontype", "optionright", "putcall", "callput", "cp"), body)
    if reading.flips_with_put and right is not None and _word(right.value) in _PUT:
        return Direction.SHORT if reading.direction is Direction.LONG else Direction.LONG
    return reading.direction


def _read(candidate: Candidate) -> Reading | None:
    word = _word(candidate.value)
    if word in _EXIT or re.match(r"close(entry|entries|position)s?order", word):
        return Reading(None, Strength.ORDER)
    if word in _VOCABULARY:
        return _VOCABULARY[word]
    number = str(candidate.value).strip().removesuffix(".0")
    if candidate.name in _NUMBERED and number in _NUMBERS:
        return Reading(_NUMBERS[number], Strength.ORDER)
    return None if candidate.ambiguous or not isinstance(candidate.value, str) else _read_prose(candidate.value)


def _read_prose(text: str) -> Reading | None:
    """Read a sentence only when all its words agree; "Long exit" is an exit, "Buy on close" is not."""
    words = re.findall(r"[^\W\d_]+", text.casefold())
    ways = [way for word in words if (way := _EXPLICIT.get(word) or _ORDER.get(word))]
    pairs = set(pairwise(words))
    if words[:1] == ["close"] or pairs & _EXIT_PAIRS or _EXIT_NOUNS.intersection(words):
        return Reading(None, Strength.PROSE)
    if len(set(ways)) == 1 and not _NEGATIONS.intersection(words):
        return Reading(ways[0], Strength.PROSE)
    return None


def _word(value: JsonValue) -> str:
    return _PUNCTUATION.sub("", value.casefold()) if isinstance(value, str) else ""


def _is_zero(value: JsonValue) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        return Decimal(str(value).strip()) == 0
    except InvalidOperation:
        return False


def _unreadable(candidate: Candidate) -> Unreadable:
    found = shown(candidate.value)
    if is_placeholder(candidate.value):
        code, message = "unfilled_placeholder", f"{found} was not filled in by TradingView."
    elif not isinstance(candidate.value, str | int | float) or isinstance(candidate.value, bool):
        code, message = "wrong_type", f"{found} is not a text."
    else:
        code, message = "unknown_direction", f"{found} is neither long nor short, buy nor sell."
    return Unreadable(code, message, path=candidate.path, found=found)
