"""Which contract the reference engines name: strikes, monthly expirations, OCC symbols."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engines.reference.contracts import (
    NoContract,
    choose_contract,
    monthly_expiration,
    strike_step,
)

TODAY = date(2026, 3, 2)


def test_the_symbol_is_the_one_that_clearing_houses_write() -> None:
    contract = choose_contract("SPY", direction="long", price=Decimal("589.12"), today=TODAY)
    assert contract.option_symbol == "SPY260417C00590000"
    assert choose_contract("BRK.B", direction="short", price=Decimal("24.30"), today=TODAY).option_symbol == (
        "BRKB260417P00024500"
    )


@pytest.mark.parametrize(
    ("earliest", "expiration"),
    [
        (date(2026, 3, 2), date(2026, 3, 20)),
        (date(2026, 3, 20), date(2026, 3, 20)),
        (date(2026, 3, 21), date(2026, 4, 17)),
        (date(2026, 12, 31), date(2027, 1, 15)),
        (date(2025, 4, 1), date(2025, 4, 17)),  # the third Friday was Good Friday
        (date(2019, 4, 1), date(2019, 4, 18)),  # likewise
        (date(2026, 6, 1), date(2026, 6, 18)),  # the third Friday is Juneteenth
        (date(2020, 6, 1), date(2020, 6, 19)),  # not a holiday of the exchanges yet
    ],
)
def test_monthly_expirations_are_those_of_the_calendar(earliest: date, expiration: date) -> None:
    assert monthly_expiration(earliest) == expiration


@given(st.dates(date(1990, 1, 1), date(2150, 1, 1)))
def test_the_next_monthly_expiration_is_never_far_and_always_a_thursday_or_friday(earliest: date) -> None:
    expiration = monthly_expiration(earliest)
    assert timedelta(0) <= expiration - earliest <= timedelta(days=36)
    assert expiration.weekday() in {3, 4}
    assert 14 <= expiration.day <= 21


@given(
    st.decimals("1", "90000", places=2),
    st.sampled_from(["long", "short"]),
    st.integers(0, 1),
    st.dates(date(2020, 1, 1), date(2100, 1, 1)),
)
def test_strikes_stand_on_the_grid_near_the_price(price: Decimal, direction: str, steps_out: int, today: date) -> None:
    step = strike_step(price)
    contract = choose_contract("SPX", direction=direction, price=price, today=today, steps_out=steps_out)
    assert contract.strike % step == 0
    assert abs(contract.strike - price) <= step / 2 + steps_out * step
    out_of_the_money = contract.strike - price if direction == "long" else price - contract.strike
    assert out_of_the_money >= (2 * steps_out - 1) * step / 2
    assert contract.expiration >= today + timedelta(days=30)
    assert len(contract.option_symbol) == len("SPX260417C00590000")


@pytest.mark.parametrize(
    ("symbol", "price"), [("ES1!", "5000"), ("BTCUSDT", "500"), ("SPX", "0.1"), ("BTCUSD", "120000")]
)
def test_what_cannot_be_written_as_an_option_is_refused_with_a_sentence(symbol: str, price: str) -> None:
    with pytest.raises(NoContract, match=symbol):
        choose_contract(symbol, direction="long", price=Decimal(price), today=TODAY)
