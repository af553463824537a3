"""PURE: a policy in words that could have been in force: a mode, or rules about what is known before an engine answers.

    ENGINE_B_PRIMARY
    SPLIT_CAPITAL:30
    symbol=SPY|QQQ & hour=14-20 -> ENGINE_B_PRIMARY; timeframe=5 -> SHADOW_ONLY; ENGINE_A_PRIMARY

The first rule whose conditions all hold decides; a mode without conditions is the rule for the rest, without it nobody executes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.domain.vocabulary import Direction, RequestedMode
from webhooks.alerts.problems import Unreadable
from webhooks.alerts.symbols import read_symbol
from webhooks.alerts.timeframes import read_timeframe

LONGEST = 1000
MOST_RULES = 20
HOURS = 24
WHOLE = 100
MODES = tuple(mode for mode in RequestedMode if mode is not RequestedMode.AUTO)
ACCEPTED = (
    f"one of {', '.join(MODES)} (SPLIT_CAPITAL:30 gives engine A 30 %), or rules such as "
    "symbol=SPY|QQQ & hour=14-20 -> ENGINE_B_PRIMARY; ENGINE_A_PRIMARY, with the conditions symbol, timeframe, direction and "
    "hour (UTC of the receipt, 14-20 from 14:00 up to 20:00)"
)
_HOURS = re.compile(r"([0-9]{1,2})(?:-([0-9]{1,2}))?")
_SPLIT = re.compile(r"SPLIT_CAPITAL:([0-9]{1,3})")


class UnreadablePolicy(ValueError):
    """A policy that cannot be read; the message says which part."""


@dataclass(frozen=True, slots=True)
class KnownBefore:
    """What is known of a signal when it is decided who executes."""

    symbol: str
    timeframe: str
    direction: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Asked:
    """What an operator would have asked for; ``split_percentage`` is engine A's part, 0 to 100."""

    mode: RequestedMode
    split_percentage: int = 50


@dataclass(frozen=True, slots=True)
class Condition:
    """``name`` is a member of KnownBefore or ``hour``; any of ``values`` will do."""

    name: str
    values: frozenset[str]

    def holds(self, signal: KnownBefore) -> bool:
        if self.name == "hour":
            return str(signal.received_at.hour) in self.values
        return str(getattr(signal, self.name)) in self.values


@dataclass(frozen=True, slots=True)
class Rule:
    conditions: tuple[Condition, ...]
    asked: Asked


@dataclass(frozen=True, slots=True)
class HypotheticalPolicy:
    """``text`` is how it was written, which is its name too."""

    text: str
    rules: tuple[Rule, ...]

    def asks(self, signal: KnownBefore) -> Asked:
        """Return what would have been asked for."""
        for rule in self.rules:
            if all(condition.holds(signal) for condition in rule.conditions):
                return rule.asked
        return Asked(RequestedMode.SHADOW_ONLY)


def read_policy(text: str) -> HypotheticalPolicy:
    """Read a policy.

    :raises UnreadablePolicy: saying which part cannot be read and what is accepted.
    """
    written = " ".join(text.split())
    if not written or len(written) > LONGEST:
        raise UnreadablePolicy(f"The policy is {'empty' if not written else 'too long'}. Accepted: {ACCEPTED}.")
    parts = [part.strip() for part in written.rstrip(";").split(";")]
    if len(parts) > MOST_RULES:
        raise UnreadablePolicy(f"The policy has {len(parts)} rules. Accepted: at most {MOST_RULES}.")
    rules = tuple(_rule(part) for part in parts)
    for rule, part in zip(rules[:-1], parts[:-1], strict=True):
        if not rule.conditions:
            raise UnreadablePolicy(f"{part!r} decides everything, so nothing after it counts: write it last.")
    return HypotheticalPolicy(written, rules)


def _rule(part: str) -> Rule:
    before, arrow, mode = part.rpartition("->")
    if not arrow:
        return Rule((), _asked(part))
    return Rule(tuple(_condition(one.strip()) for one in before.split("&")), _asked(mode.strip()))


def _asked(text: str) -> Asked:
    if split := _SPLIT.fullmatch(text):
        percentage = int(split[1])
        if percentage > WHOLE:
            raise UnreadablePolicy(f"{text!r} gives engine A more than everything. Accepted: SPLIT_CAPITAL:0 to 100.")
        return Asked(RequestedMode.SPLIT_CAPITAL, percentage)
    try:
        mode = RequestedMode(text)
    except ValueError:
        raise UnreadablePolicy(f"{text[:60]!r} is no mode. Accepted: {ACCEPTED}.") from None
    if mode not in MODES:
        raise UnreadablePolicy(f"{text!r} stands for a mode that depends on the house. Accepted: {', '.join(MODES)}.")
    return Asked(mode)


def _condition(text: str) -> Condition:
    name, equals, values = (piece.strip() for piece in text.partition("="))
    readers = {"symbol": _symbol, "timeframe": _timeframe, "direction": _direction, "hour": _hours}
    if not equals or name not in readers or not values:
        raise UnreadablePolicy(
            f"{text[:60]!r} is no condition. Accepted: {', '.join(readers)}, each = one or more by |."
        )
    found: set[str] = set()
    for value in values.split("|"):
        found |= readers[name](value.strip())
    return Condition(name, frozenset(found))


def _symbol(text: str) -> set[str]:
    try:
        return {read_symbol(text)[0]}
    except Unreadable as error:
        raise UnreadablePolicy(f"symbol: {error}") from None


def _timeframe(text: str) -> set[str]:
    try:
        return {read_timeframe(text)}
    except Unreadable as error:
        raise UnreadablePolicy(f"timeframe: {error}") from None


def _direction(text: str) -> set[str]:
    if text not in tuple(Direction):
        raise UnreadablePolicy(f"direction is {text[:60]!r}. Accepted: {' or '.join(Direction)}.")
    return {text}


def _hours(text: str) -> set[str]:
    """Return the hours from the first up to the second, over midnight where the second is not the later one."""
    match = _HOURS.fullmatch(text)
    first, last = (int(match[1]), int(match[2] or int(match[1]) + 1)) if match else (HOURS, HOURS)
    if first >= HOURS or last > HOURS:
        raise UnreadablePolicy(f"hour is {text[:60]!r}. Accepted: 14, or 14-20 (UTC, from 14:00 up to 20:00), 0 to 24.")
    hours: Sequence[int] = range(first, last if last > first else last + HOURS)
    return {str(hour % HOURS) for hour in hours}
