"""Waking the workers: after the commit, at once, debounced, from a thread that survives a lost database."""

import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from django.db import connection, transaction

from webhooks import notifications
from webhooks.alerts import SourceRules, read_alert
from webhooks.notifications import CHANNEL, WakeSender, wake_workers
from webhooks.services import create_source, store_signal

pytestmark = pytest.mark.django_db(transaction=True)

ALERT = '{"ticker": "SPY", "action": "buy", "interval": "5", "time": "2026-03-02T14:30:00Z"}'


@pytest.fixture
def listener(transactional_db: None) -> Iterator[psycopg.Connection]:
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as listening:
        listening.execute(f"LISTEN {CHANNEL}")
        yield listening
    notifications.stop()


@pytest.fixture
def sender(transactional_db: None) -> Iterator[WakeSender]:
    sender = WakeSender()
    yield sender
    sender.stop()


def heard(listener: psycopg.Connection, *, seconds: float) -> int:
    return len(list(listener.notifies(timeout=seconds)))


def wait_until(reached: Callable[[], bool], *, seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while not reached() and time.monotonic() < until:
        time.sleep(0.02)
    return reached()


def test_a_stored_signal_wakes_the_workers_after_its_commit(listener: psycopg.Connection) -> None:
    source = create_source("default", "hook-TOKEN_0123456789")
    alert = read_alert(ALERT, rules=SourceRules(), received_at=source.created_at)
    with transaction.atomic():
        store_signal(alert, source=source, raw_body=ALERT)  # type: ignore[arg-type]
        assert heard(listener, seconds=0.2) == 0
    assert heard(listener, seconds=1) == 1
    store_signal(alert, source=source, raw_body=ALERT)  # type: ignore[arg-type]
    assert heard(listener, seconds=0.2) == 0


def test_a_burst_is_few_notifications_and_none_is_late(listener: psycopg.Connection, sender: WakeSender) -> None:
    sender.wake()
    assert heard(listener, seconds=1) == 1
    began = time.monotonic()
    while time.monotonic() - began < 0.2:
        sender.wake()
    assert 1 <= heard(listener, seconds=0.5) <= 0.2 / sender.interval_seconds + 2
    began = time.monotonic()
    sender.wake()
    next(iter(listener.notifies(timeout=5)))
    assert time.monotonic() - began < 2


def test_a_lost_connection_is_made_anew(listener: psycopg.Connection, sender: WakeSender) -> None:
    sender.wake()
    assert heard(listener, seconds=1) == 1
    listener.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'wake-sender'")
    sender.wake()
    assert heard(listener, seconds=1) == 1


def test_an_unreachable_database_harms_nobody_and_is_tried_again(
    listener: psycopg.Connection, sender: WakeSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(application_name: str) -> psycopg.Connection:
        raise psycopg.OperationalError(f"connection of {application_name} refused")

    monkeypatch.setattr(notifications, "PAUSE_AFTER_FAILURE_SECONDS", 0.05)
    with monkeypatch.context() as while_away:
        while_away.setattr(notifications, "connect_for_good", refuse)
        sender.wake()
        assert heard(listener, seconds=0.3) == 0
    sender.wake()
    assert heard(listener, seconds=1) >= 1


def test_stopping_closes_the_connection_and_ends_the_thread(listener: psycopg.Connection) -> None:
    wake_workers()
    assert heard(listener, seconds=1) == 1
    notifications.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "wake-sender"]
    assert wait_until(lambda: _senders_connected() == 0)
    wake_workers()
    assert heard(listener, seconds=1) == 1


def _senders_connected() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'wake-sender' AND datname = current_database()"
        )
        (number,) = cursor.fetchone()
        return int(number)
