"""Trying a message in the admin: what would be read, what is better written, and a test alert that never moves real money."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client, override_settings

from orchestrator.revisions import record_revision
from orchestrator.roles import OPERATOR, VIEWER, make_roles
from webhooks.message_templates import INDICATOR_ALERT, STRATEGY_ALERT
from webhooks.models import AlertSource, RejectedAlert, Signal
from webhooks.services import create_source

pytestmark = pytest.mark.django_db(transaction=True)
ADDRESS = "/admin/try-alert/"
READABLE = '{"ticker": "NASDAQ:AAPL", "action": "buy", "interval": "15"}'


@pytest.fixture
def source() -> AlertSource:
    return create_source("tv", "hook-TOKEN_0123456789", accept_missing_timestamp=True)


def signed_in(role: str) -> Client:
    make_roles()
    user = User.objects.create_user(role, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def tried(client: Client, source: AlertSource, message: str, **more: str) -> Any:
    return client.post(ADDRESS, {"source": str(source.pk), "message": message, **more}, follow=True)


@pytest.mark.parametrize("message", [STRATEGY_ALERT, INDICATOR_ALERT])
def test_our_own_templates_are_taken_on_every_chart(admin_client: Client, source: AlertSource, message: str) -> None:
    answer = tried(admin_client, source, message)
    assert answer.context["lint"].is_accepted
    assert len(answer.context["lint"].readings) > 1
    assert "tv would take it" in answer.content.decode()
    assert not Signal.objects.exists()


def test_what_would_be_refused_is_explained_with_a_message_to_copy(admin_client: Client, source: AlertSource) -> None:
    answer = tried(admin_client, source, '{"ticker": "{{ticker}}", "interval": {{interval}}}')
    page = answer.content.decode()
    assert "tv would refuse it" in page
    assert "Accepted: long, short" in page
    assert not RejectedAlert.objects.exists()


def test_html_in_a_message_is_shown_as_text(admin_client: Client, source: AlertSource) -> None:
    page = tried(admin_client, source, '{"ticker": "<script>alert(1)</script>", "action": "buy"}').content.decode()
    assert "<script>alert(1)</script>" not in page


def test_a_test_alert_becomes_a_signal(source: AlertSource) -> None:
    answer = tried(signed_in(OPERATOR), source, READABLE, send=READABLE)
    signal = Signal.objects.get()
    assert (signal.source, signal.symbol, signal.exchange, signal.direction) == ("tv", "AAPL", "NASDAQ", "long")
    assert answer.redirect_chain[-1][0] == f"/admin/webhooks/signal/{signal.pk}/change/"


def test_a_test_alert_that_cannot_be_read_is_kept(source: AlertSource) -> None:
    answer = tried(signed_in(OPERATOR), source, READABLE, send='{"ticker": "SPY"}')
    assert RejectedAlert.objects.get().sent_from == "the admin"
    assert "direction" in answer.content.decode()


def test_looking_is_for_everybody_and_sending_for_operators(source: AlertSource) -> None:
    viewer = signed_in(VIEWER)
    assert tried(viewer, source, READABLE).status_code == 200
    assert tried(viewer, source, READABLE, send=READABLE).status_code == 403
    assert not Signal.objects.exists()
    nobody = Client()
    nobody.force_login(User.objects.create_user("nobody", is_staff=True))
    assert nobody.get(ADDRESS).status_code == 403
    assert Client().get(ADDRESS).status_code == 302


@pytest.mark.parametrize(
    ("changes", "sent"),
    [
        ({"EXECUTION_MODE": "ENGINE_A_PRIMARY"}, False),
        ({"EXECUTION_MODE": "SPLIT_CAPITAL"}, False),
        ({"EXECUTION_MODE": "AUTO"}, True),
        ({"EXECUTION_MODE": "SHADOW_ONLY"}, True),
        ({"EXECUTION_MODE": "ENGINE_A_PRIMARY", "TRADING_HALTED": True}, True),
    ],
)
def test_with_real_money_a_test_alert_is_sent_only_where_nobody_would_trade(
    source: AlertSource, changes: dict[str, Any], sent: bool
) -> None:
    with override_settings(APP_MODE="LIVE"):
        record_revision({"MAX_SIGNAL_AGE_SECONDS": 299} | changes, changed_by="test")
        answer = tried(signed_in(OPERATOR), source, READABLE, send=READABLE)
    assert Signal.objects.exists() is sent
    assert ("Nothing was sent" in answer.content.decode()) is not sent


def test_a_disabled_source_is_not_offered(admin_client: Client, source: AlertSource) -> None:
    AlertSource.objects.update(enabled=False)
    answer = tried(admin_client, source, READABLE)
    assert "source" in answer.context["form"].errors
