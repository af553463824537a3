"""The settings that operators edit: what each of them accepts, and the sentence for what it does not."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.domain.vocabulary import RequestedMode

SMALLEST_SPLIT, LARGEST_SPLIT = 0, 100
SMALLEST_AGE_SECONDS, LARGEST_AGE_SECONDS = 1, 86_400
LONGEST_SHOWN = 60
WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class SenselessSetting(ValueError):
    """A value or a name that the panel does not know; the message names the key, what was found and what is accepted."""


def read_setting(key: str, value: Any) -> Any:
    """Return ``value``, typed or as text, as the value of a panel key (requirement 12.5).

    :raises SenselessSetting: when the key is unknown or the value is not one that it accepts.
    """
    if key not in READERS:
        raise SenselessSetting(
            f"{str(key)[:LONGEST_SHOWN]} is not a setting of the panel. Accepted: {', '.join(READERS)}."
        )
    return READERS[key](key, value.strip() if isinstance(value, str) else value)


def read_settings(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return every change as ``read_setting`` reads it.

    :raises SenselessSetting: for the first one that is refused.
    """
    return {key: read_setting(key, value) for key, value in changes.items()}


def _mode(key: str, value: Any) -> str:
    if not isinstance(value, str) or value not in list(RequestedMode):
        raise SenselessSetting(f"{key} is {_shown(value)}. Accepted: {', '.join(RequestedMode)}.")
    return RequestedMode(value).value


def _switch(key: str, value: Any) -> bool:
    found = WORDS.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise SenselessSetting(f"{key} is {_shown(value)}. Accepted: true or false.")
    return found


def _split(key: str, value: Any) -> int:
    return _whole(
        key,
        value,
        SMALLEST_SPLIT,
        LARGEST_SPLIT,
        unit="the percent of signals that engine A gets, without a fraction (50 is half of them, 1 is one in a hundred)",
    )


def _age(key: str, value: Any) -> int:
    return _whole(key, value, SMALLEST_AGE_SECONDS, LARGEST_AGE_SECONDS, unit="seconds, without a fraction")


def _whole(key: str, value: Any, lowest: int, highest: int, *, unit: str) -> int:
    """Read a whole number written as one; 0.5, 50.0, 1e2 and True are refused rather than guessed at."""
    digits = value if isinstance(value, str) else str(value) if isinstance(value, int) and abs(value) < 10**9 else ""
    if not re.fullmatch(r"[0-9]{1,9}", digits) or not lowest <= int(digits) <= highest:
        raise SenselessSetting(
            f"{key} is {_shown(value)}. Accepted: a whole number from {lowest} to {highest}: {unit}."
        )
    return int(digits)


def _shown(value: Any) -> str:
    try:
        shown = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}…"


READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "EXECUTION_MODE": _mode,
    "SPLIT_PERCENTAGE": _split,
    "TRADING_HALTED": _switch,
    "MAX_SIGNAL_AGE_SECONDS": _age,
}
