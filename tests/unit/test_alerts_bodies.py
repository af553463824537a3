"""Bodies: strict JSON by content, and a sentence for everything that is not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.alerts.bodies import decode_body, read_body, read_payload
from webhooks.alerts.problems import UnreadableAlert

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
        ("buy BTCUSDT", "not_json"),
        ('{"interval": 1D}', "not_json"),
        ('{"a": 1,}', "not_json"),
        ('{"a": 1_000}', "not_json"),
        ('{"a": 01}', "not_json"),
        ('{"a": "b\nc"}', "not_json"),
        ('{"a": 1}{"a": 2}', "not_json"),
        ('{"a": "\x00"}', "not_json"),
        ('{"a": "\\u0000"}', "nul"),
        ('{"\\u0000": 1}', "nul"),
        ('{"a": "\\ud800"}', "lone_surrogate"),
        ('{"\\udfff": 1}', "lone_surrogate"),
        ('{"a": [{"b": "\\udc00\\ud800"}]}', "lone_surrogate"),
        ('{"a": NaN}', "not_a_number"),
        ('{"a": Infinity}', "not_a_number"),
        ('{"a": -Infinity}', "not_a_number"),
        ('{"a": 1e400}', "number_out_of_range"),
        ('{"a": -1e400}', "number_out_of_range"),
        ('{"a": ' + "9" * 400 + "}", "number_out_of_range"),
        ('{"a": ' + "9" * 60_000 + "}", "number_out_of_range"),
        ('{"a": 1, "a": 1}', "duplicate_key"),
        ('{"a": {"b": 1, "b": 2}}', "duplicate_key"),
        ("[" * 33 + "]" * 33, "too_deep"),
        ("[" * 60_000, "too_deep"),
        ('{"a":' * 12_000, "too_deep"),
        ('"' * 60_001, "not_json"),
        ('"\\' * 30_000, "not_json"),
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
def test_no_almost_json_raises_anything_else(text: str) -> None:
    try:
        payload = read_payload(text)
    except UnreadableAlert:
        return
    assert payload == json.loads(text)
