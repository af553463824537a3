"""Duplicates under concurrency: many identical requests at once leave one signal."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from webhooks import notifications
from webhooks.models import AlertSource, RejectedAlert, Signal
from webhooks.services import create_source

TOKEN = "hook-TOKEN_0123456789"
ADDRESS = f"/webhooks/tradingview/{TOKEN}/"
COMPLETE = {"ticker": "SPY", "action": "buy", "interval": "5", "time": "2026-03-02T14:30:00Z"}
TIMELESS = {"ticker": "SPY", "action": "buy", "interval": "5"}
AT_ONCE = 8

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def source(transactional_db: None) -> Iterator[AlertSource]:
    yield create_source("default", TOKEN, accept_missing_timestamp=True)
    notifications.stop()


@pytest.fixture
def senders() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield pool


def post_at_once(senders: ThreadPoolExecutor, bodies: list[dict[str, Any]]) -> list[Any]:
    ready = Barrier(len(bodies))

    def post(body: dict[str, Any]) -> Any:
        try:
            ready.wait(timeout=30)
            response = Client().post(ADDRESS, json.dumps(body), "application/json")
            assert response.status_code == 200, response.content
            return response.json()
        finally:
            connection.close()

    return list(senders.map(post, bodies))


@pytest.mark.requirement("10.1", "9.4", "property-24")
@pytest.mark.parametrize("body", [COMPLETE, TIMELESS], ids=["with its time", "without a time"])
def test_identical_requests_at_once_leave_one_signal(
    source: AlertSource, senders: ThreadPoolExecutor, body: dict[str, Any]
) -> None:
    rounds = 15
    for number in range(rounds):
        answers = post_at_once(senders, [{**body, "round": number}] * AT_ONCE)
        assert len({answer["signal_id"] for answer in answers}) == 1
        assert len({answer["signal_hash"] for answer in answers}) == 1
        assert sorted(answer["duplicate"] for answer in answers) == [False] + [True] * (AT_ONCE - 1)
    assert Signal.objects.count() == rounds
    assert not RejectedAlert.objects.exists()


@pytest.mark.parametrize("body", [COMPLETE, TIMELESS], ids=["with its time", "without a time"])
def test_different_requests_at_once_all_get_in(
    source: AlertSource, senders: ThreadPoolExecutor, body: dict[str, Any]
) -> None:
    answers = post_at_once(senders, [{**body, "number": number} for number in range(AT_ONCE)])
    assert not any(answer["duplicate"] for answer in answers)
    assert Signal.objects.count() == AT_ONCE


def post(body: dict[str, Any]) -> Any:
    return Client().post(ADDRESS, json.dumps(body), "application/json").json()


def test_the_same_body_without_a_time_is_a_new_signal_after_the_window(source: AlertSource) -> None:
    AlertSource.objects.update(dedupe_window_seconds=0)
    first, second = post(TIMELESS), post(TIMELESS)
    assert first["signal_id"] != second["signal_id"]
    AlertSource.objects.update(dedupe_window_seconds=30)
    assert post(TIMELESS) == {**second, "duplicate": True}
    _grow_older(timedelta(seconds=31))
    assert not post(TIMELESS)["duplicate"]


def test_an_alert_with_its_time_is_the_same_signal_for_ever(source: AlertSource) -> None:
    first = post(COMPLETE)
    _grow_older(timedelta(days=365))
    assert post(COMPLETE) == {**first, "duplicate": True}


def test_the_window_is_each_sources_own(source: AlertSource) -> None:
    create_source("other", "another-token", accept_missing_timestamp=True)
    post(TIMELESS)
    other = Client().post("/webhooks/tradingview/another-token/", json.dumps(TIMELESS), "application/json").json()
    assert not other["duplicate"]


def test_a_limit_counts_requests_that_come_at_once(source: AlertSource, senders: ThreadPoolExecutor) -> None:
    AlertSource.objects.update(requests_per_minute=5)

    def post_one(number: int) -> int:
        try:
            return Client().post(ADDRESS, json.dumps({**COMPLETE, "n": number}), "application/json").status_code
        finally:
            connection.close()

    statuses = sorted(senders.map(post_one, range(AT_ONCE)))
    assert statuses == [200] * 5 + [429] * 3
    assert Signal.objects.count() == 5
    assert RejectedAlert.objects.filter(code="rate_limited").count() == 3


def test_the_look_for_a_redelivery_uses_its_index(source: AlertSource) -> None:
    post(TIMELESS)
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT signal_id FROM signals WHERE timestamp_origin = 'received' AND md5(raw_body) = md5('x') "
            "AND raw_body = 'x' AND source = 'default' AND received_at > now() - interval '30 seconds'"
        )
        plan = "\n".join(row[0] for row in cursor.fetchall())
        cursor.execute("RESET enable_seqscan")
    assert "signals_without_their_own_time" in plan


def _grow_older(age: timedelta) -> None:
    """Move all signals into the past, behind the back of the trigger that forbids it."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE signals DISABLE TRIGGER USER")
        cursor.execute(
            "UPDATE signals SET received_at = received_at - make_interval(secs => %s)", [age.total_seconds()]
        )
        cursor.execute("ALTER TABLE signals ENABLE TRIGGER USER")
