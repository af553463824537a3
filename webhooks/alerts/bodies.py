"""From the text of a request to a payload: strict JSON, whatever the Content-Type says."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NoReturn, TypeAlias

from webhooks.alerts.problems import Problem, UnreadableAlert, shown
from webhooks.alerts.tokens import nesting_depth

JsonValue: TypeAlias = "bool | int | float | Decimal | str | list[JsonValue] | dict[str, JsonValue] | None"

DEEPEST = 32
LONGEST_INTEGER = 100  # digits; PostgreSQL, engines and people stop making sense of a number well before
EXAMPLE = '{"ticker": "{{ticker}}", "action": "buy", "interval": "{{interval}}", "time": "{{time}}"}'
ACCEPTED = "a JSON object in UTF-8, at most 64 KiB and 32 levels deep"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Body:
    """What a body says: ``payload`` is what is hashed and stored, ``fields`` the object that carries the four fields.

    ``prefix`` is the path from the payload to that object: empty, or ``[0].`` for a list of one.
    """

    payload: JsonValue
    fields: Mapping[str, JsonValue]
    prefix: str = ""
    index: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)  # what was found once (fields.py)


def decode_body(raw: bytes) -> str:
    """Return the text of a body; a byte order mark is an encoding's signature, not part of the text.

    :raises UnreadableAlert: when it is not UTF-8.
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(
            "not_utf8",
            f"The body is not UTF-8: byte {error.start} cannot be read.",
            found=shown(raw[error.start : error.start + 8].hex(" ")),
        )


def read_body(text: str, *, parse_float: Callable[[str], Any] | None = None) -> Body:
    """Read the text of a body strictly.

    :param parse_float: what becomes of numbers with a fraction or an exponent; ``float`` unless given.
    :raises UnreadableAlert: when it is not one JSON object, or holds what PostgreSQL or another reader would read
        differently: a key twice, NaN, infinities, NUL, half a character, depth, endless digits.
    """
    if not text.strip():
        _refuse("empty_body", "The body is empty. The alert's message is what TradingView sends: fill it in.")
    if nesting_depth(text) > DEEPEST:
        _refuse("too_deep", f"The body is nested deeper than {DEEPEST} levels.")
    payload = _parse(text, parse_float=parse_float or _finite_float)
    if "\\u" in text:
        _refuse_unstorable_text(payload)
    fields, prefix = (payload[0], "[0].") if isinstance(payload, list) and len(payload) == 1 else (payload, "")
    if not isinstance(fields, dict):
        _refuse("not_an_object", "The body is JSON, but not an object with named fields.", found=shown(payload))
    return Body(payload=payload, fields=fields, prefix=prefix)


def read_payload(raw_body: str) -> JsonValue:
    """Return the payload of a stored body, exactly as it was hashed.

    :raises UnreadableAlert: when it is not the body of a signal.
    """
    return read_body(raw_body).payload


def _parse(text: str, *, parse_float: Callable[[str], Any]) -> JsonValue:
    try:
        parsed: JsonValue = json.loads(
            text,
            parse_float=parse_float,
            parse_int=_bounded_int,
            parse_constant=_no_constant,
            object_pairs_hook=_no_duplicates,
        )
    except json.JSONDecodeError as error:
        near = text[max(0, error.pos - 20) : error.pos + 20]
        _refuse(
            "not_json",
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}. "
            "Text, and every placeholder that gives text, stands in double quotes.",
            found=shown(near),
        )
    return parsed


def _finite_float(literal: str) -> float:
    value = float(literal)
    if value in {float("inf"), float("-inf")}:
        _refuse("number_out_of_range", "A number is too large to be one.", found=shown(literal))
    return value


def _bounded_int(literal: str) -> int:
    if len(literal) > LONGEST_INTEGER:
        _refuse("number_out_of_range", f"A whole number has more than {LONGEST_INTEGER} digits.", found=shown(literal))
    return int(literal)


def _no_constant(name: str) -> NoReturn:
    _refuse("not_a_number", f"{name} is not a number. Leave the field out, or send null.", found=shown(name))


def _no_duplicates(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    read = dict(pairs)
    if len(read) < len(pairs):
        twice = shown(Counter(key for key, _ in pairs).most_common(1)[0][0])
        _refuse("duplicate_key", f"The key {twice} occurs twice in one object: which one counts?", found=twice)
    return read


def _refuse_unstorable_text(payload: JsonValue) -> None:
    waiting = [payload]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.keys()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and (match := _UNSTORABLE.search(value)):
            code = "nul" if match.group() == "\x00" else "lone_surrogate"
            what = "a NUL character" if code == "nul" else "half a character (a lone surrogate)"
            _refuse(code, f"A text holds {what}.", found=shown(value))


def _refuse(code: str, message: str, *, found: str | None = None) -> NoReturn:
    raise UnreadableAlert(
        [Problem(field="body", code=code, message=message, accepted=ACCEPTED, example=EXAMPLE, found=found)]
    )
