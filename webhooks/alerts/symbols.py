"""Symbols as TradingView writes them: the exchange apart, the rest as given."""

import re

from webhooks.alerts.problems import Unreadable, shown
from webhooks.alerts.values import JsonValue

ACCEPTED = "a symbol of at most 64 characters, with or without its exchange, in quotes"
EXAMPLE = '"ticker": "{{ticker}}", which gives SPY; NASDAQ:AAPL is read too'
LONGEST = 64
# ASCII only: look-alikes, zero-width and right-to-left characters name another symbol than the one that is read.
# The one space is that of a futures contract as NinjaTrader names it: "ES 12-26", "ES DEC26".
_SYMBOL = re.compile(r"[\^.$#@]?[A-Za-z0-9][A-Za-z0-9._!/&+*^=@#$()'\-]*(?: (?:[0-9]{2}-|[A-Z]{3})[0-9]{2})?")
_EXCHANGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\- ]{0,31}")
_DELAYED = re.compile(r"_(DLY|DL|DELAYED)$", re.IGNORECASE)


def read_symbol(value: JsonValue) -> tuple[str, str | None]:
    """Return the symbol and its exchange: ``NASDAQ:AAPL`` is AAPL at NASDAQ, ``CME_MINI_DL:ES1!`` ES1! at CME_MINI.

    :raises Unreadable: when it is not a symbol.
    """
    if not isinstance(value, str):
        raise Unreadable("wrong_type", f"{shown(value)} is not a text. A symbol stands in quotes.")
    exchange, colon, symbol = value.strip().rpartition(":")
    if colon and not _EXCHANGE.fullmatch(exchange):
        raise Unreadable("unknown_symbol", f"{shown(value)} names no exchange before the colon.")
    if len(symbol) > LONGEST:
        raise Unreadable("too_long", f"{shown(value)} is longer than {LONGEST} characters.")
    if not _SYMBOL.fullmatch(symbol):
        raise Unreadable("unknown_symbol", f"{shown(value)} is not spelled like a symbol.")
    return symbol, read_exchange(exchange) if colon else None


def is_title(value: JsonValue) -> bool:
    """Tell whether a value is what something is called rather than what is traded: "GoldenCross", "Trend bot 2"."""
    return isinstance(value, str) and value.upper() != value != value.lower()


def read_exchange(value: JsonValue) -> str | None:
    """Return an exchange without the mark of delayed data; None when there is none to read."""
    if not isinstance(value, str) or not _EXCHANGE.fullmatch(value.strip()):
        return None
    return _DELAYED.sub("", value.strip())
