"""Cutting JSON-like text into tokens without reading it, in linear time however broken it is."""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from webhooks.alerts.values import DEEPEST

# A string that is never closed ends with the text: every alternative matches where it starts, so nothing is scanned twice.
_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]++|\\.)*+(?:"|\\?\Z))|(?P<mark>[{}\[\]:,])|(?P<space>\s+)|(?P<word>[^\s"{}\[\]:,]+)""",
    re.DOTALL,
)
_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)


class Token(NamedTuple):
    """One piece of the text; ``kind`` is string, mark, space or word (a number, a literal, or anything else)."""

    kind: str
    text: str
    start: int
    end: int


def tokens_of(text: str) -> Iterator[Token]:
    """Yield all tokens of a text; together they are the text."""
    for match in _TOKEN.finditer(text):
        yield Token(match.lastgroup or "word", match.group(), match.start(), match.end())


def string_value(token: str) -> str:
    """Return what a string token says, or the token itself when it is not a JSON string."""
    if "\\" not in token and len(token) > 1 and token[0] == token[-1] == '"':
        return token[1:-1]
    try:
        value = json.loads(token, strict=False)
    except ValueError:
        return token
    return value if isinstance(value, str) else token


def is_too_deep(text: str) -> bool:
    """Tell whether the objects and lists of a text are nested deeper than anything is read."""
    if text.count("{") + text.count("[") <= DEEPEST:
        return False
    depth = 0
    for match in _BRACKET.finditer(text):
        bracket = match.group()
        if bracket in {"{", "["}:
            depth += 1
            if depth > DEEPEST:
                return True
        elif bracket in {"}", "]"}:
            depth -= 1
    return False
