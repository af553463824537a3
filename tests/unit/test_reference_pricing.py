"""Black-Scholes of the reference engines: textbook values, and the laws that every option price obeys."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engines.reference.alerts import SeenPrice
from orchestrator.engines.reference.pricing import black_scholes
from orchestrator.engines.reference.volatility import volatility_from_history, volatility_from_range

MARKETS = st.fixed_dictionaries(
    {
        "spot": st.floats(1, 10_000),
        "strike": st.floats(1, 10_000),
        "years": st.floats(0, 3),
        "volatility": st.floats(0, 2),
        "rate": st.floats(-0.02, 0.15),
        "dividend_yield": st.floats(0, 0.1),
    }
)


@pytest.mark.parametrize(
    ("right", "market", "price"),
    [
        # Hull, Options, Futures, and Other Derivatives: the example of the Black-Scholes-Merton chapter
        ("CALL", {"spot": 42, "strike": 40, "years": 0.5, "volatility": 0.2, "rate": 0.1, "dividend_yield": 0}, 4.76),
        ("PUT", {"spot": 42, "strike": 40, "years": 0.5, "volatility": 0.2, "rate": 0.1, "dividend_yield": 0}, 0.81),
        # Hull: a call on an index with a dividend yield of 3 %
        (
            "CALL",
            {"spot": 930, "strike": 900, "years": 1 / 6, "volatility": 0.2, "rate": 0.08, "dividend_yield": 0.03},
            51.83,
        ),
    ],
)
def test_the_textbook_gives_the_same_price(right: str, market: dict[str, float], price: float) -> None:
    assert black_scholes(right, **market) == pytest.approx(price, abs=0.005)


@given(MARKETS)
def test_a_call_less_its_put_is_the_forward_less_the_strike(market: dict[str, float]) -> None:
    forward = market["spot"] * exp(-market["dividend_yield"] * market["years"])
    present_strike = market["strike"] * exp(-market["rate"] * market["years"])
    difference = black_scholes("CALL", **market) - black_scholes("PUT", **market)
    assert difference == pytest.approx(forward - present_strike, rel=1e-9, abs=1e-7)


@given(MARKETS)
def test_a_price_lies_between_intrinsic_value_and_the_underlying(market: dict[str, float]) -> None:
    forward = market["spot"] * exp(-market["dividend_yield"] * market["years"])
    present_strike = market["strike"] * exp(-market["rate"] * market["years"])
    call, put = black_scholes("CALL", **market), black_scholes("PUT", **market)
    assert max(0, forward - present_strike) - 1e-7 <= call <= forward + 1e-7
    assert max(0, present_strike - forward) - 1e-7 <= put <= present_strike + 1e-7


@given(MARKETS, st.floats(0.01, 1), st.floats(0.01, 100))
def test_prices_rise_with_volatility_and_follow_the_underlying(
    market: dict[str, float], more_volatility: float, more_spot: float
) -> None:
    wilder = market | {"volatility": market["volatility"] + more_volatility}
    higher = market | {"spot": market["spot"] + more_spot}
    for right, sign in (("CALL", 1), ("PUT", -1)):
        price = black_scholes(right, **market)
        assert black_scholes(right, **wilder) >= price - 1e-7
        assert sign * (black_scholes(right, **higher) - price) >= -1e-7


def test_at_expiration_only_intrinsic_value_is_left() -> None:
    assert black_scholes("CALL", spot=110, strike=100, years=0, volatility=0.3) == 10
    assert black_scholes("PUT", spot=110, strike=100, years=0, volatility=0.3) == 0


def test_a_range_of_two_percent_a_day_is_a_volatility_of_about_twenty_percent() -> None:
    assert volatility_from_range(Decimal(2), Decimal(100)) == pytest.approx(0.199, abs=0.001)
    assert volatility_from_range(None, Decimal(100)) == 0.20
    assert volatility_from_range(Decimal(90), Decimal(100)) == 1.0


def test_the_volatility_of_seen_prices_counts_the_time_between_them() -> None:
    start = datetime(2010, 1, 4, tzinfo=UTC)

    def seen(days: int) -> list[SeenPrice]:
        return [SeenPrice(start + timedelta(days=days * n), Decimal(100 + n % 2)) for n in range(9)]

    weekly, daily = volatility_from_history(seen(7)), volatility_from_history(seen(1))
    assert daily == pytest.approx(0.00995 * 365**0.5, abs=0.001)
    assert weekly == 0.10  # 0.07, raised to the least that is believed
    assert volatility_from_history(seen(1)[:4]) == 0.20
