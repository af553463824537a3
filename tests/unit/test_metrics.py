"""What a set of closed trades is worth: against numpy, exact arithmetic and hand-computed values."""

import json
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outcomes.domain.metrics import NOTHING_CLOSED, Sums, metrics

money = st.decimals(min_value=-(10**6), max_value=10**6, places=8, allow_nan=False, allow_infinity=False)


def sums_of(pnls: list[Decimal]) -> Sums:
    """Add up as the database does, in the plainest way."""
    peak = cumulated = fall = Decimal(0)
    for pnl in pnls:
        cumulated += pnl
        peak = max(peak, cumulated)
        fall = max(fall, peak - cumulated)
    return Sums(
        trades=len(pnls),
        wins=sum(pnl > 0 for pnl in pnls),
        losses=sum(pnl < 0 for pnl in pnls),
        total=Decimal(sum(pnls)),
        squares=exact_squares(pnls),
        gross_profit=sum((pnl for pnl in pnls if pnl > 0), Decimal(0)),
        gross_loss=sum((pnl for pnl in pnls if pnl < 0), Decimal(0)),
        lowest=min(pnls, default=None),
        highest=max(pnls, default=None),
        max_drawdown=fall,
    )


def exact_squares(pnls: list[Decimal]) -> Decimal:
    """Return what PostgreSQL's numeric gives: every digit."""
    units = sum(int(pnl.scaleb(8)) ** 2 for pnl in pnls)
    return Decimal((0, tuple(map(int, str(units))), -16))


@pytest.mark.requirement("5.4", "property-19")
def test_the_figures_of_five_trades_are_those_computed_by_hand() -> None:
    found = metrics(sums_of([Decimal(value) for value in ("100", "-50", "0", "-80", "30")])).as_json()
    assert found == {
        "trades": 5,
        "wins": 2,
        "losses": 2,
        "scratches": 1,
        "win_rate": 0.4,
        "average_pnl": "0",
        "total_pnl": "0",
        "sharpe_ratio": 0.0,
        "profit_factor": 1.0,
        "max_drawdown": "130",
    }


@pytest.mark.requirement("property-19")
def test_without_a_trade_every_ratio_is_undefined() -> None:
    found = metrics(NOTHING_CLOSED).as_json()
    assert [found[name] for name in ("win_rate", "average_pnl", "sharpe_ratio", "profit_factor")] == [None] * 4
    assert (found["trades"], found["total_pnl"], found["max_drawdown"]) == (0, "0", "0")


@pytest.mark.requirement("property-19")
@given(pnl=money, number=st.integers(1, 30))
def test_trades_that_are_all_equal_have_no_sharpe_ratio(pnl: Decimal, number: int) -> None:
    assert metrics(sums_of([pnl] * number)).sharpe_ratio is None


@pytest.mark.requirement("5.4", "property-19")
@given(pnls=st.lists(money, min_size=2, max_size=60))
def test_win_rate_average_and_sharpe_ratio_are_their_definitions(pnls: list[Decimal]) -> None:
    found = metrics(sums_of(pnls))
    exact = [Fraction(pnl) for pnl in pnls]
    mean = sum(exact, Fraction(0)) / len(exact)
    assert found.win_rate == sum(pnl > 0 for pnl in pnls) / len(pnls)
    assert found.average_pnl is not None
    assert abs(Fraction(found.average_pnl) - mean) <= Fraction(1, 2 * 10**8)
    if len(set(pnls)) == 1:
        assert found.sharpe_ratio is None
        return
    variance = sum((pnl - mean) ** 2 for pnl in exact) / (len(exact) - 1)
    assert found.sharpe_ratio is not None
    assert math.isclose(found.sharpe_ratio, float(mean) / math.sqrt(variance), rel_tol=1e-9, abs_tol=1e-12)


@pytest.mark.requirement("property-19")
@given(pnls=st.lists(st.integers(-1000, 1000), min_size=2, max_size=60))
def test_sharpe_ratio_and_drawdown_agree_with_numpy(pnls: list[int]) -> None:
    found = metrics(sums_of([Decimal(pnl) for pnl in pnls]))
    values = np.array(pnls, dtype=float)
    if values.max() > values.min():
        assert found.sharpe_ratio == pytest.approx(values.mean() / values.std(ddof=1), rel=1e-9, abs=1e-12)
    curve = np.concatenate([[0.0], np.cumsum(values)])
    assert float(found.max_drawdown) == pytest.approx((np.maximum.accumulate(curve) - curve).max())


@pytest.mark.requirement("property-19")
@given(pnls=st.lists(money, max_size=30))
def test_no_report_ever_holds_nan_or_infinity(pnls: list[Decimal]) -> None:
    found = metrics(sums_of(pnls))
    json.dumps(found.as_json(), allow_nan=False)
    assert (found.profit_factor is None) == (found.losses == 0)


def test_a_tiny_spread_around_a_large_mean_keeps_its_digits() -> None:
    pnls = [Decimal("999999999.00000001"), Decimal("999999999.00000003")]
    found = metrics(sums_of(pnls))
    assert found.sharpe_ratio == pytest.approx(999999999.00000002 / (0.00000002 / math.sqrt(2)), rel=1e-9)
