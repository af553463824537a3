"""When the database cannot take an alert: a quick 503, so that the sender sends it again, and recovery without a restart."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client

from webhooks import notifications
from webhooks.services import _lock_key, create_source

TOKEN = "hook-TOKEN_0123456789"
ADDRESS = f"/webhooks/tradingview/{TOKEN}/"
ALERT = {"ticker": "SPY", "action": "buy", "interval": "5", "time": "2026-03-02T14:30:00Z"}

pytestmark = pytest.mark.django_db(transaction=True)


class Outage:
    """Shuts the test database for everyone and opens it again, from another database of the same server."""

    def __init__(self) -> None:
        parameters = connection.get_connection_params()
        self.name = parameters["dbname"]
        self.admin = psycopg.connect(**{**parameters, "dbname": "postgres"}, autocommit=True)

    def begin(self) -> None:
        self.admin.execute(f'ALTER DATABASE "{self.name}" ALLOW_CONNECTIONS false')
        self.admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [self.name])

    def end(self) -> None:
        self.admin.execute(f'ALTER DATABASE "{self.name}" ALLOW_CONNECTIONS true')


@pytest.fixture
def outage(transactional_db: None) -> Iterator[Outage]:
    outage = Outage()
    yield outage
    outage.end()
    outage.admin.close()
    notifications.stop()
    connection.close()  # this test's own, which the outage has broken


@dataclass(frozen=True)
class Answer:
    """What the webhook said, and after how many seconds."""

    status: int
    seconds: float
    said: dict[str, Any]


def post(body: dict[str, Any] = ALERT) -> Answer:
    """Send an alert as a server's thread would handle it: with a connection of its own, given back at the end."""

    def handle() -> Answer:
        began = time.monotonic()
        try:
            response = Client().post(ADDRESS, json.dumps(body), "application/json")
            assert response.status_code == 200 or int(response.headers["Retry-After"]) >= 1
            return Answer(response.status_code, time.monotonic() - began, json.loads(response.content))
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(handle).result()


@pytest.mark.requirement("8.3")
def test_an_outage_is_a_quick_503_and_its_end_needs_no_restart(outage: Outage) -> None:
    create_source("default", TOKEN)
    assert post().status == 200
    outage.begin()
    for _ in range(2):
        answer = post()
        assert answer.status == answer.said["status"] == 503
        assert answer.seconds < 3
        assert "database" in answer.said["detail"]
    outage.end()
    until = time.monotonic() + 30
    while (answer := post()).status != 200 and time.monotonic() < until:
        time.sleep(0.2)
    assert answer.said["duplicate"] is True


def test_a_lock_that_is_held_too_long_is_a_503(outage: Outage) -> None:
    source = create_source("default", TOKEN, accept_missing_timestamp=True)
    body = {"ticker": "SPY", "action": "buy", "interval": "5"}
    with psycopg.connect(**connection.get_connection_params()) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [_lock_key(source, json.dumps(body))])
        answer = post(body)
        assert answer.status == 503
        assert answer.seconds < 3
    assert post(body).status == 200
