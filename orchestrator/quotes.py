"""Quotes that the platform's data service pushes: read strictly, stored once, never overwritten."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from config.keys import new_key
from orchestrator.domain.amounts import UnreadableAmount, read_amount
from orchestrator.domain.moments import UnreadableMoment, moment_string, read_moment
from webhooks.alerts.problems import Unreadable
from webhooks.alerts.symbols import ACCEPTED as A_SYMBOL
from webhooks.alerts.symbols import read_symbol

MOST_QUOTES = 1000
MOST_INDICATORS = 200
LONGEST_INDICATOR_NAME = 100
FARTHEST_AHEAD = timedelta(minutes=1)
LARGEST_VOLUME = 2**63 - 1
LONGEST_NUMBER = 64  # digits, written out
PRICES = ("price", "bid", "ask")
KEYS = ("symbol", "quoted_at", *PRICES, "volume", "indicators")


@dataclass(frozen=True, slots=True)
class QuoteProblem:
    """One thing wrong with one quote; ``field`` is ``<its place in the list>.<key>``."""

    field: str
    found: Any
    accepted: str


class UnreadableQuotes(ValueError):
    """Nothing was stored; ``problems`` name every fault."""

    def __init__(self, problems: Sequence[QuoteProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(f"{problem.field}: accepted is {problem.accepted}." for problem in problems[:5]))


@dataclass(frozen=True, slots=True)
class Quote:
    """What was quoted for a symbol at one moment; unknown is None. ``indicators`` are decimal strings by name."""

    symbol: str
    quoted_at: datetime
    price: Decimal | None
    bid: Decimal | None
    ask: Decimal | None
    volume: int | None
    indicators: Mapping[str, str]

    @property
    def key(self) -> tuple[str, datetime]:
        return self.symbol, self.quoted_at


@dataclass(frozen=True, slots=True)
class StoredQuotes:
    """How many were new, how many were known with the same content, and which were known with another one."""

    stored: int
    duplicates: int
    conflicts: tuple[Quote, ...]


def read_quotes(posted: Any, *, at: datetime) -> list[Quote]:
    """Return the quotes of a JSON value, one object or a list of 1 to 1,000.

    :raises UnreadableQuotes: when any of them makes no sense.
    """
    members = posted if isinstance(posted, list) else [posted]
    if not 1 <= len(members) <= MOST_QUOTES:
        raise UnreadableQuotes([QuoteProblem("body", f"{len(members)} quotes", f"1 to {MOST_QUOTES} quotes")])
    problems: list[QuoteProblem] = []
    quotes = []
    for place, member in enumerate(members):
        reading = _Reading(f"{place}." if isinstance(posted, list) else "", problems)
        quote = reading.quote(member, at=at)
        if quote is not None:
            quotes.append(quote)
    if problems:
        raise UnreadableQuotes(problems)
    return quotes


def store_quotes(quotes: Sequence[Quote]) -> StoredQuotes:
    """Store what is new, in one statement, and compare the rest with what is stored: the first word stands."""
    first: dict[tuple[str, datetime], Quote] = {}
    for quote in quotes:
        first.setdefault(quote.key, quote)
    ordered = [first[key] for key in sorted(first)]  # one order for all, so that two pushes cannot deadlock
    new = _insert(ordered)
    known = {**first, **_known([quote for quote in ordered if quote.key not in new])}
    repeated = [quote for quote in quotes if quote.key not in new or quote is not first[quote.key]]
    conflicts = tuple(quote for quote in repeated if quote != known[quote.key])
    return StoredQuotes(stored=len(new), duplicates=len(repeated) - len(conflicts), conflicts=conflicts)


def _insert(quotes: Sequence[Quote]) -> set[tuple[str, datetime]]:
    """Insert the quotes whose symbol and time are new, and return the keys of those."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO market_quotes (id, symbol, quoted_at, price, bid, ask, volume, indicators)
            SELECT * FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::numeric[], %s::numeric[], %s::numeric[],
                                 %s::bigint[], %s::jsonb[])
            ON CONFLICT (symbol, quoted_at) DO NOTHING
            RETURNING symbol, quoted_at
            """,
            [
                [new_key() for _ in quotes],
                [quote.symbol for quote in quotes],
                [quote.quoted_at for quote in quotes],
                [quote.price for quote in quotes],
                [quote.bid for quote in quotes],
                [quote.ask for quote in quotes],
                [quote.volume for quote in quotes],
                [json.dumps(quote.indicators) for quote in quotes],
            ],
        )
        return set(cursor.fetchall())


def _known(quotes: Sequence[Quote]) -> dict[tuple[str, datetime], Quote]:
    """Return what is stored under the keys of these quotes."""
    if not quotes:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT symbol, quoted_at, price, bid, ask, volume, indicators::text
              FROM market_quotes JOIN unnest(%s::text[], %s::timestamptz[]) AS wanted (symbol, quoted_at)
                   USING (symbol, quoted_at)
            """,
            [[quote.symbol for quote in quotes], [quote.quoted_at for quote in quotes]],
        )
        found = [
            Quote(symbol, quoted_at, price, bid, ask, volume, json.loads(text))
            for symbol, quoted_at, price, bid, ask, volume, text in cursor.fetchall()
        ]
    return {quote.key: quote for quote in found}


@dataclass(frozen=True, slots=True)
class _Reading:
    """The reading of one quote; what is wrong with it goes to ``problems``."""

    prefix: str
    problems: list[QuoteProblem]

    def quote(self, member: Any, *, at: datetime) -> Quote | None:
        """Return the quote, or None when it makes no sense."""
        before = len(self.problems)
        if not isinstance(member, dict):
            self._refuse("", member, f"an object with {', '.join(KEYS)}")
            return None
        for key in member:
            if key not in KEYS:
                self._refuse(key[:100], member[key], f"no such key; there are {', '.join(KEYS)}")
        symbol, quoted_at = self._symbol(member.get("symbol")), self._time(member.get("quoted_at"), at=at)
        price, bid, ask = (self._price(name, member.get(name)) for name in PRICES)
        volume = self._volume(member.get("volume"))
        indicators = self._indicators(member.get("indicators"))
        if len(self.problems) == before and not indicators and (price, bid, ask, volume) == (None,) * 4:
            self._refuse("price", None, "at least one of price, bid, ask, volume and indicators")
        if len(self.problems) > before or symbol is None or quoted_at is None:
            return None
        return Quote(symbol, quoted_at, price, bid, ask, volume, indicators)

    def _symbol(self, value: Any) -> str | None:
        try:
            return read_symbol(value)[0]
        except Unreadable:
            self._refuse("symbol", value, A_SYMBOL)
            return None

    def _time(self, value: Any, *, at: datetime) -> datetime | None:
        try:
            moment = read_moment(value, name="quoted_at")
        except UnreadableMoment:
            self._refuse("quoted_at", value, "an ISO 8601 time with a zone, such as 2026-03-02T14:30:00Z")
            return None
        if moment > at + FARTHEST_AHEAD:
            self._refuse("quoted_at", value, f"a time not more than a minute ahead; it is {moment_string(at)} here")
        return moment

    def _price(self, name: str, value: Any) -> Decimal | None:
        if value is None:
            return None
        try:
            return read_amount(value, name=name)
        except UnreadableAmount:
            self._refuse(name, value, "a finite decimal number of at least 0, below 10^12, or null")
            return None

    def _volume(self, value: Any) -> int | None:
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_VOLUME):
            return value
        self._refuse("volume", value, "a whole number from 0 to 2^63 - 1, or null")
        return None

    def _indicators(self, value: Any) -> dict[str, str]:
        if value is None:
            return {}
        if not isinstance(value, dict) or len(value) > MOST_INDICATORS:
            self._refuse("indicators", value, f"an object of at most {MOST_INDICATORS} names with numbers, or null")
            return {}
        read = {}
        for name, number in value.items():
            text = _number(number)
            if text is None or not 1 <= len(name) <= LONGEST_INDICATOR_NAME:
                self._refuse(
                    f"indicators.{name[:LONGEST_INDICATOR_NAME]}",
                    number,
                    f"a finite decimal number of at most {LONGEST_NUMBER} digits, by a name of 1 to "
                    f"{LONGEST_INDICATOR_NAME} characters",
                )
            else:
                read[name] = text
        return read

    def _refuse(self, key: str, found: Any, accepted: str) -> None:
        self.problems.append(QuoteProblem(f"{self.prefix}{key}".rstrip("."), found, accepted))


def _number(value: Any) -> str | None:
    """Return a number, or a text that is one, as a decimal string with all its digits; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    if isinstance(value, str) and (len(value) > LONGEST_NUMBER or not value.isascii() or "_" in value):
        return None
    try:
        number = Decimal(value)
    except ArithmeticError:
        return None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or max(number.adjusted() + 1, 1) + max(-exponent, 0) > LONGEST_NUMBER:
        return None
    return format(number, "f")
