"""Market contexts: what the alert carried, else the newest quote that fits, else nothing; never anything invented."""

import json
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contexts import build_contexts
from orchestrator.experiments import create_experiments
from orchestrator.models import Experiment, Incident, MarketContext, MarketQuote
from orchestrator.queue import claim_signals, database_clock
from tests.factories import OPENED_AT, make_quote, make_revision, make_signal
from webhooks.canonical import canonical
from webhooks.models import Signal

pytestmark = pytest.mark.django_db

COLUMNS = ("current_price", "bid", "ask", "volume")


def processed(signal: Signal) -> MarketContext:
    create_experiments(claim_signals(limit=1000, lease_seconds=30))
    return MarketContext.objects.get(signal=signal)


def alerted(payload: dict[str, Any], **overrides: Any) -> Signal:
    return make_signal(payload=payload, timestamp=OPENED_AT, **overrides)


def age(seconds: float) -> Any:
    return OPENED_AT - timedelta(seconds=seconds)


@pytest.mark.requirement("1.2", "property-2", "9.1", "9.2", "9.3")
def test_a_context_is_what_the_alert_said_and_what_both_engines_get() -> None:
    signal = alerted({"ticker": "SPY", "close": 589.12, "bid": "589.1", "ask": 589.2, "volume": 1200, "rsi": "55.5"})
    context = processed(signal)
    assert (context.symbol, context.timestamp) == ("SPY", OPENED_AT)
    assert [getattr(context, name) for name in COLUMNS] == [
        Decimal("589.12"),
        Decimal("589.1"),
        Decimal("589.2"),
        1200,
    ]
    assert context.indicators == {"rsi": "55.5"}
    assert context.provenance["current_price"] == context.provenance["indicators"]["rsi"] == "alert"
    assert json.loads(context.engine_input) == {
        "schema": "engine-input/1",
        "experiment_id": str(Experiment.objects.get().pk),
        "signal": {
            "signal_id": str(signal.pk),
            "signal_hash": signal.signal_hash,
            "symbol": "SPY",
            "direction": "long",
            "timeframe": "5",
            "timestamp": "2026-03-02T14:30:00.000000Z",
            "raw_payload": signal.raw_payload,
        },
        "market_context": {
            "symbol": "SPY",
            "timestamp": "2026-03-02T14:30:00.000000Z",
            "current_price": "589.12",
            "bid": "589.1",
            "ask": "589.2",
            "volume": 1200,
            "indicators": {"rsi": "55.5"},
        },
    }


@pytest.mark.requirement("property-2", "7.1")
def test_what_nobody_said_is_unknown_and_not_zero() -> None:
    context = processed(alerted({"ticker": "SPY", "action": "buy"}))
    assert [getattr(context, name) for name in COLUMNS] == [None] * 4
    assert context.indicators == {}
    assert context.provenance == {**dict.fromkeys(COLUMNS), "indicators": {}, "quote": None}
    market = json.loads(context.engine_input)["market_context"]
    assert [market[name] for name in COLUMNS] == [None] * 4


@pytest.mark.requirement("1.2")
def test_an_alert_wins_over_a_quote_value_by_value() -> None:
    quote = make_quote(
        quoted_at=age(10), price=Decimal(1), bid=Decimal(2), ask=None, volume=7, indicators={"rsi": "1", "ema": "2.5"}
    )
    context = processed(alerted({"close": 589.12, "rsi": 55.5}))
    assert [getattr(context, name) for name in COLUMNS] == [Decimal("589.12"), Decimal(2), None, 7]
    assert context.indicators == {"rsi": "55.5", "ema": "2.5"}
    assert context.provenance == {
        "current_price": "alert",
        "bid": "quote",
        "ask": None,
        "volume": "quote",
        "indicators": {"rsi": "alert", "ema": "quote"},
        "quote": {"id": str(quote.pk), "quoted_at": "2026-03-02T14:29:50.000000Z"},
    }


@pytest.mark.parametrize(
    ("seconds", "is_used"),
    [
        (0, True),
        (0.000001, True),
        (settings.QUOTE_MAX_AGE_SECONDS, True),
        (settings.QUOTE_MAX_AGE_SECONDS + 0.000001, False),
        (-0.000001, False),
        (-60, False),
    ],
)
def test_a_quote_is_neither_later_than_the_signal_nor_too_old(seconds: float, is_used: bool) -> None:
    make_quote(quoted_at=age(seconds), price=Decimal(600))
    context = processed(alerted({"action": "buy"}))
    assert context.current_price == (Decimal(600) if is_used else None)


def test_a_quote_of_another_symbol_is_not_used() -> None:
    make_quote(symbol="QQQ", quoted_at=age(1))
    assert processed(alerted({"action": "buy"})).current_price is None


PRICES = st.none() | st.decimals(0, 10**6, places=4, allow_nan=False)
QUOTES = st.lists(
    st.tuples(st.integers(-50, 1000), PRICES, PRICES, st.none() | st.integers(0, 10**9)),
    max_size=4,
    unique_by=lambda quote: quote[0],
)


@pytest.mark.requirement("property-2", "1.2", "7.1")
@given(close=PRICES, bid=PRICES, volume=st.none() | st.integers(0, 2**62), quotes=QUOTES)
def test_every_value_comes_from_the_alert_or_the_one_newest_quote_that_fits(
    close: Decimal | None, bid: Decimal | None, volume: int | None, quotes: list[tuple[int, Any, Any, Any]]
) -> None:
    said = {"close": close, "bid": bid, "volume": volume}
    body = ",".join(f'"{name}":{value}' for name, value in {"action": '"buy"', **said}.items() if value is not None)
    fitting = [quote for quote in quotes if 0 <= quote[0] <= settings.QUOTE_MAX_AGE_SECONDS]
    newest = min(fitting, key=lambda quote: quote[0]) if fitting else (0, None, None, None)
    expected: list[Any] = [
        first if first is not None else second
        for first, second in zip((close, bid, None, volume), (newest[1], newest[2], None, newest[3]), strict=True)
    ]
    with transaction.atomic():
        for seconds, price, quoted_bid, quoted_volume in quotes:
            make_quote(quoted_at=age(seconds), price=price, bid=quoted_bid, ask=None, volume=quoted_volume)
        context = processed(alerted({}, raw_body=f"{{{body}}}"))
        assert [getattr(context, name) for name in COLUMNS] == expected
        market = json.loads(context.engine_input)["market_context"]
        for name, value in zip(COLUMNS[:3], expected[:3], strict=True):
            assert market[name] == (None if value is None else format(value.normalize(), "f"))
        assert market["volume"] == expected[3]
        transaction.set_rollback(True)


@pytest.mark.requirement("1.5", "property-5", "6.4")
@given(
    payload=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8),
        st.none()
        | st.booleans()
        | st.integers(-(10**12), 10**12)
        | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
        max_size=5,
    )
)
def test_the_hash_is_of_the_stored_bytes_which_are_canonical_and_name_no_role(payload: dict[str, Any]) -> None:
    with transaction.atomic():
        before = database_clock()
        context = processed(alerted(payload))
        assert context.context_hash == sha256(context.engine_input.encode()).hexdigest()
        content = json.loads(context.engine_input)
        assert context.engine_input == canonical(content)
        assert content["signal"]["raw_payload"] == context.signal.raw_payload
        assert set(content) == {"schema", "experiment_id", "signal", "market_context"}
        assert before <= context.distributed_at <= database_clock()
        transaction.set_rollback(True)


@pytest.mark.parametrize("price", ["-37.63", "1e15", "0.123456789", "123456789012345678901234567890.5", "1e-9"])
def test_a_price_that_does_not_fit_its_column_stays_among_the_indicators_and_poisons_nothing(price: str) -> None:
    context = processed(alerted({}, raw_body=f'{{"action":"buy","close":{price}}}'))
    assert context.current_price is None
    assert {name: Decimal(value) for name, value in context.indicators.items()} == {"close": Decimal(price)}
    assert "e" not in context.indicators["close"].lower()
    assert Incident.objects.count() == 0


def test_the_quotes_of_a_whole_batch_are_one_query() -> None:
    make_revision()
    counts = []
    for size in (1, 30):
        signals = [make_signal() for _ in range(size)]
        experiment_ids = {signal.pk: signal.pk for signal in signals}
        with CaptureQueriesContext(connection) as captured:
            assert len(build_contexts(signals, experiment_ids=experiment_ids, at=OPENED_AT)) == size
        counts.append(len(captured))
    assert counts == [1, 1]


@pytest.mark.requirement("1.4", "property-4", "6.4")
def test_neither_a_context_nor_a_quote_can_be_changed_or_deleted() -> None:
    make_quote(quoted_at=age(1))
    processed(alerted({"close": 1}))
    for model, change in ((MarketContext, {"current_price": 2}), (MarketQuote, {"price": 2})):
        with pytest.raises(DatabaseError, match="pgtrigger"), transaction.atomic():
            model._default_manager.update(**change)
        with pytest.raises(DatabaseError, match="pgtrigger"), transaction.atomic():
            model._default_manager.all().delete()


def test_the_database_refuses_a_hash_that_is_not_of_the_bytes() -> None:
    context = processed(alerted({"close": 1}))
    context.pk, context.signal = None, make_signal()
    context.engine_input += " "
    with pytest.raises(DatabaseError, match="context_hash_is_of_engine_input"), transaction.atomic():
        context.save(force_insert=True)
