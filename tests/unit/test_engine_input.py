"""The text that both engines receive: its exact form, and that it tells nobody who may trade."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.engine_input import SignalFacts, Snapshot, build_engine_input

EXPERIMENT = UUID("0192f0a0-0000-83a8-a210-8b9158f818d1")
SIGNAL = UUID("0192f0a0-0000-7000-8000-000000000001")
AT = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)


def facts(**overrides: Any) -> SignalFacts:
    fields: dict[str, Any] = {
        "signal_id": SIGNAL,
        "signal_hash": "0" * 64,
        "symbol": "SPY",
        "direction": "long",
        "timeframe": "5",
        "timestamp": AT,
        "raw_payload": {"ticker": "SPY", "close": 589.12},
    }
    return SignalFacts(**(fields | overrides))


def market(**overrides: Any) -> Snapshot:
    fields: dict[str, Any] = {"current_price": None, "bid": None, "ask": None, "volume": None, "indicators": {}}
    return Snapshot(**(fields | overrides))


@pytest.mark.requirement("1.3", "property-3")
def test_the_text_is_the_published_one_to_the_byte() -> None:
    text = build_engine_input(EXPERIMENT, facts(), market(current_price=Decimal("589.12000000")))
    assert text == (
        '{"experiment_id":"0192f0a0-0000-83a8-a210-8b9158f818d1","market_context":{"ask":null,"bid":null,'
        '"current_price":"589.12","indicators":{},"symbol":"SPY","timestamp":"2026-03-02T14:30:00.000000Z",'
        '"volume":null},"schema":"engine-input/1","signal":{"direction":"long","raw_payload":{"close":589.12,'
        f'"ticker":"SPY"}},"signal_hash":"{"0" * 64}","signal_id":"0192f0a0-0000-7000-8000-000000000001",'
        '"symbol":"SPY","timeframe":"5","timestamp":"2026-03-02T14:30:00.000000Z"}}'
    )


@pytest.mark.requirement("1.2", "property-2")
def test_what_is_not_known_is_null_and_what_is_zero_is_zero() -> None:
    context = json.loads(build_engine_input(EXPERIMENT, facts(), market(bid=Decimal("0E-8"), volume=0)))[
        "market_context"
    ]
    assert context["current_price"] is None
    assert context["ask"] is None
    assert context["bid"] == "0"
    assert context["volume"] == 0


@pytest.mark.requirement("1.2")
@given(price=st.decimals(min_value=0, max_value=10**11, places=8, allow_nan=False))
def test_a_price_keeps_every_digit_without_exponent(price: Decimal) -> None:
    text = json.loads(build_engine_input(EXPERIMENT, facts(), market(ask=price)))["market_context"]["ask"]
    assert Decimal(text) == price
    assert "E" not in text.upper()
    assert not (("." in text) and text.endswith("0"))


@pytest.mark.requirement("6.4")
@given(hours=st.integers(min_value=-14, max_value=14))
def test_the_zone_in_which_a_time_is_read_back_does_not_matter(hours: int) -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=hours)))
    assert build_engine_input(EXPERIMENT, facts(timestamp=elsewhere), market()) == build_engine_input(
        EXPERIMENT, facts(), market()
    )


payloads = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.requirement("1.4", "property-4")
@given(payload=st.dictionaries(st.text(), payloads))
def test_the_payload_arrives_unchanged(payload: dict[str, Any]) -> None:
    text = build_engine_input(EXPERIMENT, facts(raw_payload=payload), market())
    assert json.loads(text)["signal"]["raw_payload"] == payload


@pytest.mark.requirement("1.3", "property-3")
def test_nothing_tells_an_engine_its_role() -> None:
    def keys(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set(value) | {name for member in value.values() for name in keys(member)}
        return set()

    found = keys(json.loads(build_engine_input(EXPERIMENT, facts(), market())))
    assert found == {
        "experiment_id", "market_context", "ask", "bid", "current_price", "indicators", "symbol", "timestamp", "volume",
        "schema", "signal", "direction", "raw_payload", "signal_hash", "signal_id", "timeframe", "ticker", "close",
    }  # fmt: skip


@pytest.mark.requirement("1.2")
def test_indicators_come_in_one_order() -> None:
    one = build_engine_input(EXPERIMENT, facts(), market(indicators={"rsi": "55.1", "atr": "2"}))
    two = build_engine_input(EXPERIMENT, facts(), market(indicators={"atr": "2", "rsi": "55.1"}))
    assert one == two
