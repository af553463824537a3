"""What a source may ask of a request beyond its token, and how its token is replaced without losing an alert."""

import json
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client, override_settings

from tests.conftest import LogLines
from webhooks.alerts.body_secrets import find_secret
from webhooks.canonical import sha256_hex
from webhooks.keeping import keeper
from webhooks.models import AlertSource, RejectedAlert, Signal
from webhooks.networks import TRADINGVIEW
from webhooks.services import UnusableSecret, create_source, find_source, read_again, replace_token, set_body_secret
from webhooks.sources import known_sources
from webhooks.storing import StoredSignal

TOKEN, SECOND = "hook-TOKEN_0123456789", "hook-TOKEN_9876543210"
SECRET = "a-secret-of-the-body.42"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def source() -> AlertSource:
    return create_source("default", TOKEN)


@pytest.fixture(autouse=True)
def _forget_sources() -> Any:
    yield
    keeper.stop()
    known_sources.clear()


def alert(**said: Any) -> str:
    at = datetime.now(UTC).isoformat()
    return json.dumps({"ticker": "SPY", "action": "buy", "interval": "5", "time": at} | said)


def post(body: str, *, token: str = TOKEN, **meta: Any) -> Any:
    return Client().post(f"/webhooks/tradingview/{token}/", data=body, content_type="text/plain", **meta)


# A new token


def test_the_old_token_works_for_the_time_that_was_set_and_no_longer(source: AlertSource) -> None:
    assert post(alert(number=1)).status_code == 200
    replace_token(source, SECOND, old_works_for=timedelta(hours=1))
    assert [post(alert(number=2), token=token).status_code for token in (TOKEN, SECOND)] == [200, 200]
    AlertSource.objects.update(previous_token_until=datetime.now(UTC) - timedelta(seconds=1))
    assert [post(alert(number=3), token=token).status_code for token in (TOKEN, SECOND)] == [404, 200]
    assert find_source(TOKEN) is None


def test_a_token_that_was_replaced_at_once_opens_nothing_from_the_next_request_on(source: AlertSource) -> None:
    assert post(alert(number=1)).status_code == 200
    replace_token(source, SECOND)
    assert post(alert(number=2)).status_code == 404
    assert post(alert(number=3), token=SECOND).status_code == 200


def test_the_token_before_the_last_one_opens_nothing(source: AlertSource) -> None:
    replace_token(source, SECOND, old_works_for=timedelta(hours=1))
    replace_token(source, "hook-TOKEN_third", old_works_for=timedelta(hours=1))
    assert [post(alert(), token=token).status_code for token in (TOKEN, SECOND)] == [404, 200]


def test_both_tokens_are_redacted_where_they_stand_in_the_body(source: AlertSource) -> None:
    replace_token(source, SECOND, old_works_for=timedelta(hours=1))
    assert post(alert(note=f"x {TOKEN} x")).status_code == 200
    assert TOKEN not in Signal.objects.get().raw_body


# From where


@pytest.mark.parametrize(
    ("networks", "address", "status"),
    [
        ([], "203.0.113.9", 200),
        (["203.0.113.0/24"], "203.0.113.9", 200),
        (["203.0.113.0/24"], "::ffff:203.0.113.9", 200),
        (["203.0.113.0/24"], "203.0.114.9", 403),
        (list(TRADINGVIEW), "52.32.178.7", 200),
        (list(TRADINGVIEW), "52.32.178.8", 403),
        (["2001:db8::/32"], "2001:db8::1", 200),
        (["203.0.113.0/24"], "", 403),
    ],
)
def test_only_the_addresses_that_a_source_names_may_send(
    source: AlertSource, networks: list[str], address: str, status: int
) -> None:
    AlertSource.objects.update(allowed_networks=networks)
    assert post(alert(), REMOTE_ADDR=address).status_code == status
    assert Signal.objects.count() == (status == 200)
    assert RejectedAlert.objects.count() == 0


@pytest.mark.parametrize(
    ("peer", "forwarded", "status"),
    [
        ("10.0.0.1", "203.0.113.9", 200),
        ("10.0.0.1", "198.51.100.1, 203.0.113.9", 200),
        ("10.0.0.1", "203.0.113.9, 10.0.0.2", 200),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1", 403),
        ("10.0.0.1", "", 403),
        ("192.0.2.1", "203.0.113.9", 403),
    ],
)
def test_behind_a_proxy_its_word_counts_and_nobody_elses(
    source: AlertSource, peer: str, forwarded: str, status: int
) -> None:
    AlertSource.objects.update(allowed_networks=["203.0.113.0/24"])

    with override_settings(TRUSTED_PROXIES=(ip_network("10.0.0.0/8"),)):
        assert post(alert(), REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=forwarded).status_code == status


def test_a_refused_request_leaves_no_row_and_is_told_on_the_sources_page(
    source: AlertSource, log_lines: LogLines
) -> None:
    AlertSource.objects.update(allowed_networks=["203.0.113.0/24"])
    for _ in range(2):
        assert post(alert(), REMOTE_ADDR="198.51.100.7").status_code == 403
    source.refresh_from_db()
    assert (source.refused_requests, source.last_refusal) == (2, "It came from 198.51.100.7.")
    assert {line["code"] for line in log_lines.of("signal.refused")} == {"address_not_allowed"}
    assert post(alert(), REMOTE_ADDR="203.0.113.1").status_code == 200


# A secret in the body


@pytest.mark.parametrize(
    "body",
    [
        '{"ticker": "SPY", "action": "buy", "interval": "5", "time": "TIME", "key_of_mine": "SECRET"}',
        '{"ticker": "SPY", "action": "buy", "interval": "5", "time": "TIME", "auth": {"deep": ["SECRET"]}}',
        '{"ticker": "SPY", "action": "buy", "interval": "5", "time": "TIME", "passphrase": "SECRET"}',
        '{"ticker": "SPY", "action": "buy", "interval": "5", "time": "TIME", "x": "SECRET", "note": "it is SECRET."}',
    ],
)
def test_the_secret_opens_wherever_it_sits_and_is_stored_nowhere(
    source: AlertSource, body: str, log_lines: LogLines
) -> None:
    set_body_secret(source, SECRET)
    sent = body.replace("SECRET", SECRET).replace("TIME", datetime.now(UTC).isoformat())
    assert post(sent).status_code == 200
    signal = Signal.objects.get()
    assert SECRET not in signal.raw_body
    assert SECRET not in json.dumps(signal.raw_payload)
    assert "[redacted]" in signal.raw_body
    assert SECRET not in json.dumps(log_lines)
    assert SECRET not in json.dumps(list(AlertSource.objects.values()), default=str)


@pytest.mark.parametrize("said", ["", SECRET[:-1], SECRET + "x", f" {SECRET}", SECRET.upper()])
def test_without_the_very_secret_nothing_is_kept(source: AlertSource, said: str) -> None:
    set_body_secret(source, SECRET)
    assert post(alert(passphrase=said)).status_code == 403
    assert not Signal.objects.exists()
    assert not RejectedAlert.objects.exists()
    source.refresh_from_db()
    assert source.last_refusal == "Its body did not carry the source's secret."


def test_a_rejected_alert_is_kept_without_the_secret(source: AlertSource) -> None:
    set_body_secret(source, SECRET)
    assert post(json.dumps({"ticker": "SPY", "x": SECRET})).status_code == 400
    assert SECRET not in RejectedAlert.objects.get().body


def test_a_secret_is_a_word_of_a_text_too() -> None:
    hashed = sha256_hex(SECRET)
    assert find_secret(f"buy SPY key={SECRET}; more", hashed) == SECRET
    assert find_secret("buy SPY", hashed) is None


@pytest.mark.parametrize("secret", ["short", "has spaces in it, many", "x" * 201, "ünïcödë-ünïcödë-ünïcödë"])
def test_a_secret_that_is_none_is_refused(source: AlertSource, secret: str) -> None:
    with pytest.raises(UnusableSecret, match="16 to 200"):
        set_body_secret(source, secret)


def test_a_secret_that_was_taken_away_is_asked_for_no_more(source: AlertSource) -> None:
    set_body_secret(source, SECRET)
    set_body_secret(source, "")
    assert post(alert()).status_code == 200


# Its size


def test_a_source_may_take_less_than_the_service(source: AlertSource) -> None:
    AlertSource.objects.update(largest_body_bytes=200)
    assert post(alert(note="x" * 300)).status_code == 413
    assert RejectedAlert.objects.get().sent_from == "127.0.0.1"
    assert post(alert()).status_code == 200


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"largest_body_bytes": 0}, "largest_body_bytes"),
        ({"largest_body_bytes": 65537}, "largest_body_bytes"),
        ({"allowed_networks": ["not an address"]}, "allowed_networks"),
        ({"allowed_networks": "10.0.0.0/8"}, "allowed_networks"),
    ],
)
def test_rules_that_make_no_sense_are_refused(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as refused:
        create_source("other", SECOND, **fields)
    assert named in refused.value.message_dict


# Reading again


def test_a_rejected_alert_becomes_a_signal_once_its_source_knows_where_to_look(source: AlertSource) -> None:
    at = datetime.now(UTC).isoformat()
    assert (
        post(json.dumps({"ticker": "SPY", "tf": "5", "time": at, "order": {"what": {"way": "buy"}}})).status_code == 400
    )
    kept = RejectedAlert.objects.get()
    still = read_again(kept, source=source)
    assert isinstance(still, tuple)
    assert still[0].field == "direction"
    source.paths = {"direction": "order.what.way"}
    source.save()
    stored = read_again(kept, source=source)
    assert isinstance(stored, StoredSignal)
    kept.refresh_from_db()
    signal = Signal.objects.get()
    assert kept.replayed_signal == signal
    assert signal.received_at == kept.received_at, "an old alert is followed, not traded"
    assert read_again(kept, source=source) == StoredSignal(signal.pk, signal.signal_hash, duplicate=True)


def test_what_an_alert_contradicts_itself_in_is_marked_on_its_signal(source: AlertSource) -> None:
    assert post(alert(action="buy", direction="short")).status_code == 200
    signal = Signal.objects.get()
    assert signal.direction == "short"
    assert signal.notes == ["direction says short, action the opposite"]
    assert post(alert(number=2)).status_code == 200
    assert Signal.objects.exclude(pk=signal.pk).get().notes == []
