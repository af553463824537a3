"""The market context of a signal: what its alert carried, and for the rest the newest quote that others pushed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings

from orchestrator.domain.amounts import decimal_string
from orchestrator.domain.engine_input import SignalFacts, Snapshot, build_engine_input
from orchestrator.domain.moments import moment_string
from orchestrator.models import MarketContext, MarketQuote
from webhooks.alerts import read_market_fields, read_payload
from webhooks.canonical import sha256_hex
from webhooks.models import Signal

PRICES = ("current_price", "bid", "ask")


@dataclass(slots=True)
class MarketState:
    """What is known at a signal's time, and for each value where it came from."""

    values: dict[str, Any]
    indicators: dict[str, str]
    provenance: dict[str, Any] = field(default_factory=dict)

    def snapshot(self) -> Snapshot:
        return Snapshot(**self.values, indicators=self.indicators)


def build_contexts(
    signals: Sequence[Signal], *, experiment_ids: Mapping[UUID, UUID], at: datetime
) -> list[MarketContext]:
    """Return one unsaved context per signal, in the same order; one query, whatever their number.

    :param at: the time of distribution.
    """
    quotes = _newest_quotes(signals)
    return [
        _context(signal, quotes.get(signal.signal_id), experiment_id=experiment_ids[signal.signal_id], at=at)
        for signal in signals
    ]


def signal_facts(signal: Signal) -> SignalFacts:
    """Return the part of a stored signal that engines see."""
    return SignalFacts(
        signal_id=signal.signal_id,
        signal_hash=signal.signal_hash,
        symbol=signal.symbol,
        direction=signal.direction,
        timeframe=signal.timeframe,
        timestamp=signal.timestamp,
        raw_payload=read_payload(signal.raw_body),
    )


def _context(signal: Signal, quote: MarketQuote | None, *, experiment_id: UUID, at: datetime) -> MarketContext:
    market = _market_state(signal, quote)
    engine_input = build_engine_input(experiment_id, signal_facts(signal), market.snapshot())
    return MarketContext(
        signal=signal,
        timestamp=signal.timestamp,
        symbol=signal.symbol,
        **market.values,
        indicators=market.indicators,
        provenance=market.provenance,
        engine_input=engine_input,
        context_hash=sha256_hex(engine_input),
        distributed_at=at,
    )


def _market_state(signal: Signal, quote: MarketQuote | None) -> MarketState:
    alert = read_market_fields(signal.raw_body)
    carried: dict[str, Any] = {
        "current_price": alert.current_price,
        "bid": alert.bid,
        "ask": alert.ask,
        "volume": alert.volume,
    }
    pushed: dict[str, Any] = {
        "current_price": quote and quote.price,
        "bid": quote and quote.bid,
        "ask": quote and quote.ask,
        "volume": quote and quote.volume,
    }
    indicators = {name: decimal_string(value) for name, value in alert.indicators.items()}
    provenance: dict[str, Any] = dict.fromkeys(indicators, "alert")
    for name, value in (quote.indicators if quote else {}).items():
        if name not in indicators:
            indicators[name], provenance[name] = decimal_string(Decimal(str(value))), "quote"
    market = MarketState(
        values={name: pushed[name] if value is None else value for name, value in carried.items()},
        indicators=indicators,
    )
    market.provenance = {
        **{
            name: "alert" if carried[name] is not None else "quote" if value is not None else None
            for name, value in market.values.items()
        },
        "indicators": provenance,
        "quote": quote and {"id": str(quote.id), "quoted_at": moment_string(quote.quoted_at)},
    }
    return market


def _newest_quotes(signals: Sequence[Signal]) -> dict[UUID, MarketQuote]:
    """Return for each signal the newest quote of its symbol: not later than it, not older than the setting."""
    found = MarketQuote.objects.raw(
        """
        SELECT quote.*, wanted.signal_id
          FROM unnest(%(ids)s::uuid[], %(symbols)s::text[], %(times)s::timestamptz[])
               AS wanted (signal_id, symbol, at)
         CROSS JOIN LATERAL (
               SELECT * FROM market_quotes
                WHERE symbol = wanted.symbol AND quoted_at <= wanted.at
                  AND quoted_at >= wanted.at - make_interval(secs => %(age)s)
                ORDER BY quoted_at DESC LIMIT 1) AS quote
        """,
        {
            "ids": [signal.signal_id for signal in signals],
            "symbols": [signal.symbol for signal in signals],
            "times": [signal.timestamp for signal in signals],
            "age": settings.QUOTE_MAX_AGE_SECONDS,
        },
    )
    return {quote.signal_id: quote for quote in found}  # type: ignore[attr-defined]
