"""JSON as it arrives when a placeholder was not quoted or a word processor had a hand in it.

Read here, and only after strict JSON has failed: words without quotes (``1D``, ``BTCUSDT``, ``005930``), keys without
quotes, values that are empty or ``NaN`` (null), single and typographic quotes, quotes and line breaks inside a text, a comma
too many or, at the end of a line, too few, and ``//`` remarks. What is still ambiguous is refused. Linear in the length.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from webhooks.alerts.problems import shown
from webhooks.alerts.values import DEEPEST, JsonValue, refuse

# {{ticker}}, {{plot_0}}, {{plot("RSI")}}; the one place where braces and quotes within a text are neither.
PLACEHOLDER = r"""\{\{\s?[A-Za-z][\w.*+/\-]{0,60}(?:\(?["'][^"'{}]{0,60}["']\)?)?\s?\}\}"""
MOST_VALUES = 2000  # nobody forgets the quotes in a longer message than that
_DOUBLE = '"\u201c\u201d\u201e\u201f\u2033\uff02'
_SINGLE = "'\u2018\u2019\u201a\u201b\u2032`\u00b4"
_SPACE = re.compile(r"(?:[\s\u200b\u2060\ufeff]++|//[^\n]*+)*+")
# A quote closes where a text can end: before a separator, a line's end or the body's. Typewriter quotes close each other.
_TEXTS = {
    opening: re.compile(
        rf"(?:{PLACEHOLDER}|[^\\{closing}]|\\.|[{closing}](?![ \t\r\u00a0]*+(?:[,:}}\]\n]|\Z)))*+[{closing}]", re.DOTALL
    )
    for family in (_DOUBLE, _SINGLE)
    for opening in family
    for closing in (opening if opening in "\"'" else family,)
}
_WORD = re.compile(rf'(?:{PLACEHOLDER}|[^,{{}}\[\]\n\r"\u201c\u201d])*+')
_KEY = re.compile(r'[^:,{}\[\]\n\r"\u201c\u201d]++(?=:)')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_UNDERSCORED = re.compile(r"[-+]?[0-9][0-9.]*+(?:_[0-9.]++)++")  # 1_000 is a thousand to some and nothing to others
_LITERALS: dict[str, bool | None] = {
    "": None, "null": None, "none": None, "nan": None, "na": None, "n/a": None, "undefined": None, "true": True, "false": False,
}  # fmt: skip


class NotNearlyJson(ValueError):
    """It is not even nearly JSON; ``position`` is where nothing fits any more."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


@dataclass(frozen=True, slots=True)
class Member:
    """One key of an object, and where in the text its value stands."""

    key: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Numbers:
    """What becomes of the literals of numbers; each may refuse one."""

    whole: Callable[[str], Any]
    broken: Callable[[str], Any]


class Reader:
    """Reads one text; ``members`` are the keys of all its objects, as far as it came."""

    def __init__(self, text: str, numbers: Numbers) -> None:
        self.text = text
        self.numbers = numbers
        self.members: list[Member] = []
        self.at = 0
        self.values = 0

    def read(self) -> JsonValue:
        """Return the one value of the text.

        :raises NotNearlyJson: when there is none, or more than one.
        :raises UnreadableAlert: when it is one that nobody should read: a key twice, too deep, numbers without end.
        """
        self._skip()
        value = self._value(0)
        self._skip()
        if self.at < len(self.text):
            self._fail("Something follows the end")
        return value

    def _value(self, depth: int) -> JsonValue:
        if depth > DEEPEST:
            refuse("too_deep", f"The body is nested deeper than {DEEPEST} levels.")
        self.values += 1
        if self.values > MOST_VALUES:
            refuse("too_many_values", f"The body is no strict JSON, and has more than {MOST_VALUES} values.")
        start = self.text[self.at : self.at + 1]
        if start == "{" and not self._is_placeholder():
            return self._object(depth)
        if start == "[":
            return self._list(depth)
        return self._text() if start in _TEXTS else self._word()

    def _object(self, depth: int) -> JsonValue:
        self.at += 1
        pairs: list[tuple[str, JsonValue]] = []
        self._skip()
        while self._next() != "}":
            key = self._key()
            self._skip()
            start = self.at
            pairs.append((key, self._value(depth + 1)))
            self.members.append(Member(key, start, self.at))
            self._end_of_value("}")
        self.at += 1
        return without_duplicates(pairs)

    def _list(self, depth: int) -> JsonValue:
        self.at += 1
        values: list[JsonValue] = []
        self._skip()
        while self._next() != "]":
            values.append(self._value(depth + 1))
            self._end_of_value("]")
        self.at += 1
        return values

    def _end_of_value(self, closing: str) -> None:
        before = self.at
        self._skip()
        if self._next() == ",":
            self.at += 1
            self._skip()
        elif self._next() != closing and "\n" not in self.text[before : self.at]:
            self._fail("A comma or a closing bracket is missing")

    def _key(self) -> str:
        if self._next() in _TEXTS:
            key = str(self._text())
        else:
            match = _KEY.match(self.text, self.at)
            if match is None:
                self._fail("A name and a colon are missing")
            self.at = match.end()
            key = match.group().strip()
        self._skip()
        if self._next() != ":":
            self._fail("A colon is missing")
        self.at += 1
        return key

    def _text(self) -> str:
        match = _TEXTS[self._next()].match(self.text, self.at + 1)
        if match is None:
            self._fail("A text does not end")
        raw = match.group()[:-1]
        self.at = match.end()
        if "\\" not in raw:
            return raw
        try:
            return str(json.loads('"' + re.sub(r'\\(.)|"', _escaped, raw, flags=re.DOTALL) + '"', strict=False))
        except ValueError:
            return raw

    def _word(self) -> JsonValue:
        match = _WORD.match(self.text, self.at)
        raw = match.group() if match else ""
        word = raw.partition(" //")[0].strip()
        self.at += len(raw)
        if word.casefold() in _LITERALS:
            return _LITERALS[word.casefold()]
        if word in {"Infinity", "-Infinity"} or _UNDERSCORED.fullmatch(word):
            refuse(
                "not_a_number", f"{word[:40]} is not a number. Leave the field out, or send null.", found=shown(word)
            )
        if number := _NUMBER.fullmatch(word):
            literal: JsonValue = (self.numbers.broken if number[1] or number[2] else self.numbers.whole)(word)
            return literal
        return word

    def _is_placeholder(self) -> bool:
        return self.text.startswith("{{", self.at) and re.compile(PLACEHOLDER).match(self.text, self.at) is not None

    def _next(self) -> str:
        if self.at >= len(self.text):
            self._fail("The end is missing")
        return self.text[self.at]

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def _fail(self, message: str) -> NoReturn:
        raise NotNearlyJson(message, self.at)


def without_duplicates(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    """Return an object of these pairs.

    :raises UnreadableAlert: when a key occurs twice.
    """
    read = dict(pairs)
    if len(read) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                twice = shown(key)
                refuse("duplicate_key", f"The key {twice} occurs twice in one object: which one counts?", found=twice)
            seen.add(key)
    return read


def _escaped(match: re.Match[str]) -> str:
    """Keep what JSON escapes, and escape what it would not understand."""
    if match.group() == '"':
        return '\\"'
    return match.group() if match[1] in '"\\/bfnrtu' else f"\\\\{match[1]}" if match[1] != "'" else "'"
