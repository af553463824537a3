"""When the reference engines' trades end, what a fill costs, and what becomes of an event."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engines.reference.contracts import Contract
from orchestrator.engines.reference.exits import exit_reason
from orchestrator.engines.reference.fills import bought_at, fees, quote, sold_at
from orchestrator.engines.reference.outbox import pause_after, settled_state
from orchestrator.engines.reference.plans import Plan

PLAN = Plan(
    symbol="SPX",
    direction="long",
    contract=Contract("SPX", "CALL", Decimal(1250), date(2026, 4, 17)),
    quantity=1,
    entry_price=Decimal("40.00"),
    stop_loss=Decimal("20.00"),
    take_profit=Decimal("60.00"),
    confidence=Decimal("0.5"),
    rationale="",
    volatility=0.2,
    years=0.126027,
    longest=timedelta(days=21),
)


@pytest.mark.parametrize(
    ("price", "days", "reason"),
    [
        ("20.00", 1, "stop_loss"),
        ("20.01", 1, None),
        ("59.99", 20, None),
        ("60.00", 1, "take_profit"),
        ("40.00", 21, "time_limit"),
        ("10.00", 30, "stop_loss"),
        ("70.00", 30, "take_profit"),
    ],
)
def test_a_trade_ends_at_its_stop_its_target_or_its_time(price: str, days: int, reason: str | None) -> None:
    assert exit_reason(PLAN, price=Decimal(price), elapsed=timedelta(days=days)) == reason


def test_time_that_passes_in_the_market_takes_value_from_an_option() -> None:
    spot = Decimal(1250)
    values = [PLAN.value(spot=spot, elapsed=timedelta(days=days)) for days in (0, 10, 20, 46, 4000)]
    assert values == sorted(values, reverse=True)
    assert values[-1] == 0


@given(st.decimals("0", "100000", places=2), st.integers(1, 1000))
def test_fills_always_cost_something_and_never_pay_less_than_nothing(price: Decimal, quantity: int) -> None:
    assert bought_at(price) > price
    assert 0 <= sold_at(price) <= price
    told = quote(price)
    assert Decimal(told["bid"]) <= Decimal(told["last"]) < Decimal(told["ask"])
    assert fees(quantity) == Decimal("0.65") * quantity


@pytest.mark.parametrize(
    ("status", "attempts", "state"),
    [
        (200, 1, "ACKNOWLEDGED"),
        (202, 1, "ACKNOWLEDGED"),
        (400, 1, "REFUSED"),
        (404, 1, "REFUSED"),
        (401, 4, "PENDING"),
        (401, 5, "REFUSED"),
        (429, 50, "PENDING"),
        (503, 50, "PENDING"),
        (302, 50, "PENDING"),
        (None, 50, "PENDING"),
    ],
)
def test_an_event_is_sent_until_somebody_has_it_or_will_not_have_it(
    status: int | None, attempts: int, state: str
) -> None:
    assert settled_state(status, attempts=attempts) == state


def test_pauses_grow_to_a_limit() -> None:
    pauses = [pause_after(attempts) for attempts in range(1, 2000)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.25, 10.0)
