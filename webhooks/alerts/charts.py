"""What TradingView fills into a message: a few charts that differ in all that breaks messages."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

_PLACEHOLDER = re.compile(r"\{\{([^{}]{1,100})\}\}")
_PLOT = re.compile(r"plot(_[0-9]{1,2}|\(.{0,90}\))")


@dataclass(frozen=True, slots=True)
class Chart:
    """One alert as it fires on one chart: what each placeholder becomes. ``is_exit`` when the order closes a position."""

    name: str
    values: Mapping[str, str]
    plot: str = "61.25"
    is_exit: bool = False


def placeholders_in(text: str) -> list[str]:
    """Return the names of the placeholders of a message, each once, in their order."""
    return list(dict.fromkeys(match[1] for match in _PLACEHOLDER.finditer(text)))


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return the message with its placeholders replaced; those that TradingView does not know stay as they are."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def charts_for(placeholders: Collection[str], at: datetime) -> list[Chart]:
    """Return the charts to try a message on that has these placeholders, as of that moment."""
    now = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    values = {"ticker": "AAPL", "exchange": "NASDAQ", "interval": "15", "time": now, "timenow": now, "close": "231.5",
              "strategy.order.action": "buy", "strategy.market_position": "long"}  # fmt: skip
    return [Chart("Stock, 15 minutes", values)]
