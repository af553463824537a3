"""Which way an alert points: long, short, or out of a position (an exit alert).

An explicit long or short beats buy and sell, and both beat prose; a contradiction (action buy, direction short) follows
the direction and is noted. Words that close a position make an exit alert whatever stands beside them, and so does an order
against the position that remains after it: an exit is never read as an entry. Options: the direction is that of the
underlying, so a bought put points down and a sold put up.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from webhooks.alerts.fields import Candidate, candidates_for, each_named, is_placeholder, named
from webhooks.alerts.problems import Unreadable, shown
from webhooks.alerts.values import Body, Form, JsonValue
from webhooks.alerts.words import (
    OPPOSITE,
    Direction,
    Meaning,
    Strength,
    plain_word,
    read_sentence,
    read_word,
    tells_of_an_exit,
)

__all__ = ["Direction", "Pointing", "read_direction"]

ACCEPTED = "long, short, buy, sell and their common forms; close, exit and flat are kept as exit alerts"
EXAMPLE = '"action": "{{strategy.order.action}}"'

# The position after the order, where it was before, and how large it is.
NOW = ("marketposition", "strategymarketposition", "currentposition", "currentmarketposition", "newposition", "positionside",
       "positiontype", "sentiment", "marketpos", "marpos", "pos", "posside", "mp")  # fmt: skip
BEFORE = ("prevmarketposition", "strategyprevmarketposition", "previousmarketposition", "prevposition", "previousposition",
          "lastposition", "prevmp", "prevpos", "prevmarketpos", "premarpos", "prevmarpos")  # fmt: skip
SIZE_NOW = ("marketpositionsize", "strategymarketpositionsize", "marketpossize", "marpossize", "possize")
SIZE_BEFORE = (
    "prevmarketpositionsize",
    "strategyprevmarketpositionsize",
    "previousmarketpositionsize",
    "prevpositionsize",
)
SIGNED_SIZE = ("positionsize", "strategypositionsize", "newpositionsize", "positionqty", "newstrategyposition")
QUANTITY = ("contracts", "ordercontracts", "strategyordercontracts", "qty", "orderqty", "quantity", "orderquantity", "amount",
            "ordersize", "size", "lots", "lot")  # fmt: skip
REMARKS = ("comment", "ordercomment", "strategyordercomment", "orderid", "id", "strategyorderid", "signalid", "tradeid",
           "alertmessage", "strategyorderalertmessage", "alertname", "alert", "message", "msg", "text", "title", "reason",
           "event", "eventtype", "type", "signaltype", "entrytype", "note", "ordername", "exitreason", "alerttext")  # fmt: skip
RIGHT = ("right", "optiontype", "optionright", "putcall", "putorcall", "callput", "callorput", "cp", "contracttype")
FLAGS = (
    "reduceonly",
    "closeposition",
    "closeonly",
    "isclose",
    "isexit",
    "exit",
    "closeall",
    "closetrade",
    "reduce",
    "flatten",
)
SHARES = ("closepercent", "closepercentage", "closepct", "reducepercent", "reducepct", "exitpercent", "exitpct")
_YES = frozenset({"true", "1", "yes", "on"})
_WITH_A_WAY = frozenset({"direction", "signal", "side", "bias", "tradedirection", "signaldirection", "dir", "trend"})
_WAYS = {"1": Direction.LONG, "-1": Direction.SHORT, "up": Direction.LONG, "down": Direction.SHORT}
_EXIT_FLAG = re.compile(r"(?:exit|close|cover)(?:long|short|buy|sell)|(?:long|short)(?:exit|close)|exit|cover")
_PUT = frozenset({"put", "puts", "p"})


@dataclass(frozen=True, slots=True)
class Pointing:
    """Where an alert points: ``direction`` is None for an exit alert. ``note`` marks a contradiction."""

    direction: Direction | None
    path: str
    found: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class _Held:
    """The position that an alert tells of: which side, and where it says so."""

    side: Direction
    at: Candidate


def read_direction(body: Body, *, pinned: str | None = None) -> Pointing | None:
    """Return where an alert points; None when nothing says so.

    :raises Unreadable: when something should say so, and cannot be read.
    """
    candidates = candidates_for("direction", body, pinned=pinned)
    if ended := _ended(body):
        return ended
    for candidate in candidates:
        if is_placeholder(candidate.value) and not candidate.ambiguous:
            raise _unreadable(candidate)
    known = [(candidate, meaning) for candidate in candidates if (meaning := _read(candidate, body))]
    found = (
        _exit_in_words(known, body)
        or _reduced(known, body)
        or (_plainest(known, body) if known else None)
        or _as_held(body)
        or _flagged(body)
    )
    if found is None and candidates:
        raise _unreadable(candidates[0])
    return found


def _ended(body: Body) -> Pointing | None:
    """Return the exit that flat positions, sizes of 0 and flags such as ``reduce_only`` tell of."""
    groups: tuple[tuple[str, ...], ...] = (NOW, ("position",))
    for names in groups:
        position = named(names, body)
        if position is not None and (plain_word(position.value) in {"flat", "none"} or _is_zero(position)):
            return _exit(position)
    for sizes in (SIZE_NOW, SIGNED_SIZE):
        size = named(sizes, body)
        if size is not None and _is_zero(size) and _held_by_words(body) is None:
            return _exit(size)
    for flag in each_named(FLAGS, body):
        if str(flag.value).strip().casefold() in _YES:
            return _exit(flag)
    share = named(SHARES, body)
    if share is not None and (_number(share) or 0) > 0:
        return _exit(share)
    cancelled = named(("c",), body)
    if cancelled is not None and body.form is Form.TEXT and plain_word(cancelled.value) in {"position", "pos"}:
        return _exit(cancelled)
    return None


def _exit_in_words(known: Sequence[tuple[Candidate, Meaning]], body: Body) -> Pointing | None:
    """Return the exit that a field of direction, or a remark beside it, speaks of.

    Bought, and long now, is an entry, whatever a remark says of the position that was reversed.
    """
    held = _held_by_words(body)
    orders = {meaning.direction for _, meaning in known if meaning.strength == Strength.ORDER and meaning.direction}
    is_entry = held is not None and orders == {held.side}
    for candidate, meaning in known:
        is_plain = meaning.strength > Strength.PROSE and not is_entry
        if meaning.direction is None and (is_plain or not candidate.ambiguous):
            return _exit(candidate)
    for remark in each_named(REMARKS, body) if not is_entry else ():
        if isinstance(remark.value, str) and tells_of_an_exit(remark.value):
            return _exit(remark)
    return None


def _reduced(known: Sequence[tuple[Candidate, Meaning]], body: Body) -> Pointing | None:
    """Return the exit that an order against its position is: one that stays, or the one that was, when none is told of now.

    A reversal (short now, long before) is an entry.
    """
    held, was = _held(body), _side(named(BEFORE, body))
    orders = {_of_underlying(meaning, body) for _, meaning in known if meaning.strength == Strength.ORDER}
    if held is not None:
        if orders and held.side not in orders:
            return _exit(held.at)
        return _smaller(held, was, body)
    if was is not None and len(orders) == 1 and orders == {OPPOSITE[was.side]} and not _has_size(body):
        return _exit(was.at)
    return None


def _smaller(held: _Held, was: _Held | None, body: Body) -> Pointing | None:
    before, now = _number(named(SIZE_BEFORE, body)), _number(named(SIZE_NOW, body))
    if was is not None and was.side is held.side and before is not None and now is not None and abs(now) < abs(before):
        return _exit(held.at)
    return None


def _held(body: Body) -> _Held | None:
    """Return the position after the order, as its side or as a signed size."""
    if by_words := _held_by_words(body):
        return by_words
    size = named(SIGNED_SIZE, body)
    number = _number(size)
    # A size that counts the order itself has no sign. Beside the order's own quantity it is the position's.
    if size is None or number is None or (number > 0 and named(QUANTITY, body) is None):
        return None
    return _Held(Direction.LONG if number > 0 else Direction.SHORT, size)


def _as_held(body: Body) -> Pointing | None:
    """Return where the position points that an alert without an order tells of."""
    held = _held(body)
    return Pointing(held.side, held.at.path, shown(held.at.value)) if held else None


def _held_by_words(body: Body) -> _Held | None:
    return _side(named(NOW, body)) or _side(named(("position",), body))


def _side(candidate: Candidate | None) -> _Held | None:
    meaning = read_word(candidate.value) if candidate else None
    if candidate is None or meaning is None or meaning.direction is None:
        return None
    return _Held(meaning.direction, candidate)


def _has_size(body: Body) -> bool:
    return named((*SIZE_NOW, *SIGNED_SIZE), body) is not None


def _plainest(known: Sequence[tuple[Candidate, Meaning]], body: Body) -> Pointing:
    best, meaning = max(known, key=lambda pair: (not pair[0].ambiguous, pair[1].strength))
    direction = _of_underlying(meaning, body)
    against = [
        candidate.path
        for candidate, other in known
        if other.direction is not None
        and _of_underlying(other, body) != direction
        and (other.strength > Strength.PROSE or not candidate.ambiguous)
    ]
    note = f"{best.path} says {direction}, {' and '.join(against)} the opposite" if against else None
    return Pointing(direction, best.path, shown(best.value), note)


def _flagged(body: Body) -> Pointing | None:
    """Return what a field that is named after a direction says by being 1 or true: ``{"buy": 1, "sell": 0}``."""
    found: list[tuple[str, JsonValue, Meaning]] = []
    for level in body.levels:
        for name, values in level.items():
            meaning = read_word(name) if len(name) > 1 else None
            if meaning and meaning.direction is None and not _EXIT_FLAG.fullmatch(name):
                continue  # "close": 1 is a price, "tp": 1 a target
            for path, value in values:
                if meaning and str(value).strip().casefold().removesuffix(".0") in _YES:
                    found.append((path, value, meaning))
    ways = {meaning.direction for _, _, meaning in found}
    if None in ways or len(ways) == 1:
        path, value, meaning = next(one for one in found if None not in ways or one[2].direction is None)
        return Pointing(meaning.direction, path, shown(value))
    return None


def _of_underlying(meaning: Meaning, body: Body) -> Direction | None:
    right = named(RIGHT, body)
    if meaning.flips_with_put and meaning.direction and right is not None and plain_word(right.value) in _PUT:
        return OPPOSITE[meaning.direction]
    return meaning.direction


def _read(candidate: Candidate, body: Body) -> Meaning | None:
    if meaning := read_word(candidate.value):
        return meaning
    way = str(candidate.value).strip().casefold().removesuffix(".0")
    if candidate.name in _WITH_A_WAY and way in _WAYS and not isinstance(candidate.value, bool):
        return Meaning(_WAYS[way], Strength.ORDER)
    return None if candidate.ambiguous or not isinstance(candidate.value, str) else read_sentence(candidate.value)


def _exit(candidate: Candidate) -> Pointing:
    return Pointing(None, candidate.path, shown(candidate.value))


def _is_zero(candidate: Candidate) -> bool:
    return _number(candidate) == 0


def _number(candidate: Candidate | None) -> Decimal | None:
    value = candidate.value if candidate else None
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and "_" not in str(value) else None


def _unreadable(candidate: Candidate) -> Unreadable:
    found = shown(candidate.value)
    if is_placeholder(candidate.value):
        code, message = "unfilled_placeholder", f"{found} was not filled in by TradingView."
    elif not isinstance(candidate.value, str | int | float) or isinstance(candidate.value, bool):
        code, message = "wrong_type", f"{found} is not a text."
    else:
        code, message = "unknown_direction", f"{found} is neither long nor short, buy nor sell."
    return Unreadable(code, message, path=candidate.path, found=found)
