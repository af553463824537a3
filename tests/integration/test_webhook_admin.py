"""The intake's admin: looked at without surprises, hostile text rendered harmless, a source's address shown once."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.factories import make_rejected_alert, make_signal
from webhooks.models import AlertSource
from webhooks.services import create_source, find_source

HOSTILE = "<script>alert('x')</script>"


@pytest.fixture
def signals_admin(admin_client: Client) -> Client:
    return admin_client


def page(client: Client, address: str, *, status: int = 200) -> str:
    response = client.get(address)
    assert response.status_code == status, response.content[:500]
    return response.content.decode()


def test_a_signal_shows_its_payload_and_nothing_can_be_edited(admin_client: Client) -> None:
    signal = make_signal(payload={"ticker": "SPY", "note": HOSTILE})
    shown = page(admin_client, f"/admin/webhooks/signal/{signal.pk}/change/")
    assert "&quot;ticker&quot;: &quot;SPY&quot;" in shown
    assert HOSTILE not in shown
    assert signal.signal_hash in shown
    assert 'name="_save"' not in shown
    page(admin_client, "/admin/webhooks/signal/add/", status=403)
    page(admin_client, f"/admin/webhooks/signal/{signal.pk}/delete/", status=403)


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("spy", True),
        ("QQQ", False),
        ("' OR 1=1 --", False),
        ("00000000-0000-7000-8000-000000000000", False),
        ("%", False),
    ],
)
def test_signals_are_searched_by_symbol(admin_client: Client, term: str, found: bool) -> None:
    signal = make_signal(symbol="SPY")
    response = admin_client.get("/admin/webhooks/signal/", {"q": term})
    assert response.status_code == 200
    assert (str(signal.pk) in response.content.decode()) == found


def test_signals_are_found_by_hash_and_id(admin_client: Client) -> None:
    signal = make_signal()
    make_signal()
    for term in (str(signal.pk), signal.pk.hex, signal.signal_hash, signal.signal_hash[:12].upper()):
        response = admin_client.get("/admin/webhooks/signal/", {"q": term})
        assert list(response.context["cl"].queryset) == [signal]


@pytest.mark.parametrize("standing", ["waiting", "processed", "parked", "nonsense"])
def test_signals_are_filtered(admin_client: Client, standing: str) -> None:
    create_source("default", "hook-TOKEN_0123456789")
    make_signal()
    response = admin_client.get(
        "/admin/webhooks/signal/", {"standing": standing, "source": "default", "direction": "long"}
    )
    assert response.status_code == 200
    assert len(response.context["cl"].queryset) == (standing in ("waiting", "nonsense"))


@pytest.mark.parametrize("table", ["signal", "rejectedalert"])
def test_a_longer_list_takes_no_more_queries(admin_client: Client, table: str) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            page(admin_client, f"/admin/webhooks/{table}/")
        return len(queries)

    make_rejected_alert(replayed_signal=make_signal())
    count()
    few = count()
    for _ in range(20):
        make_rejected_alert(replayed_signal=make_signal())
    assert count() == few


def test_a_rejected_alert_shows_its_reasons_readably(admin_client: Client) -> None:
    error = {
        "field": "direction",
        "code": "missing",
        "message": f"direction: the alert has none {HOSTILE}",
        "accepted": "long, short",
        "example": '"action": "buy"',
    }
    kept = make_rejected_alert(body=HOSTILE, errors=[error, {"unforeseen": 1}], code="invalid")
    shown = page(admin_client, f"/admin/webhooks/rejectedalert/{kept.pk}/change/")
    assert "direction: the alert has none" in shown
    assert "Accepted: long, short" in shown
    assert HOSTILE not in shown
    assert HOSTILE not in page(admin_client, "/admin/webhooks/rejectedalert/")


def test_a_new_source_shows_its_address_once(admin_client: Client) -> None:
    form = {"name": "tv", "enabled": "on", "default_timeframe": "1h", "dedupe_window_seconds": "30", "paths": "{}"}
    response: Any = admin_client.post("/admin/webhooks/alertsource/add/", form)
    assert response.status_code == 200
    assert "no-store" in response.headers["Cache-Control"]
    source = AlertSource.objects.get()
    assert source.default_timeframe == "60"
    address = response.context["address"]
    shown = response.content.decode()
    assert address in shown
    assert "{{strategy.order.action}}" in shown
    token = address.rstrip("/").rpartition("/")[2]
    assert find_source(token) == source
    for later in (f"/admin/webhooks/alertsource/{source.pk}/change/", "/admin/webhooks/alertsource/"):
        assert token not in page(admin_client, later)
    alert = {"ticker": "SPY", "action": "buy", "time": "2026-03-02T14:30:00Z"}
    assert admin_client.post(address, json.dumps(alert), "application/json").status_code == 200


def test_a_sources_defaults_are_edited_but_not_its_name(admin_client: Client) -> None:
    source = create_source("tv", "hook-TOKEN_0123456789")
    form = {
        "name": "other",
        "default_timeframe": "15",
        "dedupe_window_seconds": "60",
        "paths": '{"direction": "order.side"}',
    }
    assert admin_client.post(f"/admin/webhooks/alertsource/{source.pk}/change/", form).status_code == 302
    source.refresh_from_db()
    assert (source.name, source.enabled, source.default_timeframe) == ("tv", False, "15")
    assert source.paths == {"direction": "order.side"}
    assert find_source("hook-TOKEN_0123456789") is None  # the form has switched it off


@pytest.mark.parametrize("field", ["default_timeframe", "paths", "requests_per_minute"])
def test_a_default_that_makes_no_sense_is_refused_in_the_form(admin_client: Client, field: str) -> None:
    form = {"name": "tv", "default_timeframe": "", "dedupe_window_seconds": "30", "paths": "{}"}
    bad = {"default_timeframe": "soon", "paths": '{"colour": "x"}', "requests_per_minute": "0"}
    response: Any = admin_client.post("/admin/webhooks/alertsource/add/", {**form, field: bad[field]})
    assert response.status_code == 200
    assert list(response.context["adminform"].form.errors) == [field]
    assert not AlertSource.objects.exists()
