"""The one text that both engines receive: built from the stored signal and its market context, the same for ever."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from orchestrator.domain.amounts import decimal_string
from orchestrator.domain.moments import moment_string
from webhooks.canonical import canonical

SCHEMA = "engine-input/1"


@dataclass(frozen=True, slots=True)
class SignalFacts:
    """The part of a signal that engines see. ``raw_payload`` is what was hashed."""

    signal_id: UUID
    signal_hash: str
    symbol: str
    direction: str
    timeframe: str
    timestamp: datetime
    raw_payload: Any


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the market as far as it is known; unknown is None, never 0 (property 2)."""

    current_price: Decimal | None
    bid: Decimal | None
    ask: Decimal | None
    volume: int | None
    indicators: Mapping[str, str]


def build_engine_input(experiment_id: UUID, signal: SignalFacts, market: Snapshot) -> str:
    """Return the canonical JSON text of schema ``engine-input/1``; it names no mode, role, variant or engine."""
    return canonical(
        {
            "schema": SCHEMA,
            "experiment_id": str(experiment_id),
            "signal": {
                "signal_id": str(signal.signal_id),
                "signal_hash": signal.signal_hash,
                "symbol": signal.symbol,
                "direction": signal.direction,
                "timeframe": signal.timeframe,
                "timestamp": moment_string(signal.timestamp),
                "raw_payload": signal.raw_payload,
            },
            "market_context": {
                "symbol": signal.symbol,
                "timestamp": moment_string(signal.timestamp),
                "current_price": _price(market.current_price),
                "bid": _price(market.bid),
                "ask": _price(market.ask),
                "volume": market.volume,
                "indicators": dict(market.indicators),
            },
        }
    )


def _price(price: Decimal | None) -> str | None:
    return None if price is None else decimal_string(price)
