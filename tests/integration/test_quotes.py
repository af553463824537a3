"""Quotes that the data service pushes: stored once, never overwritten, and refused with every fault named."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.authtoken.models import Token

from orchestrator.models import MarketQuote
from orchestrator.quotes import UnreadableQuotes, read_quotes, store_quotes

ADDRESS = "/api/v1/quotes/"
PROBLEM = "application/problem+json"
QUOTE: dict[str, Any] = {
    "symbol": "SPY",
    "quoted_at": "2026-03-02T14:30:00Z",
    "price": "589.12",
    "bid": 589.11,
    "ask": "589.13",
    "volume": 1000,
    "indicators": {"rsi": "55.5", "vwap": 588.25},
}
PLAIN = {"symbol": "SPY", "price": "589.12"}
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


@pytest.fixture
def service(client: Client) -> Client:
    token = Token.objects.create(user=User.objects.create_user("data-service"))
    client.defaults["HTTP_AUTHORIZATION"] = f"Token {token.key}"
    return client


def push(service: Client, body: Any) -> Any:
    raw = body if isinstance(body, str | bytes) else json.dumps(body)
    return service.post(ADDRESS, raw, content_type="application/json")


@pytest.mark.django_db
def test_a_quote_is_stored_with_every_digit(service: Client) -> None:
    answer = push(service, QUOTE)
    assert (answer.status_code, answer.json()) == (201, {"stored": 1, "duplicates": 0, "conflicts": []})
    stored = MarketQuote.objects.get()
    assert (stored.symbol, stored.price, stored.bid, stored.ask, stored.volume) == (
        "SPY",
        Decimal("589.12"),
        Decimal("589.11"),
        Decimal("589.13"),
        1000,
    )
    assert stored.indicators == {"rsi": "55.5", "vwap": "588.25"}


@pytest.mark.django_db
def test_unknown_values_stay_null(service: Client) -> None:
    assert push(service, {"symbol": "NASDAQ:AAPL", "quoted_at": QUOTE["quoted_at"], "price": "1"}).status_code == 201
    stored = MarketQuote.objects.get()
    assert (stored.symbol, stored.bid, stored.ask, stored.volume, stored.indicators) == ("AAPL", None, None, None, {})


@pytest.mark.django_db
def test_the_same_quote_again_is_counted_and_another_content_is_a_conflict(service: Client) -> None:
    push(service, QUOTE)
    again = push(service, [QUOTE, QUOTE | {"price": 589.120}])
    assert (again.status_code, again.json()) == (200, {"stored": 0, "duplicates": 2, "conflicts": []})
    other = push(service, QUOTE | {"price": "589.13"})
    assert (other.status_code, other.headers["Content-Type"]) == (409, PROBLEM)
    mixed = push(service, [QUOTE | {"symbol": "QQQ"}, QUOTE | {"volume": 5}, QUOTE])
    assert mixed.status_code == 201
    assert mixed.json() == {
        "stored": 1,
        "duplicates": 1,
        "conflicts": [{"symbol": "SPY", "quoted_at": "2026-03-02T14:30:00.000000Z"}],
    }
    assert MarketQuote.objects.get(symbol="SPY").price == Decimal("589.12")


@pytest.mark.django_db
def test_in_one_push_the_first_word_stands(service: Client) -> None:
    answer = push(service, [QUOTE, QUOTE | {"price": "1"}, QUOTE])
    assert answer.json()["stored"] == answer.json()["duplicates"] == len(answer.json()["conflicts"]) == 1
    assert MarketQuote.objects.get().price == Decimal("589.12")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"symbol": ""}, "symbol"),
        ({"symbol": 5}, "symbol"),
        ({"quoted_at": "now"}, "quoted_at"),
        ({"quoted_at": "2026-03-02T14:30:00"}, "quoted_at"),
        ({"quoted_at": None}, "quoted_at"),
        ({"price": "NaN"}, "price"),
        ({"price": "Infinity"}, "price"),
        ({"price": -1}, "price"),
        ({"bid": "-0.01"}, "bid"),
        ({"ask": "1e12"}, "ask"),
        ({"ask": True}, "ask"),
        ({"volume": -1}, "volume"),
        ({"volume": 1.5}, "volume"),
        ({"volume": 2**63}, "volume"),
        ({"indicators": []}, "indicators"),
        ({"indicators": {"rsi": "high"}}, "indicators.rsi"),
        ({"indicators": {"rsi": "NaN"}}, "indicators.rsi"),
        ({"indicators": {"": 1}}, "indicators"),
        ({"colour": "red"}, "colour"),
        ({"price": None, "bid": None, "ask": None, "volume": None, "indicators": {}}, "price"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(service: Client, change: dict[str, Any], field: str) -> None:
    answer = push(service, [QUOTE | {"symbol": "QQQ"}, QUOTE | change])
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, PROBLEM)
    (error,) = answer.json()["errors"]
    assert error["field"] == f"1.{field}"
    assert error["accepted"]
    assert not MarketQuote.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "null",
        "5",
        '"quote"',
        "not json",
        '{"symbol": NaN}',
        '{"symbol": "SPY", "symbol": "QQQ"}',
        '{"symbol": "S\\u0000"}',
        '{"symbol": "\\ud800"}',
        "[" * 100_000,
        '{"price": 1e999999999}',
        b"\xff\xfe",
        json.dumps([QUOTE] * 1001),
    ],
)
def test_a_hostile_body_is_refused_and_nothing_is_stored(service: Client, body: str | bytes) -> None:
    answer = push(service, body)
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, PROBLEM)
    assert answer.json()["errors"]
    assert not MarketQuote.objects.exists()


@pytest.mark.django_db
def test_a_huge_body_is_refused(service: Client) -> None:
    answer = push(service, "[" + " " * (2 * 1024 * 1024) + "]")
    assert (answer.status_code, answer.headers["Content-Type"]) == (413, PROBLEM)


@pytest.mark.django_db
def test_a_quote_from_the_future_is_refused(service: Client) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=30)
    later = datetime.now(UTC) + timedelta(seconds=90)
    assert push(service, QUOTE | {"quoted_at": soon.isoformat()}).status_code == 201
    answer = push(service, QUOTE | {"quoted_at": later.isoformat()})
    assert answer.status_code == 400
    assert "not more than a minute ahead" in answer.json()["errors"][0]["accepted"]


@pytest.mark.django_db
def test_nobody_pushes_without_a_token(client: Client) -> None:
    assert push(client, QUOTE).status_code == 401
    assert not MarketQuote.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_services_that_push_the_same_quotes_at_once_in_any_order_neither_fail_nor_store_twice() -> None:
    together = Barrier(3)

    def store(ordered: Sequence[Any]) -> int:
        try:
            connection.ensure_connection()
            together.wait(timeout=10)
            return store_quotes(ordered).stored
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        for number in range(8):
            quotes = read_quotes(
                [PLAIN | {"quoted_at": (NOW - timedelta(hours=number, seconds=n)).isoformat()} for n in range(1000)],
                at=NOW,
            )
            stored = list(pool.map(store, [quotes, quotes[::-1], quotes[::2] + quotes[1::2]]))
            assert sum(stored) == 1000
    assert MarketQuote.objects.count() == 8000


@given(
    posted=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*QUOTE, "other"]), inner),
    )
)
def test_whatever_is_posted_is_read_or_refused(posted: Any) -> None:
    with suppress(UnreadableQuotes):
        assert read_quotes(posted, at=NOW)
