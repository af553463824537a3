"""Profit and loss, against another way of computing it: whole numbers of the smallest unit."""

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from outcomes.domain.pnl import AmountOutOfRange, profit_and_loss

UNIT = 10**8
LIMIT = 10**12

everyday = st.decimals(0, 5000, places=4)
any_price = st.decimals(0, Decimal("999999999999.99999999"), places=8)


def trades(prices: st.SearchStrategy[Decimal], *, largest_quantity: int) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "entry_price": prices,
            "exit_price": prices,
            "quantity": st.decimals(Decimal("0.00000001"), largest_quantity, places=8),
            "multiplier": st.sampled_from([Decimal(1), Decimal(100), Decimal("0.1"), Decimal(1000000)]),
            "side": st.sampled_from(["BUY", "SELL"]),
            "fees": st.decimals(-1000, 1000, places=8),
        }
    )


def independent(trade: dict[str, Any]) -> Decimal:
    """Compute with fractions, and round half away from zero by hand."""
    gain = Fraction(trade["exit_price"]) - Fraction(trade["entry_price"])
    gain = gain if trade["side"] == "BUY" else -gain
    exact = gain * Fraction(trade["quantity"]) * Fraction(trade["multiplier"]) - Fraction(trade["fees"])
    scaled = abs(exact) * UNIT
    whole = int(scaled) + (1 if (scaled - int(scaled)) * 2 >= 1 else 0)
    with localcontext(prec=60):
        return Decimal(whole if exact >= 0 else -whole) / UNIT


def pnl(**changes: Any) -> Decimal:
    """Return the result of buying one at 0 and selling it at 0, but for what is given."""
    nothing: dict[str, Any] = dict.fromkeys(("entry_price", "exit_price", "fees"), Decimal(0))
    return profit_and_loss(**(nothing | {"quantity": Decimal(1), "multiplier": Decimal(1), "side": "BUY"} | changes))


@pytest.mark.requirement("5.1", "property-17")
@given(trades(everyday, largest_quantity=10**6))
def test_it_is_the_formula_to_the_last_digit(trade: dict[str, Any]) -> None:
    expected = independent(trade)
    assume(abs(expected) < LIMIT)
    found = profit_and_loss(**trade)
    assert found == expected
    assert found.as_tuple().exponent == -8


@given(trades(any_price, largest_quantity=10**12 - 1))
def test_it_fits_the_column_or_is_refused(trade: dict[str, Any]) -> None:
    expected = independent(trade)
    if abs(expected) < LIMIT:
        assert profit_and_loss(**trade) == expected
    else:
        with pytest.raises(AmountOutOfRange, match=r"below 10\^12"):
            profit_and_loss(**trade)


@given(trades(everyday, largest_quantity=10**6))
def test_buying_gains_what_selling_loses(trade: dict[str, Any]) -> None:
    free = trade | {"fees": Decimal(0)}
    assume(abs(independent(free)) < LIMIT)
    assert profit_and_loss(**free | {"side": "BUY"}) == -profit_and_loss(**free | {"side": "SELL"})


@pytest.mark.parametrize(
    ("side", "exit_price", "fees", "expected"),
    [
        ("BUY", "5.10", "2.60", "137.40"),
        ("SELL", "5.10", "2.60", "-142.60"),
        ("BUY", "0", "0", "-880"),
        ("BUY", "4.40", "0", "0"),
        ("BUY", "4.40", "-0.50", "0.50"),
    ],
)
def test_examples_by_hand(side: str, exit_price: str, fees: str, expected: str) -> None:
    found = pnl(
        entry_price=Decimal("4.40"),
        exit_price=Decimal(exit_price),
        quantity=Decimal(2),
        multiplier=Decimal(100),
        side=side,
        fees=Decimal(fees),
    )
    assert found == Decimal(expected)


def test_what_rounds_up_to_the_limit_is_refused() -> None:
    largest, smallest = Decimal("999999999999.99999999"), Decimal("0.00000001")
    assert pnl(exit_price=largest) == largest
    for side in ("BUY", "SELL"):
        # 999999999999.999999995 is below the limit, and is the limit when rounded to eight places
        with pytest.raises(AmountOutOfRange):
            pnl(exit_price=largest * 2 + smallest, quantity=Decimal("0.5"), side=side)


def test_half_of_the_smallest_unit_goes_away_from_zero() -> None:
    smallest = Decimal("0.00000001")
    assert pnl(exit_price=smallest, quantity=Decimal("0.5"), side="BUY") == smallest
    assert pnl(exit_price=smallest, quantity=Decimal("0.5"), side="SELL") == -smallest


def test_fees_that_do_not_fit_are_refused_although_the_result_would() -> None:
    with pytest.raises(AmountOutOfRange, match="fees"):
        pnl(exit_price=Decimal(10) ** 11, quantity=Decimal(10), fees=Decimal(10) ** 12)
