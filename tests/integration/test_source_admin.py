"""Sources and rejected alerts in the admin: new tokens, who may send, secrets that go in and never come out, reading again."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from orchestrator.roles import OPERATOR, VIEWER, make_roles
from tests.factories import make_rejected_alert
from webhooks.models import AlertSource, RejectedAlert, Signal
from webhooks.networks import TRADINGVIEW
from webhooks.services import create_source, find_source, set_body_secret

pytestmark = pytest.mark.django_db
TOKEN = "hook-TOKEN_0123456789"
SECRET = "a-secret-of-the-body.42"
FORM = {"name": "tv", "enabled": "on", "default_timeframe": "", "dedupe_window_seconds": "30", "paths": "{}"}
REJECTED = "/admin/webhooks/rejectedalert/"


@pytest.fixture
def source() -> AlertSource:
    return create_source("tv", TOKEN)


def page_of(source: AlertSource) -> str:
    return f"/admin/webhooks/alertsource/{source.pk}/change/"


def signed_in(role: str) -> Client:
    make_roles()
    user = User.objects.create_user(role, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def test_a_new_token_is_shown_once_and_the_old_one_works_as_long_as_said(
    admin_client: Client, source: AlertSource
) -> None:
    address = f"/admin/webhooks/alertsource/{source.pk}/new-token"
    asked: Any = admin_client.get(f"{address}/", follow=True)
    assert "A new address for tv" in asked.content.decode()
    assert find_source(TOKEN) == source
    made: Any = admin_client.post(asked.request["PATH_INFO"], {"hours": "2"})
    token = made.context["address"].rstrip("/").rpartition("/")[2]
    assert find_source(token) == find_source(TOKEN) == source
    assert "The old address works until" in made.content.decode()
    assert token not in admin_client.get(page_of(source)).content.decode()
    admin_client.post(asked.request["PATH_INFO"], {"hours": "0"})
    assert find_source(token) is None
    refused = admin_client.post(asked.request["PATH_INFO"], {"hours": "-1"})
    assert "greater than or equal to 0" in refused.content.decode()


def test_networks_are_lines_and_tradingviews_own_are_one_switch(admin_client: Client, source: AlertSource) -> None:
    said = FORM | {"allowed_networks": "203.0.113.9\n10.1.2.3/8", "only_tradingview": "on"}
    assert admin_client.post(page_of(source), said).status_code == 302
    source.refresh_from_db()
    assert source.allowed_networks == ["203.0.113.9/32", "10.0.0.0/8", *TRADINGVIEW]
    assert "203.0.113.9\n10.0.0.0/8" in admin_client.get(page_of(source)).content.decode()
    refused: Any = admin_client.post(page_of(source), FORM | {"allowed_networks": "everywhere"})
    assert "allowed_networks" in refused.context["adminform"].form.errors


def test_a_secret_goes_in_and_never_comes_out(admin_client: Client, source: AlertSource) -> None:
    assert admin_client.post(page_of(source), FORM | {"new_body_secret": SECRET}).status_code == 302
    source.refresh_from_db()
    assert len(source.body_secret_sha256) == 64
    assert SECRET not in admin_client.get(page_of(source)).content.decode()
    assert admin_client.post(page_of(source), FORM).status_code == 302
    source.refresh_from_db()
    assert source.body_secret_sha256, "an empty field changes nothing"
    refused: Any = admin_client.post(page_of(source), FORM | {"new_body_secret": "short"})
    assert "new_body_secret" in refused.context["adminform"].form.errors
    assert admin_client.post(page_of(source), FORM | {"no_body_secret": "on"}).status_code == 302
    source.refresh_from_db()
    assert source.body_secret_sha256 == ""


def test_saving_a_page_takes_back_nothing_that_happened_meanwhile(admin_client: Client, source: AlertSource) -> None:
    set_body_secret(source, SECRET)
    AlertSource.objects.update(refused_requests=7, last_refusal="It came from 198.51.100.7.")
    admin_client.post(page_of(source), FORM)
    source.refresh_from_db()
    assert source.refused_requests == 7
    assert "7, the last one" in admin_client.get(page_of(source)).content.decode()


def rejected(**said: Any) -> RejectedAlert:
    at = datetime.now(UTC).isoformat()
    body = json.dumps({"ticker": "SPY", "interval": "5", "time": at} | said)
    return make_rejected_alert(source="tv", code="invalid", body=body, received_at=datetime.now(UTC))


def test_rejected_alerts_are_read_again_after_a_look_and_a_confirmation(
    admin_client: Client, source: AlertSource
) -> None:
    good, bad = rejected(way="buy"), rejected()
    AlertSource.objects.update(paths={"direction": "way"})
    chosen = {"action": "read_again", "_selected_action": [str(good.pk), str(bad.pk)]}
    shown = admin_client.post(REJECTED, chosen).content.decode()
    assert "1 of 2 would become signals" in shown
    assert "SPY long 5" in shown
    assert not Signal.objects.exists()
    done = admin_client.post(REJECTED, chosen | {"confirmed": "yes"}, follow=True).content.decode()
    assert "1 signals were made, 0 were there already, 1 cannot be read as before" in done
    good.refresh_from_db()
    assert good.replayed_signal == Signal.objects.get()


def test_one_alert_is_read_again_from_its_page(admin_client: Client, source: AlertSource) -> None:
    kept = rejected(action="buy")
    assert "Read again" in admin_client.get(f"{REJECTED}{kept.pk}/change/").content.decode()
    address = f"{REJECTED}{kept.pk}/read-again"
    shown: Any = admin_client.get(address, follow=True)
    assert "1 of 1 would become signals" in shown.content.decode()
    admin_client.post(shown.request["PATH_INFO"], {"confirmed": "yes"})
    assert Signal.objects.count() == 1


def test_an_exit_stays_an_exit(admin_client: Client, source: AlertSource) -> None:
    kept = rejected(action="close")
    shown = admin_client.post(REJECTED, {"action": "read_again", "_selected_action": [str(kept.pk)]}).content.decode()
    assert "0 of 1 would become signals" in shown
    assert "Engines own their exits" in shown


def test_reading_again_takes_its_permission(source: AlertSource) -> None:
    kept = rejected(action="buy")
    said = {"action": "read_again", "_selected_action": [str(kept.pk)], "confirmed": "yes"}
    viewer = signed_in(VIEWER)
    viewer.post(REJECTED, said)
    assert viewer.post(f"{REJECTED}{kept.pk}/read-again", {"confirmed": "yes"}, follow=True).status_code == 403
    assert not Signal.objects.exists()
    signed_in(OPERATOR).post(REJECTED, said)
    assert Signal.objects.count() == 1
