"""Signatures after Standard Webhooks: what we sign others verify, and every tampering is refused."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from orchestrator.engines.signing import HEADERS, BadSignature, sign, verify

OLD, NEW, FOREIGN = ("whsec_" + b64encode(word.encode() * 6).decode() for word in ("old...", "new...", "foreign"))
BODY = '{"type":"trade.exited","data":{}}'


def signed(secret: str = NEW, *, message_id: str = "msg_1", body: str = BODY, age: float = 0) -> dict[str, str]:
    return sign(secret, message_id=message_id, body=body, at=datetime.now(UTC) - timedelta(seconds=age))


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=50), st.text(max_size=200))
def test_what_we_sign_the_reference_library_verifies(message_id: str, body: str) -> None:
    body = body.encode(errors="replace").decode()
    headers = signed(message_id=message_id, body=body)
    assert tuple(headers) == HEADERS
    Webhook(NEW).verify(body, headers, json_parse=False)
    verify([NEW], headers=headers, body=body.encode())


def test_a_get_is_signed_over_an_empty_body() -> None:
    verify([NEW], headers=signed(body=""), body=b"")


def test_the_signature_does_not_depend_on_the_zone_of_the_clock() -> None:
    at = datetime.now(UTC)
    elsewhere = at.astimezone(timezone(timedelta(hours=9)))
    assert sign(NEW, message_id="m", body="", at=at) == sign(NEW, message_id="m", body="", at=elsewhere)


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_while_a_secret_is_rotated_both_are_accepted(secret: str) -> None:
    verify([NEW, OLD], headers=signed(secret), body=BODY.encode())


def test_two_signatures_in_one_header_are_accepted_when_one_is_right() -> None:
    headers = signed()
    headers["webhook-signature"] = f"{signed(FOREIGN)['webhook-signature']} {headers['webhook-signature']}"
    verify([NEW], headers=headers, body=BODY.encode())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"webhook-id": "msg_2"}, "No matching signature"),
        ({"webhook-id": ""}, "Missing"),
        ({"webhook-timestamp": ""}, "Missing"),
        ({"webhook-signature": ""}, "Missing"),
        ({"webhook-timestamp": "soon"}, "Invalid"),
        ({"webhook-timestamp": "nan"}, "Invalid"),
        ({"webhook-timestamp": "1e999"}, "Invalid"),
        ({"webhook-signature": "v1,AAAA"}, "No matching signature"),
        ({"webhook-signature": "v2,AAAA"}, "No matching signature"),
        ({"webhook-signature": "AAAA"}, "cannot be read"),
        ({"webhook-signature": "v1,not base64!"}, "cannot be read"),
        ({"webhook-signature": "v1,\u00e4\u00f6\u00fc"}, "cannot be read"),
    ],
)
def test_a_header_that_was_tampered_with_is_refused(changes: dict[str, str], said: str) -> None:
    with pytest.raises(BadSignature, match=said):
        verify([NEW], headers=signed() | changes, body=BODY.encode())


def test_a_body_that_was_tampered_with_is_refused() -> None:
    with pytest.raises(BadSignature, match="No matching signature"):
        verify([NEW], headers=signed(), body=BODY.encode() + b" ")


def test_a_body_that_is_no_text_is_refused() -> None:
    with pytest.raises(BadSignature, match="UTF-8"):
        verify([NEW], headers=signed(), body=b"\xff")


@pytest.mark.parametrize(("age", "fine"), [(0, True), (290, True), (310, False), (-290, True), (-310, False)])
def test_five_minutes_either_way_are_allowed(age: float, fine: bool) -> None:
    headers = signed(age=age)
    if fine:
        verify([NEW], headers=headers, body=BODY.encode())
        return
    with pytest.raises(BadSignature, match=r"too (old|new)"):
        verify([NEW], headers=headers, body=BODY.encode())


def test_a_foreign_secret_and_no_secret_are_refused_without_a_hint() -> None:
    with pytest.raises(BadSignature) as refusal:
        verify([NEW, OLD], headers=signed(FOREIGN), body=BODY.encode())
    right = signed()["webhook-signature"].removeprefix("v1,")
    assert right not in str(refusal.value)
    with pytest.raises(BadSignature, match="No secret"):
        verify([], headers=signed(), body=BODY.encode())
