"""Alerts that never arrived open an incident, and close it when they were only late."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from config.keys import new_key
from orchestrator.alert_watch import AlertWatch, look_for_silence
from orchestrator.models import Incident
from orchestrator.queue import database_clock
from tests.factories import make_rejected_alert, make_signal, make_source
from webhooks.models import AlertSource, Signal

pytestmark = pytest.mark.django_db


def step(before: str, now: str, *, at: datetime, **said: Any) -> str:
    payload = {"ticker": "SPY", "interval": "5", "time": at.isoformat()}
    return json.dumps(payload | {"market_position": now, "prev_market_position": before} | said)


def entry(before: str, now: str, *, at: datetime, received_at: datetime | None = None) -> Signal:
    return make_signal(raw_body=step(before, now, at=at), timestamp=at, received_at=received_at or at)


def exit_alert(before: str, *, at: datetime) -> None:
    make_rejected_alert(code="exit_alert", body=step(before, "flat", at=at), received_at=at)


@pytest.fixture
def source() -> AlertSource:
    return make_source(name="default")


def test_a_break_in_the_chain_is_told_once_with_both_alerts(source: AlertSource) -> None:
    at = database_clock() - timedelta(minutes=30)
    earlier = entry("flat", "long", at=at)
    later = entry("flat", "short", at=at + timedelta(minutes=5))
    watch = AlertWatch()
    assert watch.look_at_chains() == 1
    incident = Incident.objects.get()
    assert (incident.kind, incident.severity) == ("SIGNAL_GAP", "HIGH")
    assert "An alert between these two never arrived: SPY 5 of default was long after" in incident.detail["what"]
    assert (incident.detail["earlier"], incident.detail["later"]) == (str(earlier.pk), str(later.pk))
    assert watch.look_at_chains() == 0
    assert AlertWatch().look_at_chains() == 0
    Incident.objects.update(resolved_at=at, resolved_by="ann")
    assert AlertWatch().look_at_chains() == 0, "what an operator has settled stays settled"


def test_an_exit_alert_is_a_link_of_the_chain(source: AlertSource) -> None:
    at = database_clock() - timedelta(minutes=30)
    entry("flat", "long", at=at)
    exit_alert("long", at=at + timedelta(minutes=5))
    exit_alert("long", at=at + timedelta(minutes=5))
    entry("flat", "short", at=at + timedelta(minutes=10))
    assert AlertWatch().look_at_chains() == 0
    exit_alert("long", at=at + timedelta(minutes=15))
    assert AlertWatch().look_at_chains() == 1


def test_a_late_alert_closes_the_incident_that_its_absence_had_opened(source: AlertSource) -> None:
    at = database_clock() - timedelta(minutes=30)
    entry("flat", "long", at=at)
    entry("flat", "short", at=at + timedelta(minutes=10))
    watch = AlertWatch()
    watch.look_at_chains()
    exit_alert("long", at=at + timedelta(minutes=5))
    watch.look_at_chains()
    incident = Incident.objects.get()
    assert (incident.resolved_by, incident.resolution) == ("worker", "The alert between them arrived late.")


def test_an_alert_that_may_still_be_sent_again_is_waited_for(source: AlertSource) -> None:
    now = database_clock()
    entry("flat", "long", at=now - timedelta(minutes=5))
    entry("flat", "short", at=now - timedelta(seconds=5))
    assert AlertWatch().look_at_chains() == 0


def test_breaks_of_long_ago_are_history(source: AlertSource) -> None:
    at = database_clock() - timedelta(days=2)
    entry("flat", "long", at=at)
    entry("flat", "short", at=at + timedelta(minutes=5))
    assert AlertWatch().look_at_chains() == 0


def test_alerts_that_say_nothing_of_positions_are_no_chain(source: AlertSource) -> None:
    at = database_clock() - timedelta(minutes=30)
    for number in range(3):
        make_signal(timestamp=at + timedelta(minutes=number), received_at=at + timedelta(minutes=number))
    watch = AlertWatch()
    assert watch.look_at_chains() == 0
    assert watch.look_at_chains() == 0


def test_a_silent_source_is_told_of_and_told_no_more_when_it_sends_again(source: AlertSource) -> None:
    last = database_clock() - timedelta(hours=2)
    for number in range(20):
        make_signal(received_at=last - timedelta(minutes=10 * number))
    assert look_for_silence() == 1
    assert look_for_silence() == 0
    incident = Incident.objects.get()
    assert (incident.kind, incident.subject) == ("SILENT_SOURCE", "default")
    assert "has sent nothing since" in incident.detail["what"]
    make_signal(received_at=database_clock())
    assert look_for_silence() == 0
    incident.refresh_from_db()
    assert incident.resolution.startswith("It sends again since")


def test_a_source_that_is_switched_off_is_not_missed(source: AlertSource) -> None:
    last = database_clock() - timedelta(hours=2)
    for number in range(20):
        make_signal(received_at=last - timedelta(minutes=10 * number))
    look_for_silence()
    AlertSource.objects.update(enabled=False)
    assert look_for_silence() == 0
    assert Incident.objects.get().resolution == "The source is switched off."


def test_a_known_weekly_rhythm_decides(source: AlertSource) -> None:
    now = database_clock()
    last = now - timedelta(hours=3)
    Signal.objects.bulk_create(
        [
            Signal(
                signal_id=new_key(), source="default", symbol="SPY", direction="long", timeframe="5", timestamp=at,
                timestamp_origin="payload", signal_hash=f"{number:064x}", raw_payload={}, raw_body="{}", received_at=at,
            )
            for number, at in enumerate(
                [last, *(now - timedelta(weeks=1, minutes=5 * back) for back in range(60))]
            )
        ]
    )  # fmt: skip
    assert look_for_silence() == 1
    assert "In the same hours of earlier weeks it sent 36 alerts." in Incident.objects.get().detail["what"]


def test_a_look_at_nothing_new_costs_one_statement_per_source(
    source: AlertSource, django_assert_num_queries: Any
) -> None:
    at = database_clock() - timedelta(minutes=30)
    entry("flat", "long", at=at)
    watch = AlertWatch()
    watch.look_at_chains()
    with django_assert_num_queries(3):  # the clock, the sources, and the newest alerts of one
        watch.look_at_chains()
