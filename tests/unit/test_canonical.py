"""The hashes that anyone must be able to recompute."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.canonical import canonical, sha256_hex, signal_hash, utc_text

AT = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
PUBLISHED: dict[str, Any] = {
    "direction": "long",
    "payload": {"ticker": "SPY", "close": 589.12},
    "source": "default",
    "symbol": "SPY",
    "timeframe": "5",
    "timestamp": AT,
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_the_published_signal_hash_is_recomputed() -> None:
    assert signal_hash(**PUBLISHED) == "35aea17e98d78d0d2f63a1c93a75da59add6b422ab23a61014d366e39312107c"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"0192f0a0-0000-7000-8000-000000000001:{'0' * 64}",
            "e3a8e2108b9158f818d1b411ae0dc8dd6af0352b5b51f44cf57f338d70f7686b",
        ),
        (
            f"0192f0a0-0000-7000-8000-000000000002:{'a' * 64}",
            "3f7ac6f605480f1b24da54d6e34ba24b84c7220ed3e04eaf919d23f633a5ff7d",
        ),
        (
            "6ba7b810-9dad-11d1-80b4-00c04fd430c8:35aea17e98d78d0d2f63a1c93a75da59add6b422ab23a61014d366e39312107c",
            "089f25758c497bfb7edac39aa0f43dc3bd704a6d4e3ee51230ed9fc1cf0ff999",
        ),
    ],
)
def test_the_published_hashes_of_texts_are_recomputed(text: str, expected: str) -> None:
    assert sha256_hex(text) == expected


@pytest.mark.parametrize("field", sorted(PUBLISHED))
def test_every_field_of_a_signal_changes_its_hash(field: str) -> None:
    other = AT + timedelta(microseconds=1) if field == "timestamp" else "other"
    assert signal_hash(**{**PUBLISHED, field: other}) != signal_hash(**PUBLISHED)


@given(json_values)
def test_canonical_json_says_the_same_in_one_way(value: object) -> None:
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_the_order_of_keys_does_not_matter(value: dict[str, int]) -> None:
    assert canonical(dict(reversed(value.items()))) == canonical(value)


def test_canonical_json_is_compact_and_escapes_nothing_it_need_not() -> None:
    assert canonical({"b": [1, 2.50], "a": "é€😀"}) == '{"a":"é€😀","b":[1,2.5]}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), {"a": [float("nan")]}])
def test_what_is_no_number_has_no_canonical_json(value: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(value)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_is_hashed_as_utf_8(text: str) -> None:
    assert sha256_hex(text) == hashlib.sha256(text.encode("utf-8")).hexdigest()


@given(
    st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29)),  # noqa: DTZ001 - as Hypothesis takes them
    st.integers(-14 * 60, 14 * 60),
)
def test_a_moment_has_one_text_whatever_its_zone(moment: datetime, minutes: int) -> None:
    aware = moment.replace(tzinfo=UTC)
    elsewhere = aware.astimezone(timezone(timedelta(minutes=minutes)))
    assert utc_text(elsewhere) == utc_text(aware) == f"{moment.isoformat(timespec='microseconds')}Z"


def test_a_time_without_a_zone_has_no_text() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        utc_text(AT.replace(tzinfo=None))
