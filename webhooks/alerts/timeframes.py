"""Timeframes as TradingView writes them: minutes bare (15, 60, 240), else 30S, 1D, 1W, 1M."""

import re

from webhooks.alerts.problems import Unreadable, shown
from webhooks.alerts.values import JsonValue

ACCEPTED = "15, 60 or 240 (minutes), 15m, 1h, 30S, D, 1D, 1W, 1M (M is a month, m a minute)"
EXAMPLE = '"interval": "{{interval}}"'

# Everything but M is read in either case: M is a month and m a minute.
_UNITS = {
    "s": "S", "sec": "S", "secs": "S", "second": "S", "seconds": "S",
    "min": "", "mins": "", "minute": "", "minutes": "",
    "h": "h", "hr": "h", "hrs": "h", "hour": "h", "hours": "h",
    "d": "D", "day": "D", "days": "D", "daily": "D",
    "w": "W", "wk": "W", "week": "W", "weeks": "W", "weekly": "W",
    "mo": "M", "mon": "M", "month": "M", "months": "M", "monthly": "M",
    "t": "T", "tick": "T", "ticks": "T", "r": "R",
}  # fmt: skip
_COUNT_FIRST = re.compile(r"([0-9]{0,5})\s*([A-Za-z]*)")
_METATRADER = re.compile(r"(MN|[HDW])([0-9]{1,2})|M([0-9]{1,2})")


def read_timeframe(value: JsonValue) -> str:
    """Return a timeframe in TradingView's spelling: ``1h`` is ``60``, ``D`` is ``1D``.

    :raises Unreadable: when it is not a timeframe.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Unreadable("wrong_type", f"{shown(value)} is not a timeframe.")
    text = str(value).strip()
    if isinstance(value, float):
        text = text.removesuffix(".0")
    if (match := _COUNT_FIRST.fullmatch(text)) and (spelled := _spelled(match[1], match[2])):
        return spelled
    if (match := _METATRADER.fullmatch(text)) and (spelled := _from_metatrader(match)):
        return spelled
    raise Unreadable("unknown_timeframe", f"{shown(value)} is not a timeframe.")


def _spelled(digits: str, unit: str) -> str | None:
    count = int(digits or 1)
    if count == 0 or not (digits or unit):
        return None
    if unit == "M":
        return f"{count}M"
    code = "" if unit in {"", "m"} else _UNITS.get(unit.casefold())
    if code is None:
        return None
    return str(count * 60) if code == "h" else f"{count}{code}"


def _from_metatrader(match: re.Match[str]) -> str | None:
    """H4 and M15 as MetaTrader writes them; M1 is refused, for here M1 may be a minute or a month."""
    if match[3]:
        return str(int(match[3])) if int(match[3]) > 1 else None
    return _spelled(match[2], "M" if match[1] == "MN" else match[1])
