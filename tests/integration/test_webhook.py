"""The webhook's answers: an alert becomes one signal, and everything else is kept and explained, never a 500."""

import io
import json
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from webhooks.alerts import read_payload
from webhooks.canonical import signal_hash
from webhooks.models import AlertSource, RejectedAlert, Signal
from webhooks.services import create_source

TOKEN = "hook-TOKEN_0123456789"
ADDRESS = f"/webhooks/tradingview/{TOKEN}/"
ALERT: dict[str, Any] = {
    "ticker": "NASDAQ:AAPL",
    "action": "buy",
    "interval": "1h",
    "time": "2026-03-02T14:30:00Z",
    "close": 230.1,
}
FOUR_FIELDS = '"ticker":"SPY","action":"buy","interval":"5","time":"2026-03-02T14:30:00Z"'


@pytest.fixture
def source(db: None) -> AlertSource:
    return create_source("default", TOKEN)


def post(body: Any, *, address: str = ADDRESS, content_type: str = "application/json", **headers: str) -> Any:
    raw = body if isinstance(body, str | bytes) else json.dumps(body)
    return Client(raise_request_exception=True).generic("POST", address, raw, content_type, headers=headers)


def assert_problem(response: Any, status: int) -> Any:
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = json.loads(response.content)
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    return problem


@pytest.mark.requirement("1.1", "8.1", "8.2", "8.3", "8.4", "8.5", "9.4", "property-1", "property-23", "property-24")
def test_an_alert_becomes_exactly_one_signal_and_nothing_else(source: AlertSource) -> None:
    began = time.monotonic()
    response = post(ALERT)
    assert time.monotonic() - began < 3
    assert response.status_code == 200
    signal = Signal.objects.get()
    assert response.json() == {
        "signal_id": str(signal.signal_id),
        "signal_hash": signal.signal_hash,
        "duplicate": False,
    }
    assert (signal.source, signal.symbol, signal.exchange) == ("default", "AAPL", "NASDAQ")
    assert (signal.direction, signal.timeframe, signal.timestamp_origin) == ("long", "60", "payload")
    assert signal.timestamp == datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
    assert signal.raw_payload == ALERT
    assert signal.raw_body == json.dumps(ALERT)
    assert abs(signal.received_at - datetime.now(UTC)) < timedelta(seconds=30)
    assert (signal.processed, signal.processed_at, signal.experiment_id, signal.attempts) == (False, None, None, 0)
    assert (signal.processing_lock, signal.lock_expires_at, signal.next_attempt_at) == (None, None, None)
    assert (signal.last_error, signal.parked_at) == ("", None)
    assert not RejectedAlert.objects.exists()


def test_the_signal_hash_is_recomputable_from_the_stored_row(source: AlertSource) -> None:
    post(
        '{"ticker": "SPY", "action":"buy","interval":"5","time":"2026-03-02T14:30:00Z", "close":589.120, "big":1e22}\n'
    )
    signal = Signal.objects.get()
    canonical = json.dumps(
        {
            "direction": signal.direction,
            "payload": json.loads(signal.raw_body),
            "source": signal.source,
            "symbol": signal.symbol,
            "timeframe": signal.timeframe,
            "timestamp": signal.timestamp.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )
    assert signal.signal_hash == sha256(canonical.encode()).hexdigest()


def test_the_body_is_kept_byte_for_byte(source: AlertSource) -> None:
    body = '{ "ticker":"SPY",\t"action" : "buy", "interval":"5",\r\n"time":1772461800,"note":"é \\u00e9 😀","x":1.10}\n'
    post(body.encode())
    assert Signal.objects.get().raw_body == body


def test_the_same_alert_again_is_the_same_signal(source: AlertSource) -> None:
    first = post(ALERT).json()
    again = post(json.dumps(dict(reversed(ALERT.items())), indent=2)).json()
    assert again == {**first, "duplicate": True}
    assert Signal.objects.count() == 1


def test_another_source_makes_another_signal(source: AlertSource) -> None:
    create_source("other", "another-token")
    assert (
        post(ALERT).json()["signal_id"]
        != post(ALERT, address="/webhooks/tradingview/another-token/").json()["signal_id"]
    )
    assert Signal.objects.count() == 2


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain; charset=utf-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "nonsense",
        "",
        "application/json; charset=klingon",
    ],
)
def test_the_content_type_does_not_matter(source: AlertSource, content_type: str) -> None:
    assert post(ALERT, content_type=content_type).status_code == 200
    assert Signal.objects.count() == 1


def test_the_accept_header_and_the_query_do_not_matter(source: AlertSource) -> None:
    assert post(ALERT, accept="text/html", address=f"{ADDRESS}?format=xml").status_code == 200


def test_the_last_slash_may_be_missing(source: AlertSource) -> None:
    assert post(ALERT, address=ADDRESS.rstrip("/")).status_code == 200


def test_a_refused_alert_is_kept_with_a_reason_for_each_field(source: AlertSource) -> None:
    body = {"ticker": "{{ticker}}", "action": "hold", "time": "2026-03-02T14:30:00Z", "close": 1}
    problem = assert_problem(post(body, content_type="text/plain"), 400)
    found = {error["field"]: (error["code"], error["found"], error["path"]) for error in problem["errors"]}
    assert found == {
        "symbol": ("unfilled_placeholder", '"{{ticker}}"', "ticker"),
        "direction": ("unknown_direction", '"hold"', "action"),
        "timeframe": ("missing", None, None),
    }
    assert all(error["accepted"] and error["example"] and error["message"] for error in problem["errors"])
    kept = RejectedAlert.objects.get()
    assert (kept.source, kept.code, kept.content_type) == ("default", "invalid", "text/plain")
    assert json.loads(kept.body) == body
    assert kept.errors == problem["errors"]
    assert kept.replayed_signal is None
    assert not Signal.objects.exists()


def test_an_exit_alert_is_kept_and_never_a_signal(source: AlertSource) -> None:
    response = post({**ALERT, "market_position": "flat"})
    assert response.status_code == 200
    assert response.json() == {"signal_id": None, "code": "exit_alert"}
    assert RejectedAlert.objects.exits().unreplayed().count() == 1
    assert not Signal.objects.exists()


def test_an_unknown_token_leaves_no_row(source: AlertSource) -> None:
    source_off = create_source("off", "switched-off-token", enabled=False)
    for token in (
        "unknown-token-1",
        "x",
        "%00",
        "%ff%fe",
        "..%2f..%2fadmin",
        "a" * 5000,
        "switched-off-token",
        "%F0%9F%98%80",
    ):
        assert_problem(post(ALERT, address=f"/webhooks/tradingview/{token}/"), 404)
    assert not source_off.enabled
    assert not Signal.objects.exists()
    assert not RejectedAlert.objects.exists()


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_only_post_sends_alerts(source: AlertSource, method: str) -> None:
    response = Client().generic(method, ADDRESS, json.dumps(ALERT), "application/json")
    assert_problem(response, 405)
    assert response.headers["Allow"] == "POST"
    assert not Signal.objects.exists()
    assert not RejectedAlert.objects.exists()


def test_no_session_and_no_forgery_token_are_asked_for(source: AlertSource) -> None:
    client = Client(enforce_csrf_checks=True)
    assert client.post(ADDRESS, json.dumps(ALERT), "application/json").status_code == 200
    assert not client.cookies


def test_a_chunked_body_without_a_length_is_read(source: AlertSource) -> None:
    for body, status in ((json.dumps(ALERT).encode(), 200), (b"x" * 1_000_000, 413), (b"", 400)):
        chunked: dict[str, Any] = {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
        assert Client().generic("POST", ADDRESS, **chunked).status_code == status


def test_a_sender_that_goes_away_harms_nobody(source: AlertSource) -> None:
    class Gone(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise OSError("connection reset")

    for length in ("100", ""):
        broken: dict[str, Any] = {"CONTENT_LENGTH": length, "wsgi.input_terminated": True, "wsgi.input": Gone()}
        response = Client().generic("POST", ADDRESS, **broken)
        assert_problem(response, 400)
    assert not RejectedAlert.objects.exists()


def test_no_log_line_holds_the_token_or_the_body(source: AlertSource, log_lines: Any) -> None:
    post({**ALERT, "note": "b0dy-text"})
    post({"note": "b0dy-text"})
    post(ALERT, address=f"{ADDRESS}x/")
    Client().put(ADDRESS)
    (received,) = log_lines.of("signal.received")
    assert received["signal_id"] == str(Signal.objects.get().signal_id)
    assert (received["symbol"], received["direction"]) == ("AAPL", "long")
    assert received["timestamp"] == "2026-03-02T14:30:00.000000Z"
    assert len(log_lines.of("signal.rejected")) == 1
    assert TOKEN not in json.dumps(log_lines)
    assert "b0dy-text" not in json.dumps(log_lines)


HOSTILE = {
    "empty": b"",
    "blank": b" \n",
    "not json": b"buy SPY",
    "no object": b"[1, 2]",
    "bare word": b'{"interval": 1D}',
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "utf-16": json.dumps(ALERT).encode("utf-16"),
    "latin-1": '{"a": "é"}'.encode("latin-1"),
    "raw NUL": b'{"a": "\x00"}',
    "escaped NUL": b'{%b,"a":"\\u0000"}' % FOUR_FIELDS.encode(),
    "NUL in a key": b'{%b,"\\u0000":1}' % FOUR_FIELDS.encode(),
    "lone surrogate": b'{%b,"a":"\\ud800"}' % FOUR_FIELDS.encode(),
    "lone surrogate in the symbol": b'{"ticker":"\\udc00","action":"buy","interval":"5","time":1772461800}',
    "infinity": b'{%b,"close":-Infinity}' % FOUR_FIELDS.encode(),
    "1e400": b'{%b,"close":1e400}' % FOUR_FIELDS.encode(),
    "400 digits": b'{%b,"close":%b}' % (FOUR_FIELDS.encode(), b"9" * 400),
    "5000 digits": b'{%b,"close":%b}' % (FOUR_FIELDS.encode(), b"9" * 5000),
    "a key twice": b'{%b,"action":"sell"}' % FOUR_FIELDS.encode(),
    "a nested key twice": b'{%b,"a":{"b":1,"b":1}}' % FOUR_FIELDS.encode(),
    "depth 33": b'{%b,"a":%b1%b}' % (FOUR_FIELDS.encode(), b"[" * 32, b"]" * 32),
    "depth bomb": b"[" * 60_000,
    "object bomb": b'{"a":' * 12_000,
    "quotes": b'"' * 60_001,
    "backslashes": b'{"a":"' + b"\\" * 60_001,
    "1_000": b'{%b,"close":1_000}' % FOUR_FIELDS.encode(),
    "wrong types": b'{"ticker":7,"action":[],"interval":{},"time":true}',
    "symbol of 65": json.dumps({**ALERT, "ticker": "A" * 65}).encode(),
    "HTML": json.dumps({**ALERT, "ticker": "<script>alert(1)</script>"}).encode(),
    "SQL": json.dumps({**ALERT, "ticker": "'; DROP TABLE signals; --"}).encode(),
    "right to left": json.dumps({**ALERT, "ticker": "\u202eYPS"}).encode(),
    "tomorrow": json.dumps({**ALERT, "time": (datetime.now(UTC) + timedelta(days=1)).isoformat()}).encode(),
    "year 10000": b'{"ticker":"SPY","action":"buy","interval":"5","time":253402300800}',
    "endless epoch": b'{"ticker":"SPY","action":"buy","interval":"5","time":1e30}',
    "huge timeframe": json.dumps({**ALERT, "interval": "9" * 1000}).encode(),
}
HARMLESS = {
    "BOM": b"\xef\xbb\xbf" + json.dumps(ALERT).encode(),
    "trailing newlines": json.dumps(ALERT).encode() + b"\r\n\n",
    "list of one": json.dumps([ALERT]).encode(),
    "thousands of keys": json.dumps({**ALERT, **{f"k{n}": n for n in range(4_400)}}).encode(),
    "depth 32": b'{%b,"a":%b1%b}' % (FOUR_FIELDS.encode(), b"[" * 31, b"]" * 31),
    "exactly 64 KiB": json.dumps({**ALERT, "pad": ""}).encode().replace(b'""', b'"%b"' % (b"x" * 65_411)),
    "tiny and huge numbers": b'{%b,"a":1e-400,"b":1e308,"c":-0.0,"d":%b}' % (FOUR_FIELDS.encode(), b"9" * 100),
    "HTML in another field": json.dumps(
        {**ALERT, "note": "<script>alert(1)</script>'; DROP TABLE signals; --"}
    ).encode(),
}


@pytest.mark.requirement("8.1")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_is_refused_kept_and_explained(source: AlertSource, name: str) -> None:
    problem = assert_problem(post(HOSTILE[name]), 400)
    assert problem["errors"]
    assert RejectedAlert.objects.get().errors == problem["errors"]
    assert not Signal.objects.exists()


NO_JSON = {
    "NaN": b'{%b,"close":NaN}' % FOUR_FIELDS.encode(),
    "words without quotes": b'{"ticker":NASDAQ:AAPL,"action":buy,"interval":1D,"time":1772461800,"rsi":,}',
    "typographic quotes": '{\u201cticker\u201d:\u201cSPY\u201d,\u201caction\u201d:\u201cbuy\u201d,"interval":"5","time":1772461800}'.encode(),
    "text": b"ticker=SPY; action=buy; interval=5; time=1772461800",
    "a sentence": b"Bull (12, 26): order sell @ 1 filled on SPY. New strategy position is -1, interval=5, time=1772461800",
}


@pytest.mark.parametrize("name", HARMLESS)
def test_an_unusual_body_is_read(source: AlertSource, name: str) -> None:
    assert len(HARMLESS[name]) <= 65_536
    response = post(HARMLESS[name])
    assert response.status_code == 200, response.content
    signal = Signal.objects.get()
    assert signal.signal_hash == signal_hash(
        direction=signal.direction,
        payload=json.loads(signal.raw_body),
        source=signal.source,
        symbol=signal.symbol,
        timeframe=signal.timeframe,
        timestamp=signal.timestamp,
    )


@pytest.mark.parametrize("name", NO_JSON)
def test_what_is_no_json_is_read_and_its_hash_can_be_computed_again(source: AlertSource, name: str) -> None:
    response = post(NO_JSON[name])
    assert response.status_code == 200, response.content
    signal = Signal.objects.get()
    assert signal.raw_body == NO_JSON[name].decode()
    assert signal.raw_payload == read_payload(signal.raw_body)
    assert signal.signal_hash == signal_hash(
        direction=signal.direction,
        payload=signal.raw_payload,
        source=signal.source,
        symbol=signal.symbol,
        timeframe=signal.timeframe,
        timestamp=signal.timestamp,
    )
    assert post(NO_JSON[name]).json()["duplicate"] is True


@pytest.mark.parametrize("size", [65_537, 1_000_000, 10_000_000])
def test_a_body_that_is_too_large_is_refused_and_its_beginning_kept(source: AlertSource, size: int) -> None:
    problem = assert_problem(post(b'{"a":"' + b"x" * (size - 8) + b'"}'), 413)
    assert problem["errors"][0]["code"] == "too_large"
    assert len(RejectedAlert.objects.get().body) <= 65_536


def test_a_token_across_the_cut_of_a_large_body_is_not_kept(source: AlertSource) -> None:
    for shift in range(0, 30, 3):
        post(b"x" * (65_536 - shift) + TOKEN.encode() + b"y" * 100)
    for kept in RejectedAlert.objects.all():
        assert "hook-TOKEN" not in kept.body


def test_a_compressed_body_is_refused_and_not_kept(source: AlertSource) -> None:
    problem = assert_problem(post(ALERT, **{"content-encoding": "gzip"}), 400)
    assert problem["errors"][0]["code"] == "encoded_body"
    assert RejectedAlert.objects.get().body == ""


def test_secrets_are_redacted_before_anything_is_stored_hashed_or_answered(source: AlertSource) -> None:
    said = {**ALERT, "passphrase": "hunter2", "note": f"to {TOKEN}", "deep": {"secret": {"x": "hunter2"}}}
    response = post(said)
    signal = Signal.objects.get()
    expected = {**ALERT, "passphrase": "[redacted]", "note": "to [redacted]", "deep": {"secret": "[redacted]"}}
    assert signal.raw_payload == json.loads(signal.raw_body) == expected
    assert post({**said, "passphrase": "another"}).json() == {**response.json(), "duplicate": True}
    refused = post({**said, "ticker": f"{TOKEN}", "action": "hunter2" * 40, "password": "hunter3"})
    kept = RejectedAlert.objects.get()
    for text in (refused.content.decode(), kept.body, json.dumps(kept.errors)):
        assert TOKEN not in text
        assert "hunter3" not in text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8"])
def test_a_body_that_cannot_be_read_is_kept_without_the_token(source: AlertSource, encoding: str) -> None:
    post(f'{{"a": "{TOKEN}", "passphrase": "hunter2", é'.encode(encoding))
    rejected = RejectedAlert.objects.get()
    kept = rejected.body + json.dumps(rejected.errors)
    assert "TOKEN" not in kept.replace("\\x00", "").replace("\\u0000", "")
    assert "hunter2" not in kept.replace("\\x00", "").replace("\\u0000", "")
    assert "[redacted]" in rejected.body


def test_a_byte_that_cannot_be_read_quotes_nothing_of_the_secret_beside_it(source: AlertSource) -> None:
    response = post(b'{"a": "\xe9' + TOKEN.encode() + b'"}')
    said = response.content.decode() + json.dumps(RejectedAlert.objects.get().errors)
    assert TOKEN[:4].encode().hex(" ") not in said
    assert [problem["found"] for problem in response.json()["errors"]] == ['"e9"']


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("before", [b"{", b'{"note": "' + b"x" * 80 + b'", ', b'{"note": "' + b"x" * 81 + b'", '])
def test_a_token_in_another_encoding_within_a_text_is_neither_quoted_nor_kept(
    source: AlertSource, encoding: str, before: bytes
) -> None:
    response = post(before + b'"a": "' + TOKEN.encode(encoding) + b'"}')
    rejected = RejectedAlert.objects.get()
    said = response.content.decode() + json.dumps(rejected.errors) + rejected.body
    assert "TOKEN" not in said.replace("\\x00", "").replace("\\\\u0000", "").replace("\\u0000", "")


def test_the_sources_defaults_stand_in_for_what_an_alert_lacks(source: AlertSource) -> None:
    create_source("defaults", "defaults-token", default_timeframe="4h", accept_missing_timestamp=True)
    response = post({"ticker": "SPY", "action": "sell"}, address="/webhooks/tradingview/defaults-token/")
    assert response.status_code == 200
    signal = Signal.objects.get()
    assert (signal.timeframe, signal.timestamp_origin) == ("240", "received")
    assert signal.timestamp == signal.received_at


def test_a_sources_paths_are_used(source: AlertSource) -> None:
    source.paths = {"direction": "order.way"}
    source.save()
    assert post({**ALERT, "order": {"way": "short"}}).status_code == 200
    assert Signal.objects.get().direction == "short"


def test_a_limited_source_is_told_to_wait_and_its_alert_is_kept(source: AlertSource) -> None:
    source.requests_per_minute = 2
    source.save()
    assert [post({**ALERT, "n": n}).status_code for n in range(2)] == [200, 200]
    response = post({**ALERT, "n": 3})
    assert_problem(response, 429)
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert RejectedAlert.objects.get().code == "rate_limited"
    AlertSource.objects.update(minute_started_at=datetime.now(UTC) - timedelta(seconds=61))
    assert post({**ALERT, "n": 4}).status_code == 200


def test_storing_a_signal_takes_one_statement_beside_finding_its_source(source: AlertSource) -> None:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert post(ALERT).status_code == 200
    statements = [query["sql"].split()[0] for query in queries.captured_queries]
    assert statements == ["SELECT", "WITH"]  # WITH … INSERT, which compares the source as well


@pytest.mark.requirement("8.4", "8.5", "9.4", "property-24")
class TestAcceptance(TestCase):
    """Accepted if and only if the four fields are there or supplied, and then exactly one signal."""

    @classmethod
    def setUpTestData(cls) -> None:
        create_source("default", TOKEN)
        create_source("defaults", "defaults-token", default_timeframe="5", accept_missing_timestamp=True)

    @pytest.mark.requirement("property-22", "property-23", "8.1", "8.2")
    @given(
        st.fixed_dictionaries(
            {},
            optional={
                "ticker": st.sampled_from(["SPY", "BINANCE:BTCUSDT.P"]),
                "side": st.sampled_from(["buy", "sell", "long", "short"]),
                "interval": st.sampled_from(["1", "60", "1D"]),
                "time": st.datetimes(datetime(2001, 1, 1), datetime(2026, 1, 1)).map(datetime.isoformat),  # noqa: DTZ001
                "close": st.floats(allow_nan=False, allow_infinity=False),
                "colour": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
            },
        ),
        st.booleans(),
    )
    def test_an_alert_is_accepted_if_and_only_if_its_fields_are_there(
        self, said: dict[str, Any], defaults: bool
    ) -> None:
        needed = {"ticker", "side"} if defaults else {"ticker", "side", "interval", "time"}
        response = post(said, address="/webhooks/tradingview/defaults-token/" if defaults else ADDRESS)
        accepted = needed <= said.keys()
        assert response.status_code == (200 if accepted else 400)
        assert Signal.objects.count() == accepted
        assert RejectedAlert.objects.count() == (not accepted)
        if accepted:
            signal = Signal.objects.get(signal_id=response.json()["signal_id"])
            assert json.loads(signal.raw_body) == said
            assert signal.raw_payload.keys() == said.keys()

    @given(st.binary(max_size=300) | st.text().map(lambda text: text.encode("utf-8", "replace")))
    def test_no_bytes_whatever_are_answered_with_a_server_error(self, raw: bytes) -> None:
        response = post(raw)
        assert response.status_code in (200, 400)
        assert Signal.objects.count() + RejectedAlert.objects.count() == 1
