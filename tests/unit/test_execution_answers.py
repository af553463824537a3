"""What an engine says to an execution: filled, refused, accepted, never seen, or nothing that anything follows from."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.execution import (
    Accepted,
    Fill,
    Filled,
    NeverSeen,
    Rejected,
    UnreadableExecution,
    read_execution,
)

PERMIT = UUID("0192f0a0-0000-8565-9144-9360733c6773")
TRADE = {
    "external_id": "order-7",
    "entry_price": "4.40",
    "entry_time": "2026-03-02T15:30:02+01:00",
    "quantity": "2",
    "fees": "1.30",
}
FILL = Fill("order-7", Decimal("4.40"), datetime(2026, 3, 2, 14, 30, 2, tzinfo=UTC), Decimal(2), Decimal("1.30"))
FILLED: dict[str, Any] = {"permit_id": str(PERMIT), "status": "FILLED", "trade": TRADE}


def read(answer: Any, *, status: int = 200, is_query: bool = False) -> Any:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return read_execution(status, body, permit_id=PERMIT, is_query=is_query)


def test_a_fill() -> None:
    assert read(FILLED) == Filled(FILL)
    assert read(FILLED | {"permit_id": str(PERMIT).upper()}) == Filled(FILL)


def test_fees_that_are_absent_are_none_and_a_rebate_is_negative() -> None:
    without = {name: value for name, value in TRADE.items() if name != "fees"}
    assert read(FILLED | {"trade": without}).fill.fees == 0
    assert read(FILLED | {"trade": TRADE | {"fees": None}}).fill.fees == 0
    assert read(FILLED | {"trade": TRADE | {"fees": "-0.25"}}).fill.fees == Decimal("-0.25")


def test_numbers_are_read_to_the_last_digit() -> None:
    body = json.dumps(FILLED).replace('"4.40"', "123456789012.12345678").encode()
    assert read(body).fill.entry_price == Decimal("123456789012.12345678")


def test_a_question_may_bring_the_exit_along() -> None:
    assert read(FILLED | {"exit": {"exit_price": "5"}}, is_query=True) == Filled(FILL, {"exit_price": "5"})
    assert read(FILLED | {"exit": None}, is_query=True) == Filled(FILL)
    assert read(FILLED | {"exit": "gone"}, is_query=True) == Filled(FILL)


def test_a_refusal() -> None:
    assert read({"permit_id": str(PERMIT), "status": "REJECTED", "reason": "no margin"}) == Rejected("no margin")
    assert read({"permit_id": str(PERMIT), "status": "REJECTED"}) == Rejected("no reason given")


@pytest.mark.parametrize("body", [b"", b"  ", b"{}", b'{"status":"ACCEPTED"}', json.dumps(FILLED).encode()])
@pytest.mark.parametrize("is_query", [False, True])
def test_202_is_accepted_whatever_else_it_says(body: bytes, is_query: bool) -> None:
    assert read(body, status=202, is_query=is_query) == Accepted()


def test_not_found_means_never_seen_only_in_answer_to_a_question() -> None:
    assert read(b"<html>", status=404, is_query=True) == NeverSeen()
    with pytest.raises(UnreadableExecution, match="404"):
        read(b"", status=404)


@pytest.mark.parametrize("status", [100, 201, 204, 301, 302, 307, 400, 401, 409, 418, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("is_query", [False, True])
def test_from_every_other_status_nothing_follows(status: int, is_query: bool) -> None:
    for said in (FILLED, {"permit_id": str(PERMIT), "status": "REJECTED"}):
        with pytest.raises(UnreadableExecution, match=str(status)):
            read(said, status=status, is_query=is_query)


@pytest.mark.parametrize("status", [200, 202])
def test_another_permits_answer_says_nothing_about_this_one(status: int) -> None:
    with pytest.raises(UnreadableExecution, match="about permit"):
        read(FILLED | {"permit_id": str(uuid4())}, status=status)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"ok",
        b"\xff",
        b"[]",
        b"null",
        b'{"permit_id":"%s","permit_id":"%s","status":"FILLED"}' % (bytes(str(PERMIT), "ascii"), b"x"),
        {"status": "FILLED", "trade": TRADE},
        FILLED | {"permit_id": None},
        FILLED | {"status": "filled"},
        FILLED | {"status": "ACCEPTED"},
        FILLED | {"status": ["FILLED"]},
        FILLED | {"trade": None},
        FILLED | {"trade": []},
        *(FILLED | {"trade": {key: value for key, value in TRADE.items() if key != gone}} for gone in list(TRADE)[:4]),
        FILLED | {"trade": TRADE | {"entry_price": "-0.01"}},
        FILLED | {"trade": TRADE | {"entry_price": "1e12"}},
        FILLED | {"trade": TRADE | {"quantity": 0}},
        FILLED | {"trade": TRADE | {"quantity": "0.000000001"}},
        FILLED | {"trade": TRADE | {"fees": ""}},
        FILLED | {"trade": TRADE | {"fees": False}},
        FILLED | {"trade": TRADE | {"external_id": "\x00"}},
        FILLED | {"trade": TRADE | {"external_id": "\ud800"}},
    ],
)
def test_from_garbage_nothing_follows(answer: Any) -> None:
    with pytest.raises(UnreadableExecution) as problem:
        read(answer)
    assert str(problem.value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.integers(100, 599),
    st.booleans(),
    st.one_of(
        st.binary(max_size=60),
        anything.map(lambda value: json.dumps(value).encode()),
        st.dictionaries(st.sampled_from([*TRADE]), anything).map(
            lambda changes: json.dumps(FILLED | {"trade": TRADE | changes}).encode()
        ),
        st.dictionaries(st.sampled_from([*FILLED, "exit", "reason"]), anything).map(
            lambda changes: json.dumps(FILLED | changes).encode()
        ),
    ),
)
def test_every_answer_is_read_or_says_nothing_and_a_fill_is_always_usable(
    status: int, is_query: bool, body: bytes
) -> None:
    try:
        word = read_execution(status, body, permit_id=PERMIT, is_query=is_query)
    except UnreadableExecution:
        return
    assert status in {200, 202} or (isinstance(word, NeverSeen) and is_query and status == 404)
    if isinstance(word, Filled):
        assert word.fill.quantity > 0
        assert word.fill.entry_price >= 0
        assert word.fill.entry_time.tzinfo is not None
        assert word.fill.external_id
