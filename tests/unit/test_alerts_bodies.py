"""Bodies: strict JSON first, then nearly-JSON, then text, and a sentence for what is none of them."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.alerts.bodies import decode_body, read_body, read_payload
from webhooks.alerts.problems import UnreadableAlert
from webhooks.alerts.reading import SourceRules, read_alert
from webhooks.alerts.redaction import redact

storable_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
json_objects = st.dictionaries(
    storable_text,
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**80), 10**80)
        | st.floats(allow_nan=False, allow_infinity=False)
        | storable_text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(storable_text, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=5,
)


def code_of(text: str) -> str:
    with pytest.raises(UnreadableAlert) as refused:
        read_body(text)
    (problem,) = refused.value.problems
    assert problem.field == "body"
    assert problem.message
    assert problem.accepted
    json.dumps(problem.as_json()).encode()
    return problem.code


@given(json_objects, st.booleans(), st.sampled_from([None, 2]))
def test_what_json_loads_reads_is_the_payload(said: dict[str, object], escaped: bool, indent: int | None) -> None:
    text = json.dumps(said, ensure_ascii=escaped, indent=indent)
    assert read_payload(f"{text}\n") == json.loads(text) == said


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty_body"),
        (" \r\n\t", "empty_body"),
        ("null", "not_an_object"),
        ('"buy"', "not_an_object"),
        ("7", "not_an_object"),
        ("[]", "not_an_object"),
        ("[1]", "not_an_object"),
        ('[{"a":1},{"b":2}]', "not_an_object"),
        ('{"a": 1}{"a": 2}', "not_json"),
        ('{"a": 1} buy', "not_json"),
        ('{"a": "b", "c"}', "not_json"),
        ('{"a": "b" "c": 1}', "not_json"),
        ('{"a": "b"', "not_json"),
        ('{"a": 1,234.5}', "not_json"),
        ("{", "not_json"),
        ('{"a": "\x00"}', "nul"),
        ("{'a': \"\x00\"}", "nul"),
        ("buy\x00 SPY", "nul"),
        ('{"a": "\\u0000"}', "nul"),
        ('{"\\u0000": 1}', "nul"),
        ('{"a": "\\ud800"}', "lone_surrogate"),
        ('{"\\udfff": 1}', "lone_surrogate"),
        ('{"a": [{"b": "\\udc00\\ud800"}]}', "lone_surrogate"),
        ('{"a": 1D, "b": Infinity}', "not_a_number"),
        ('{"a": 1_000}', "not_a_number"),
        ('{"a": -1_000.5}', "not_a_number"),
        ('{"a": Infinity}', "not_a_number"),
        ('{"a": -Infinity}', "not_a_number"),
        ('{"a": 1e400}', "number_out_of_range"),
        ('{"a": -1e400}', "number_out_of_range"),
        ('{"a": ' + "9" * 400 + "}", "number_out_of_range"),
        ('{"a": ' + "9" * 60_000 + "}", "number_out_of_range"),
        ('{"a": 1, "a": 1}', "duplicate_key"),
        ('{"a": {"b": 1, "b": 2}}', "duplicate_key"),
        ("{'a': 1, \"a\": 1D}", "duplicate_key"),
        ("{a: [" + "1," * 2_000 + "]}", "too_many_values"),
        ("buy " * 1_001, "text_too_long"),
        ("b" * 16_385, "text_too_long"),
        ('{"a": 1D, "b": 1e400}', "number_out_of_range"),
        ('{"a": 1D, "b": ' + "9" * 400 + "}", "number_out_of_range"),
        ("[" * 33 + "]" * 33, "too_deep"),
        ("[" * 60_000, "too_deep"),
        ('{"a":' * 12_000, "too_deep"),
        ("{'a':" * 12_000, "too_deep"),
        ('{"a":' + '"' * 60_001, "not_json"),
        ('{"a":' + '"\\' * 30_000, "not_json"),
    ],
)
def test_a_body_that_cannot_be_read_says_why(text: str, code: str) -> None:
    assert code_of(text) == code


def test_thirty_two_levels_are_read() -> None:
    text = '{"a":' + "[" * 31 + "]" * 31 + "}"
    assert read_body(text).payload == json.loads(text)


def test_brackets_in_a_text_are_no_levels() -> None:
    assert read_payload(json.dumps({"a": "[" * 100, "b": '\\"{{{'})) == {"a": "[" * 100, "b": '\\"{{{'}


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert read_payload('{"a": "\\ud83d\\ude00"}') == {"a": "😀"}


def test_ten_thousand_keys_with_one_twice_are_refused() -> None:
    keys = [f'"k{number}": {number}' for number in range(3000)]
    assert code_of("{" + ",".join([*keys, '"k7": 7']) + "}") == "duplicate_key"


def test_the_fields_of_a_list_of_one_are_read_and_the_list_is_the_payload() -> None:
    body = read_body('[{"ticker": "SPY"}]')
    assert body.payload == [{"ticker": "SPY"}]
    assert body.fields == {"ticker": "SPY"}


def test_a_byte_order_mark_is_not_part_of_the_text() -> None:
    assert decode_body(b'\xef\xbb\xbf{"a": 1}') == '{"a": 1}'


@pytest.mark.parametrize(
    "raw", [b"\xff\xfe{\x00}\x00", b'{"a": "\xe9"}', b"\x1f\x8b\x08\x00\x00", b'{"a":"\xed\xa0\x80"}']
)
def test_a_body_that_is_not_utf_8_says_so(raw: bytes) -> None:
    with pytest.raises(UnreadableAlert) as refused:
        decode_body(raw)
    assert [problem.code for problem in refused.value.problems] == ["not_utf8"]


@given(st.binary(max_size=200))
def test_no_bytes_whatever_raise_anything_else(raw: bytes) -> None:
    try:
        read_body(decode_body(raw))
    except UnreadableAlert as refused:
        assert refused.problems  # noqa: PT017 - either way is right


@given(st.text('{}[]",:\\u0 dEe-+.19NaItruefls\n', max_size=80))
def test_what_strict_json_reads_is_never_read_otherwise(text: str) -> None:
    try:
        payload = read_payload(text)
    except UnreadableAlert:
        return
    try:
        strictly = json.loads(text, parse_constant=int)  # which fails: they are no JSON
    except ValueError:
        return
    assert payload == strictly


# Nearly-JSON


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ('{"ticker": BTCUSDT, "interval": 1D}', {"ticker": "BTCUSDT", "interval": "1D"}),
        ('{"ticker": 005930, "b": +5, "c": 0x10}', {"ticker": "005930", "b": "+5", "c": "0x10"}),
        ('{"plot": , "rsi": NaN, "x": na, "y": n/a}', {"plot": None, "rsi": None, "x": None, "y": None}),
        ('{"plot": NaN}', {"plot": None}),
        ('{"a": 1.50, "b": -2e3, "c": true, "d": null, "e": False, "f": 1D}',
         {"a": 1.5, "b": -2000.0, "c": True, "d": None, "e": False, "f": "1D"}),
        ('{"a": 1, "b": [1, 2,],}', {"a": 1, "b": [1, 2]}),
        ("{'a': 'it's', 'b': \"x\"}", {"a": "it's", "b": "x"}),
        ("{\u201caction\u201d: \u201cbuy\u201d, \"ticker\": \u201eSPY\u201c, \u2018b\u2019: 1}",
         {"action": "buy", "ticker": "SPY", "b": 1}),
        ("{action: buy, time: 2026-03-02T14:30:00Z, ticker: NASDAQ:AAPL}",
         {"action": "buy", "time": "2026-03-02T14:30:00Z", "ticker": "NASDAQ:AAPL"}),
        ('{"comment": "says "go" now", "a": "b\nc"}', {"comment": 'says "go" now', "a": "b\nc"}),
        ('{"a": "b"\n"c": 1\n}', {"a": "b", "c": 1}),
        ('{"a": buy, // or sell\n"b": "http://x"}', {"a": "buy", "b": "http://x"}),
        ("{\u00a0'a': 1\u00a0}", {"a": 1}),
        ('[{"ticker": SPY}]', [{"ticker": "SPY"}]),
        ('{"ticker": {{ticker}}, "sl": {{plot("Stop, low")}}}', {"ticker": "{{ticker}}", "sl": '{{plot("Stop, low")}}'}),
        ('{"a": "\\u00e9\\ud83d\\ude00\\n\\q", "b": 1D}', {"a": "\u00e9\U0001f600\n\\q", "b": "1D"}),
        ('START{"a": "buy"}END', {"a": "buy"}),
    ],
)  # fmt: skip
def test_nearly_json_is_read_as_what_it_was_meant_to_be(text: str, payload: object) -> None:
    assert read_payload(text) == payload
    with pytest.raises(ValueError, match=r"."):
        json.loads(text, parse_constant=lambda _: json.loads("-"))


@given(json_objects)
def test_json_that_lost_its_quotes_where_it_may_is_read_the_same(said: dict[str, object]) -> None:
    text = json.dumps({"ticker": "BTCUSDT", "said": said})
    broken = text.replace('"BTCUSDT"', "BTCUSDT", 1).replace('"ticker"', "ticker", 1)
    assert read_payload(broken) == json.loads(text)


# Texts


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("symbol=SPY,action=buy,interval=15", {"symbol": "SPY", "action": "buy", "interval": "15"}),
        ("symbol=SPY;action=buy;\ninterval = 15\n", {"symbol": "SPY", "action": "buy", "interval": "15"}),
        ("Symbol: SPY\r\nAction: buy\r\nTime: 2026-03-02T14:30:00Z",
         {"Symbol": "SPY", "Action": "buy", "Time": "2026-03-02T14:30:00Z"}),
        ("Symbol: SPY | Order Action: buy | RSI: 61.20", {"Symbol": "SPY", "Order Action": "buy", "RSI": "61.20"}),
        ("symbol=SPY&action=buy", {"symbol": "SPY", "action": "buy"}),
        ("symbol:SPY, price: 1,234.50", {"symbol": "SPY", "price": "1,234.50"}),
        ("key=k;comment=Long entry;instrument=ES 12-26;", {"key": "k", "comment": "Long entry", "instrument": "ES 12-26"}),
        ("buy BTCUSDT", {"action": "buy", "ticker": "BTCUSDT", "alert_text": "buy BTCUSDT"}),
        ("6012345,sell,EURUSD,risk=1",
         {"risk": "1", "action": "sell", "ticker": "EURUSD", "alert_text": "6012345,sell,EURUSD,risk=1"}),
        ("Bull bot (12, 26): order sell @ 1 filled on SPY. New strategy position is -1",
         {"strategy": "Bull bot (12, 26)", "action": "sell", "contracts": "1", "ticker": "SPY", "position_size": "-1"}),
        ("tp=1, tp=2", {"tp": "1", "tp (2)": "2"}),
        ("hello", {"alert_text": "hello"}),
    ],
)  # fmt: skip
def test_the_payload_of_a_text_are_the_pairs_in_it(text: str, pairs: dict[str, str]) -> None:
    assert read_payload(text) == pairs


# Any bytes, in bounded time


WORST_PIECES = (
    '"', "'", '" ', '"a" ', "{", "{{", "{'", "a:", "a = ", ": ", ",", " ", "\n", "\\", "\\u", "order buy @ 1 filled on ", "//", "buy SPY on ", "{{a",
    "{{a}}", "1,", " - ", "\u201c", "\u00e9", "=\n", "A:B ", "tp 1 ", "close long ", '"k":1D,', "k:1,", "&a=", "\u200b", 'secret:"', "pass ",
)  # fmt: skip


@pytest.mark.parametrize("start", ["", '{"a":', "{a:1D,b:", '{"message":"'])
def test_the_worst_bodies_are_read_in_bounded_time(start: str) -> None:
    for piece in WORST_PIECES:
        text = (start + piece * 65_536)[:65_536]
        began = process_time()
        with suppress(UnreadableAlert):
            body = redact(text, ["hook-TOKEN_0123456789"])
            read_alert(body, rules=SourceRules(), received_at=datetime(2026, 3, 2, tzinfo=UTC))
        assert process_time() - began < 0.5, piece  # it is some 30 ms; quadratic time would take minutes


def test_ten_thousand_keys_are_read_in_bounded_time() -> None:
    fields = {"ticker": "SPY", "action": "buy", "interval": "15", "time": 1772461800}
    text = json.dumps(fields | {f"key{number}": "buy" for number in range(3_000)})
    began = process_time()
    read_alert(text, rules=SourceRules(), received_at=datetime(2026, 3, 2, 15, tzinfo=UTC))
    assert process_time() - began < 0.5
