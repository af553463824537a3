"""Reading JSON from engines: what Python's reader lets pass (NaN, duplicate keys, bombs) is refused with a sentence."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any

MAX_DEPTH = 32
EXPONENTS = range(-400, 300)


class UnreadableJson(ValueError):
    """Bytes that are not JSON that PostgreSQL could keep."""


def read_object(body: bytes | str) -> dict[str, Any]:
    """Return the JSON object in ``body``, its fractional numbers as Decimal.

    :raises UnreadableJson: for anything that is not an object, and for what ``read_json`` refuses.
    """
    found = read_json(body)
    if not isinstance(found, dict):
        raise UnreadableJson(f"it is a JSON {type(found).__name__}; accepted is an object")
    return found


def read_json(body: bytes | str) -> Any:
    """Return the JSON value in ``body``, its fractional numbers as Decimal.

    :raises UnreadableJson: for anything that is not UTF-8, not strict JSON, nested deeper than 32, names a key twice,
        or holds NUL or lone surrogates.
    """
    try:
        text = body.decode("utf-8") if isinstance(body, bytes) else body
        found = json.loads(text, parse_float=_finite, parse_constant=_refuse, object_pairs_hook=_unique)
        json.dumps(found, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeError:
        raise UnreadableJson("it is not valid UTF-8 text") from None
    except RecursionError:
        raise UnreadableJson(f"it is nested deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        raise UnreadableJson(f"it is not JSON: {error.msg} at character {error.pos}") from None
    except UnreadableJson:
        raise
    except ValueError as error:
        raise UnreadableJson(f"it holds a number that cannot be read: {str(error)[:80]}") from None
    _check(found, depth=1)
    return found


def member_text(text: str, name: str) -> str:
    """Return the text of the top-level member ``name`` of the JSON object in ``text``, to the letter.

    :raises KeyError: when there is no such member.
    """
    decoder = json.JSONDecoder()
    at = text.index("{") + 1
    while True:
        at = _skip(text, at, " \t\r\n,")
        if text[at] == "}":
            raise KeyError(name)
        key, at = decoder.raw_decode(text, at)
        start = _skip(text, at, " \t\r\n:")
        _, at = decoder.raw_decode(text, start)
        if key == name:
            return text[start:at]


def printable(said: bytes | str, *, most: int = 4000) -> str:
    """Return at most ``most`` bytes of anything as text that PostgreSQL can keep, for people to read."""
    body = said.encode(errors="replace") if isinstance(said, str) else said
    return body[:most].decode(errors="replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _skip(text: str, at: int, blanks: str) -> int:
    while text[at] in blanks:
        at += 1
    return at


def _finite(text: str) -> Decimal:
    problem = UnreadableJson(f"it holds the number {text[:40]}, which is out of range")
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent beyond all bounds
        raise problem from None
    if number and number.adjusted() not in EXPONENTS:
        raise problem
    return number


def _refuse(text: str) -> Any:
    raise UnreadableJson(f"it holds {text}, which is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise UnreadableJson("it names a key twice")
    return found


def _check(value: Any, *, depth: int) -> None:
    """Refuse what PostgreSQL cannot keep; ``depth`` counts the objects and lists around and including ``value``."""
    if isinstance(value, str) and "\x00" in value:
        raise UnreadableJson("it holds a NUL character")
    if isinstance(value, dict | list) and depth > MAX_DEPTH:
        raise UnreadableJson(f"it is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for key, member in value.items():
            _check(key, depth=depth)
            _check(member, depth=depth + 1)
    elif isinstance(value, list):
        for member in value:
            _check(member, depth=depth + 1)
