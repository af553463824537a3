"""Amounts: read exactly or refused, written as plain decimal strings."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.amounts import LIMIT, UnreadableAmount, decimal_string, read_amount, read_fees

MONEY = st.decimals(min_value=0, max_value=Decimal("999999999999.99999999"), places=8, allow_nan=False)


@given(MONEY)
def test_a_decimal_string_is_read_exactly(amount: Decimal) -> None:
    assert read_amount(decimal_string(amount), name="price") == amount
    assert read_amount(str(amount), name="price") == amount


@given(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=Decimal("-1e40"), max_value=Decimal("1e40"), places=30)
)
def test_a_decimal_string_keeps_every_digit_without_exponent_and_trailing_zeros(amount: Decimal) -> None:
    written = decimal_string(amount)
    assert Decimal(written) == amount
    assert "e" not in written.lower()
    assert "." not in written or not written.endswith(("0", "."))
    assert decimal_string(Decimal(written)) == written


@pytest.mark.parametrize(
    ("amount", "written"),
    [
        ("589.12", "589.12"),
        ("100", "100"),
        ("1E+2", "100"),
        ("0E+9", "0"),
        ("-0.0", "0"),
        ("0.00000001", "0.00000001"),
        ("-5.10", "-5.1"),
        ("1234567890123456789012345678901234.5", "1234567890123456789012345678901234.5"),
    ],
)
def test_amounts_are_written_plainly(amount: str, written: str) -> None:
    assert decimal_string(Decimal(amount)) == written


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        "",
        " ",
        "NaN",
        "nan",
        "sNaN",
        "Infinity",
        "-Infinity",
        "1_000",
        "1,000",
        "\u0663",
        "0x10",
        "five",
        [],
        {},
        ["1"],
        float("nan"),
        float("inf"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        "1e12",
        "1" * 61,
        "999999999999.999999999",
        10**12,
        10**4000,
        "1e999999999",
        "-1",
        -1,
        Decimal("-0.01"),
    ],
)
def test_what_is_no_amount_is_refused_with_what_was_found_and_what_is_accepted(value: Any) -> None:
    with pytest.raises(UnreadableAmount) as refused:
        read_amount(value, name="quantity")
    assert "quantity is " in str(refused.value)
    assert "accepted is a finite decimal number of at least 0" in str(refused.value)


@given(st.one_of(st.text(max_size=70), st.floats(), st.integers(), st.decimals(), st.none(), st.booleans()))
def test_whatever_comes_is_an_amount_in_range_or_refused(value: Any) -> None:
    try:
        amount = read_amount(value, name="price")
    except UnreadableAmount:
        return
    assert 0 <= amount < LIMIT
    assert amount == amount.quantize(Decimal("0.00000001"))


@pytest.mark.parametrize("value", ["0", "0.000000001", "-0"])
def test_zero_and_what_rounds_to_it_is_refused_where_more_is_needed(value: str) -> None:
    with pytest.raises(UnreadableAmount, match="above 0"):
        read_amount(value, name="quantity", above=True)


@pytest.mark.parametrize(("value", "amount"), [(4.35, "4.35"), (0.1, "0.1"), (7, "7"), (Decimal("1E+3"), "1000")])
def test_json_numbers_are_read_as_they_are_written(value: Any, amount: str) -> None:
    assert read_amount(value, name="price") == Decimal(amount)


def test_fees_may_be_absent_or_a_rebate_but_not_garbage() -> None:
    assert read_fees(None, name="fees") == 0
    assert read_fees("-0.25", name="fees") == Decimal("-0.25")
    senseless: list[Any] = ["", False, "NaN", []]
    for value in senseless:
        with pytest.raises(UnreadableAmount):
            read_fees(value, name="fees")
