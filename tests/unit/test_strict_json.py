"""Strict JSON: what PostgreSQL could not keep, or what could be read in two ways, is refused with a sentence."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.strict_json import MAX_DEPTH, UnreadableJson, member_text, printable, read_object

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
NUMBERS = st.integers(-(10**30), 10**30) | st.decimals(-(10**20), 10**20, allow_nan=False, places=6)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXT, children, max_size=4),
    max_leaves=20,
)


def as_json(value: Any) -> str:
    """Return ``value`` as JSON text with Decimals as numbers."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict):
        members = ",".join(f"{json.dumps(key, ensure_ascii=False)}:{as_json(member)}" for key, member in value.items())
        return f"{{{members}}}"
    if isinstance(value, list):
        return f"[{','.join(as_json(member) for member in value)}]"
    return json.dumps(value, ensure_ascii=False)


def nested(depth: int, *, leaf: str = "1") -> str:
    """Return an object with ``depth`` objects and lists in all, one in the other."""
    return '{"a":' + "[" * (depth - 1) + leaf + "]" * (depth - 1) + "}"


@given(st.dictionaries(TEXT, VALUES, max_size=6))
def test_an_object_is_read_with_every_digit(value: dict[str, Any]) -> None:
    assert read_object(as_json(value).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_a_sentence(body: bytes) -> None:
    sentence = "it is an object"
    try:
        read_object(body)
    except UnreadableJson as error:
        sentence = str(error)
    assert sentence.startswith("it ")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"PASS", "not JSON"),
        (b"<html></html>", "not JSON"),
        (b"[]", "JSON list"),
        (b"null", "JSON NoneType"),
        (b'"text"', "JSON str"),
        (b'{"a":1}{"b":2}', "not JSON"),
        (b'{"a":1,}', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a":"\xff"}', "not valid UTF-8"),
        (b'{"a":NaN}', "holds NaN"),
        (b'{"a":-Infinity}', "holds -Infinity"),
        (b'{"a":1e400}', "out of range"),
        (b'{"a":1e-4000}', "out of range"),
        (b'{"a":1.5e999999999999999999999}', "number"),
        (b'{"a":' + b"9" * 5000 + b"}", "number that cannot be read"),
        (b'{"a":1,"a":2}', "names a key twice"),
        (b'{"a":{"b":1,"\\u0062":2}}', "names a key twice"),
        (b'{"a":"\\u0000"}', "NUL"),
        (b'{"\\u0000":1}', "NUL"),
        (b'{"a":"\\ud800"}', "UTF-8"),
        (b'{"\\udfff":1}', "UTF-8"),
        (nested(MAX_DEPTH + 1).encode(), "nested deeper"),
        (nested(100_000).encode(), "nested deeper"),
        (b'{"a":' * 100_000, "nested deeper"),
    ],
)
def test_bad_json_is_refused_with_what_is_wrong(body: bytes, why: str) -> None:
    with pytest.raises(UnreadableJson, match=why):
        read_object(body)


def test_thirty_two_levels_are_accepted() -> None:
    assert "a" in read_object(nested(MAX_DEPTH))
    assert "a" in read_object(nested(MAX_DEPTH, leaf=""))


@pytest.mark.requirement("7.5")
@given(TEXT, VALUES, TEXT, VALUES)
def test_the_text_of_a_member_is_returned_to_the_letter(before: str, first: Any, name: str, value: Any) -> None:
    text = as_json(value)
    first_name = before if before != name else f"{before}x"
    whole = f' {{ {json.dumps(first_name)} :{as_json(first)} ,\n{json.dumps(name)}\t:\r\n {text} , "z{name}": 1}}\n'
    assert member_text(whole, name) == text


def test_a_member_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        member_text('{"a":{"recommendation":1}}', "recommendation")


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_anything_can_be_made_printable_for_the_database(said: bytes | str) -> None:
    text = printable(said, most=100)
    text.encode()
    assert "\x00" not in text
