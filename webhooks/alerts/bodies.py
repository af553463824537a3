"""From the text of a request to a payload: strict JSON first, then nearly-JSON, then text, whatever the Content-Type says.

The payload is what is stored and hashed, and anyone can compute it again from the stored text with ``read_payload``: strict
JSON as ``json.loads`` reads it and never otherwise, nearly-JSON as ``nearly_json`` reads it, a text as the pairs in it.
"""

import codecs
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from webhooks.alerts.fields import is_named
from webhooks.alerts.nearly_json import NotNearlyJson, Numbers, Reader, without_duplicates
from webhooks.alerts.problems import UnreadableAlert, shown
from webhooks.alerts.texts import WRAPPERS, pairs_of
from webhooks.alerts.tokens import is_too_deep
from webhooks.alerts.values import DEEPEST, EXAMPLE, LONGEST_INTEGER, Body, Form, JsonValue, refuse

__all__ = ["EXAMPLE", "Body", "Form", "JsonValue", "decode_body", "read_body", "read_payload", "wide_encoding"]

_WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_FEWEST_BYTES = 4  # of a body without a mark; in fewer, zeros tell nothing
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_LOOKS_LIKE_JSON = re.compile(r"[\s\u200b\ufeff]*+(?:\{|\[[\s\u200b\ufeff]*+(?:[\[{\"'\u201c\u201d]|\Z))")


class _NotStrictError(ValueError):
    """The text holds what only Python takes for JSON."""


def decode_body(raw: bytes) -> str:
    """Return the text of a body; a byte order mark is an encoding's signature, not part of the text.

    :raises UnreadableAlert: when it is not UTF-8. Of what stands there it quotes no more than the byte, for a secret may
        stand beside it.
    """
    if wide := wide_encoding(raw):
        refuse("not_utf8", f"The body is {wide.upper()}, not UTF-8.", found=shown(raw[:4].hex(" ")))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        refuse(
            "not_utf8",
            f"The body is not UTF-8: byte {error.start} cannot be read.",
            found=shown(raw[error.start : error.end].hex(" ")),
        )


def wide_encoding(raw: bytes) -> str | None:
    """Return the encoding of a body whose characters take two bytes or four, by its mark or by its zeros; else None."""
    for mark, encoding in _WIDE_MARKS:
        if raw.startswith(mark):
            return encoding
    head = raw[:64]
    for encoding, zeros, others in (("utf-16-le", head[1::2], head[::2]), ("utf-16-be", head[::2], head[1::2])):
        if len(head) > _FEWEST_BYTES and zeros.count(0) > len(zeros) // 2 and not others.count(0):
            return encoding
    return None


def read_body(text: str, *, parse_float: Callable[[str], Any] | None = None) -> Body:
    """Read the text of a body.

    :param parse_float: what becomes of numbers with a fraction or an exponent; ``float`` unless given.
    :raises UnreadableAlert: when nothing can be read from it, or it holds what PostgreSQL or another reader would read
        differently: a key twice, infinities, NUL, half a character, depth, endless digits.
    """
    if not text.strip():
        refuse("empty_body", "The body is empty. The alert's message is what TradingView sends: fill it in.")
    if is_too_deep(text):
        refuse("too_deep", f"The body is nested deeper than {DEEPEST} levels.")
    numbers = Numbers(whole=_bounded_int, broken=parse_float or _finite_float)
    try:
        payload = _strictly(text, numbers)
    except (json.JSONDecodeError, _NotStrictError):
        if not _LOOKS_LIKE_JSON.match(text):
            found = _embedded(text, numbers)
            if found is None:
                return _read_text(text)
            form, payload = Form.NEARLY_JSON, found
        else:
            form, payload = Form.NEARLY_JSON, _nearly(text, numbers)
    else:
        form = Form.JSON
    if form is Form.NEARLY_JSON or "\\u" in text:
        _refuse_unstorable_text(payload)
    fields, prefix = (payload[0], "[0].") if isinstance(payload, list) and len(payload) == 1 else (payload, "")
    if not isinstance(fields, dict):
        refuse("not_an_object", "The body is JSON, but not an object with named fields.", found=shown(payload))
    return _unwrapped(Body(payload=payload, fields=fields, prefix=prefix, form=form))


def read_payload(raw_body: str) -> JsonValue:
    """Return the payload of a stored body, exactly as it was hashed.

    :raises UnreadableAlert: when it is not the body of a signal.
    """
    return read_body(raw_body).payload


def _strictly(text: str, numbers: Numbers) -> JsonValue:
    parsed: JsonValue = json.loads(
        text,
        parse_float=numbers.broken,
        parse_int=numbers.whole,
        parse_constant=_constant,
        object_pairs_hook=without_duplicates,
    )
    return parsed


def _nearly(text: str, numbers: Numbers) -> JsonValue:
    try:
        return Reader(text, numbers).read()
    except NotNearlyJson as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        refuse(
            "not_json",
            f"The body is not JSON: {error} at line {line}, column {column}. "
            "Text, and every placeholder that gives text, stands in double quotes.",
            found=shown(text[max(0, error.position - 20) : error.position + 20]),
        )


def _embedded(text: str, numbers: Numbers) -> JsonValue:
    """Return the one object of strict JSON that stands in a text: between marks, in a fence, after a word."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return None
    try:
        return _strictly(text[start : end + 1], numbers)
    except (json.JSONDecodeError, _NotStrictError):
        return None


def _read_text(text: str) -> Body:
    _refuse_unstorable_text(text)
    pairs = pairs_of(text)
    return Body(payload=pairs, fields=pairs, form=Form.TEXT)


def _unwrapped(body: Body) -> Body:
    """Read the text that an object carries when it names no symbol or no direction itself, ``{"message": "buy SPY"}``."""
    if is_named("symbol", body) and is_named("direction", body):
        return body
    for key, value in body.fields.items():
        if isinstance(value, str) and " " in value.strip() and key.casefold() in WRAPPERS:
            with suppress(UnreadableAlert):
                return replace(body, wrapped=pairs_of(value), wrapper=f"{body.prefix}{key}")
    return body


def _finite_float(literal: str) -> float:
    value = float(literal)
    if value in {float("inf"), float("-inf")}:
        refuse("number_out_of_range", "A number is too large to be one.", found=shown(literal))
    return value


def _bounded_int(literal: str) -> int:
    if len(literal) > LONGEST_INTEGER:
        refuse("number_out_of_range", f"A whole number has more than {LONGEST_INTEGER} digits.", found=shown(literal))
    return int(literal)


def _constant(name: str) -> None:
    """Leave NaN, which TradingView writes for an empty plot, to the reader of nearly-JSON; infinities it never writes."""
    if name == "NaN":
        raise _NotStrictError
    refuse("not_a_number", f"{name} is not a number. Leave the field out, or send null.", found=shown(name))


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
            refuse(code, f"A text holds {what}.", found=shown(value))
