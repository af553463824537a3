"""What a set of closed trades is worth: by hand, against numpy, scipy, statsmodels and empyrical, and at the extremes."""

import json
import math
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import empyrical
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from outcomes.domain.daily import Answers
from outcomes.domain.intervals import wilson_interval
from outcomes.domain.performance import performance
from outcomes.domain.sources import PERFORMANCE_SOURCES
from tests.days import FIRST_DAY, days_of_trades, one_day

FIXED = (
    "trades wins losses scratches win_rate average_pnl total_pnl sharpe_ratio profit_factor max_drawdown".split()  # noqa: SIM905
)
money = st.decimals(min_value=-(10**6), max_value=10**6, places=8, allow_nan=False, allow_infinity=False)
# From the smallest amount that is stored to nearly the largest, so that sums are as uneven as they can be.
extreme = st.one_of(
    money,
    st.sampled_from([Decimal("0.00000001"), Decimal("-0.00000001"), Decimal("999999999999.99999999")]),
    st.sampled_from([Decimal(0), Decimal("-999999999999.99999999"), Decimal(10) ** 11]),
)


def figures(pnls: Sequence[Decimal | int | str]) -> dict[str, Any]:
    return performance(one_day(pnls)).as_json()


@pytest.mark.requirement("5.4", "property-19")
def test_the_figures_of_five_trades_are_those_computed_by_hand() -> None:
    found = figures([100, -50, 0, -80, 30])
    assert {name: found[name] for name in FIXED} == {
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
    assert (found["payoff_ratio"], found["sortino_ratio"]) == (1.0, 0.0)
    assert found["probabilistic_sharpe_ratio_2012"] == 0.5


@pytest.mark.parametrize(
    ("pnls", "undefined"),
    [
        pytest.param(
            [],
            {
                "win_rate": "NO_TRADES",
                "average_pnl": "NO_TRADES",
                "profit_factor": "NO_TRADES",
                "sharpe_ratio": "NO_TRADES",
            }
            | {"payoff_ratio": "NO_TRADES", "sortino_ratio": "NO_TRADES", "annualised_sharpe_ratio": "NO_TRADES"}
            | {"win_rate_interval": "NO_TRADES", "average_pnl_interval": "NO_TRADES", "pass_rate": "NO_ANSWERS"},
            id="none",
        ),
        pytest.param(
            [7],
            {"sharpe_ratio": "ONE_TRADE", "average_pnl_interval": "ONE_TRADE", "skewness": "ONE_TRADE"}
            | {"profit_factor": "NO_LOSSES", "probabilistic_sharpe_ratio_2012": "ONE_TRADE"},
            id="one",
        ),
        pytest.param(
            [-7], {"sharpe_ratio": "ONE_TRADE", "sortino_ratio": "ONE_TRADE", "payoff_ratio": "NO_WINS"}, id="one loss"
        ),
        pytest.param(
            ["0.1"] * 10,
            {"sharpe_ratio": "ALL_EQUAL", "sharpe_standard_error": "ALL_EQUAL", "average_pnl_interval": "ALL_EQUAL"}
            | {"minimum_track_record_length": "ALL_EQUAL", "sortino_ratio": "NO_LOSSES", "profit_factor": "NO_LOSSES"},
            id="all equal",
        ),
        pytest.param(
            [1, 2],
            {"profit_factor": "NO_LOSSES", "payoff_ratio": "NO_LOSSES", "sortino_ratio": "NO_LOSSES"},
            id="no loss",
        ),
        pytest.param([-3, 1], {"minimum_track_record_length": "NOT_ABOVE_ZERO"}, id="below zero"),
        pytest.param([-3, 1, 5], {"annualised_sharpe_ratio": "TOO_FEW_DAYS"}, id="one day"),
    ],
)
@pytest.mark.requirement("property-19")
def test_undefined_is_null_with_a_code_and_a_sentence(pnls: list[int | str], undefined: dict[str, str]) -> None:
    found = figures(pnls)
    for name, code in undefined.items():
        assert found[name] is None
        assert found["undefined"][name]["code"] == code, name
        assert found["undefined"][name]["reason"].endswith(".")
    assert {name for name, value in found.items() if value is None} == set(found["undefined"])


@pytest.mark.requirement("property-19")
@given(pnl=money, number=st.integers(2, 30))
def test_trades_that_are_all_equal_have_no_sharpe_ratio(pnl: Decimal, number: int) -> None:
    assert figures([pnl] * number)["undefined"]["sharpe_ratio"]["code"] == "ALL_EQUAL"


@pytest.mark.requirement("5.4", "property-19")
@given(pnls=st.lists(money, min_size=2, max_size=60))
def test_win_rate_average_and_sharpe_ratio_are_their_definitions(pnls: list[Decimal]) -> None:
    found = figures(pnls)
    exact = [Fraction(pnl) for pnl in pnls]
    mean = sum(exact, Fraction(0)) / len(exact)
    assert found["win_rate"] == sum(pnl > 0 for pnl in pnls) / len(pnls)
    assert abs(Fraction(found["average_pnl"]) - mean) <= Fraction(1, 2 * 10**8)
    if len(set(pnls)) == 1:
        assert found["sharpe_ratio"] is None
        return
    variance = sum((pnl - mean) ** 2 for pnl in exact) / (len(exact) - 1)
    assert math.isclose(found["sharpe_ratio"], float(mean) / math.sqrt(variance), rel_tol=1e-9, abs_tol=1e-12)


@pytest.mark.requirement("property-19")
@given(pnls=st.lists(st.integers(-1000, 1000), min_size=3, max_size=60))
def test_every_figure_agrees_with_numpy_scipy_statsmodels_and_empyrical(pnls: list[int]) -> None:
    found, values, number = figures(pnls), np.array(pnls, dtype=float), len(pnls)
    low, high = proportion_confint(int((values > 0).sum()), number, method="wilson")
    assert found["win_rate_interval"] == pytest.approx([low, high], rel=1e-9, abs=1e-12)
    curve = np.concatenate([[0.0], np.cumsum(values)])
    assert float(found["max_drawdown"]) == (np.maximum.accumulate(curve) - curve).max()
    if (values < 0).any():
        assert found["profit_factor"] == pytest.approx(values[values > 0].sum() / -values[values < 0].sum())
        # With annualization=1 empyrical's is per observation, and its downside risk divides by all observations too.
        assert found["sortino_ratio"] == pytest.approx(
            empyrical.sortino_ratio(values, annualization=1), rel=1e-9, abs=1e-12
        )
        if (values > 0).any():
            assert found["payoff_ratio"] == pytest.approx(values[values > 0].mean() / -values[values < 0].mean())
    if values.max() == values.min():
        return
    ratio, skew, kurt = values.mean() / values.std(ddof=1), stats.skew(values), stats.kurtosis(values, fisher=False)
    assert found["sharpe_ratio"] == pytest.approx(ratio, rel=1e-9, abs=1e-12)
    assert found["sharpe_ratio"] == pytest.approx(empyrical.sharpe_ratio(values, annualization=1), rel=1e-9, abs=1e-12)
    assert [found["skewness"], found["kurtosis"]] == pytest.approx([skew, kurt], rel=1e-9, abs=1e-9)
    error = math.sqrt(max(1 - skew * ratio + (kurt - 1) / 4 * ratio**2, 0) / (number - 1))
    assert found["sharpe_standard_error"] == pytest.approx(error, rel=1e-6, abs=1e-7)
    if found["probabilistic_sharpe_ratio_2012"] is not None and error > 1e-6:
        assert found["probabilistic_sharpe_ratio_2012"] == pytest.approx(
            stats.norm.cdf(ratio / error), rel=1e-6, abs=1e-12
        )
        if ratio > 1e-9:
            record = 1 + error**2 * (number - 1) * (stats.norm.ppf(0.95) / ratio) ** 2
            assert found["minimum_track_record_length"] == pytest.approx(record, rel=1e-6)
    expected = stats.t.interval(0.95, number - 1, values.mean(), stats.sem(values))
    assert [float(end) for end in found["average_pnl_interval"]] == pytest.approx(expected, rel=1e-7, abs=1e-7)


@given(pnls=st.lists(extreme, max_size=12), spread=st.integers(0, 60))
def test_no_report_ever_holds_nan_or_infinity(pnls: list[Decimal], spread: int) -> None:
    days = days_of_trades(
        {FIRST_DAY + timedelta(days=spread * number): [pnl] for number, pnl in enumerate(pnls)}
        if spread
        else {FIRST_DAY: pnls}
    )
    found = performance(days).as_json()
    json.dumps(found, allow_nan=False)
    assert (found["profit_factor"] is None) == (found["losses"] == 0)
    assert all(
        0 <= found[name] <= 1 for name in ("win_rate", "probabilistic_sharpe_ratio_2012") if found[name] is not None
    )


@given(
    pnls=st.lists(money, min_size=2, max_size=30), factor=st.sampled_from([Decimal("1e-3"), Decimal(7), Decimal(10**5)])
)
def test_the_unit_of_money_changes_no_ratio(pnls: list[Decimal], factor: Decimal) -> None:
    one, scaled = (
        figures(
            [pnl.quantize(Decimal("0.00001")) for pnl in pnls],
        ),
        figures([pnl.quantize(Decimal("0.00001")) * factor for pnl in pnls]),
    )
    for name, value in one.items():
        if isinstance(value, float):
            assert scaled[name] == pytest.approx(value, rel=1e-12), name


@given(pnls=st.lists(money, min_size=2, max_size=30), data=st.data())
def test_the_order_of_trades_matters_to_the_drawdown_alone(pnls: list[Decimal], data: st.DataObject) -> None:
    one, other = figures(pnls), figures(data.draw(st.permutations(pnls)))
    assert {name for name in one if one[name] != other[name]} <= {"max_drawdown"}


def test_the_drawdown_starts_at_zero_and_is_in_currency() -> None:
    assert figures([-30, 100, -20, -50, 40])["max_drawdown"] == "70"
    assert figures([-30, 10])["max_drawdown"] == "30"
    # empyrical reads returns and compounds them, so it answers another question: -50 % twice is -75 %, not -1.
    assert empyrical.max_drawdown(np.array([-0.5, -0.5])) == pytest.approx(-0.75)
    assert figures(["-0.5", "-0.5"])["max_drawdown"] == "1"


def test_a_tiny_spread_around_a_large_mean_keeps_its_digits() -> None:
    found = figures(["999999999.00000001", "999999999.00000003"])
    assert found["sharpe_ratio"] == pytest.approx(999999999.00000002 / (0.00000002 / math.sqrt(2)), rel=1e-12)
    assert found["kurtosis"] == 1.0


def test_the_largest_and_the_smallest_amounts_alternating_stay_exact() -> None:
    found = figures(["999999999999.99999999", "-0.00000001"] * 500)
    assert found["profit_factor"] == pytest.approx(1e20, rel=1e-12)
    assert found["sharpe_ratio"] == pytest.approx(math.sqrt(999 / 1000), rel=1e-12)
    assert found["skewness"] == pytest.approx(0, abs=1e-30)


@given(passes=st.integers(0, 50), more=st.integers(1, 50))
def test_the_pass_rate_counts_answers_and_no_trades(passes: int, more: int) -> None:
    found = performance(one_day([1, -1]), Answers(answers=passes + more, passes=passes)).as_json()
    assert found["pass_rate"] == passes / (passes + more)
    assert found["pass_rate_interval"] == pytest.approx(
        list(proportion_confint(passes, passes + more, method="wilson")), abs=1e-12
    )
    assert (found["win_rate"], found["trades"]) == (0.5, 2)


def test_wilsons_interval_of_the_literature() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3 (score): 81/263, 15/148, 0/20, 1/29
    for hits, tries, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson_interval(hits=hits, tries=tries) == pytest.approx((low, high), abs=5e-5)


@given(tries=st.integers(1, 10**7), data=st.data())
def test_wilsons_interval_lies_between_0_and_1_around_the_share(tries: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, tries))
    low, high = wilson_interval(hits=hits, tries=tries)
    assert 0 <= low <= hits / tries <= high <= 1


def test_every_figure_that_is_computed_has_its_source() -> None:
    plain = {
        "trades",
        "wins",
        "losses",
        "scratches",
        "passes",
        "answers",
        "total_pnl",
        "undefined",
        "skewness",
        "kurtosis",
    }
    for name in set(figures([1, -1])) - plain:
        assert (
            name.removesuffix("_interval").replace("annualised_sharpe_standard_error", "annualised_sharpe_ratio")
            in PERFORMANCE_SOURCES
        )
