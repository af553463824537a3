"""What a body says once it is read, and how a body that says nothing is refused."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import NoReturn, TypeAlias

from webhooks.alerts.problems import Problem, UnreadableAlert

JsonValue: TypeAlias = "bool | int | float | Decimal | str | list[JsonValue] | dict[str, JsonValue] | None"

DEEPEST = 32
LONGEST_INTEGER = 100  # digits; PostgreSQL, engines and people stop making sense of a number well before
EXAMPLE = '{"ticker": "{{ticker}}", "action": "buy", "interval": "{{interval}}", "time": "{{time}}"}'
ACCEPTED = (
    "a JSON object in UTF-8, at most 64 KiB and 32 levels deep, or a text such as ticker=SPY, action=buy, interval=15"
)
DEEPEST_LEVEL = (
    3  # objects within objects that are looked into: {"strategy": {"order": {"action": "buy"}}} is at level 2
)
# An object of this name tells how the position shall end one day, and with which order.
_PLAN = re.compile(
    r"(?:takeprofits?|stoploss(?:es)?|tps?|sls?|targets?|profittargets?|trailing(?:stop|loss)?|trailstop|brackets?)[0-9]*"
)
_SEPARATORS = re.compile(r"[\s_.\-]+")

Level: TypeAlias = Mapping[str, list[tuple[str, JsonValue]]]


class Form(StrEnum):
    """How a body was written."""

    JSON = "json"
    NEARLY_JSON = "nearly_json"
    TEXT = "text"


@dataclass(frozen=True)
class Body:
    """What a body says: ``payload`` is what is hashed and stored, ``fields`` the object that carries the four fields.

    ``prefix`` is the path from the payload to that object: empty, or ``[0].`` for a list of one. ``wrapped`` are the pairs
    of a text that the object carries instead of fields of its own, and ``wrapper`` is where that text stands.
    """

    payload: JsonValue
    fields: Mapping[str, JsonValue]
    prefix: str = ""
    form: Form = Form.JSON
    wrapped: Mapping[str, JsonValue] = field(default_factory=dict)
    wrapper: str = ""

    @cached_property
    def levels(self) -> list[Level]:
        """The given values by plain name, with their paths, level by level; the pairs of a wrapped text come last."""
        levels: list[Level] = []
        objects: list[tuple[str, Mapping[str, JsonValue]]] = [(self.prefix, self.fields)]
        while objects and len(levels) <= DEEPEST_LEVEL:
            levels.append(_by_name(objects))
            objects = [
                (f"{prefix}{key}.{place}", within)
                for prefix, fields in objects
                for key, value in fields.items()
                for place, within in _objects_in(value)
                if not _PLAN.fullmatch(plain_name(key))
            ]
        if self.wrapped:
            levels.append(_by_name([(f"{self.wrapper}: ", self.wrapped)]))
        return levels

    @cached_property
    def names(self) -> frozenset[str]:
        """The plain names of all given values, at any level."""
        return frozenset().union(*self.levels)


def plain_name(key: str) -> str:
    """Return a key without case and separators."""
    if key.isascii() and key.isalnum() and key.islower():  # as most are
        return key
    return _SEPARATORS.sub("", key).casefold()


def is_given(value: JsonValue) -> bool:
    """Tell whether a value says anything: null and the empty text do not."""
    return value is not None and not (isinstance(value, str) and not value.strip())


def refuse(code: str, message: str, *, found: str | None = None) -> NoReturn:
    """Refuse a body as a whole.

    :raises UnreadableAlert: always.
    """
    raise UnreadableAlert(
        [Problem(field="body", code=code, message=message, accepted=ACCEPTED, example=EXAMPLE, found=found)]
    )


def _objects_in(value: JsonValue) -> list[tuple[str, Mapping[str, JsonValue]]]:
    """Return the object that a value is, or the only one of a list, with its place in the value."""
    if isinstance(value, dict):
        return [("", value)]
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        return [("0.", value[0])]
    return []


def _by_name(objects: list[tuple[str, Mapping[str, JsonValue]]]) -> Level:
    names: dict[str, list[tuple[str, JsonValue]]] = {}
    for prefix, fields in objects:
        for key, value in fields.items():
            if is_given(value) and not _objects_in(value):
                names.setdefault(plain_name(key), []).append((f"{prefix}{key}", value))
    return names
