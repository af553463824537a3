"""The JSON of the reports: finite whatever the days hold, with its reasons, caveats and sources."""

import json
from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from outcomes.domain.daily import Answers, DayOfAssignments, DayOfPairs, IncompletePairs
from outcomes.domain.series import BY_DAY, BY_WEEK, Series
from outcomes.figures import ComparedPairs, comparison_figures, performance_figures
from tests.days import FIRST_DAY, one_day

LIMIT = Decimal("999999999999.99999999")
amounts = st.one_of(
    st.decimals(-1000, 1000, places=8, allow_nan=False, allow_infinity=False),
    st.sampled_from([LIMIT, -LIMIT, Decimal("1e-8"), Decimal("-1e-12"), Decimal(0), LIMIT * 10**8]),
)
numbers = st.integers(0, 5)


@st.composite
def days_of_pairs(draw: st.DrawFn) -> list[DayOfPairs]:
    days = []
    for number in range(draw(st.integers(0, 45))):
        pairs = draw(st.integers(1, 4))
        in_r = draw(st.integers(0, pairs))
        days.append(
            DayOfPairs(
                day=FIRST_DAY + timedelta(days=number * draw(st.integers(1, 2))),
                pairs=pairs,
                difference=draw(amounts),
                pairs_in_r=in_r,
                difference_in_r=draw(amounts) if in_r else Decimal(0),
                only_a=draw(numbers),
                only_b=draw(numbers),
                passed_a=0,
                passed_b=0,
                passed_both=0,
            )
        )
    return sorted({day.day: day for day in days}.values(), key=lambda day: day.day)


@given(days=days_of_pairs(), series=st.sampled_from([BY_DAY, BY_WEEK]), share=st.integers(0, 100), data=st.data())
def test_no_comparison_ever_holds_nan_or_infinity(
    days: list[DayOfPairs], series: Series, share: int, data: st.DataObject
) -> None:
    counts = [DayOfAssignments(FIRST_DAY, share, data.draw(numbers), data.draw(st.sampled_from([0, 3, 10**7])))]
    found = comparison_figures(
        ComparedPairs(days=days, own_exit_days=days, assignments=counts, executed={"A": days}), series
    )
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text)["verdict"]["sentence"]


def test_without_anything_the_report_says_so() -> None:
    found = comparison_figures(ComparedPairs())
    assert found["verdict"]["code"] == "TOO_EARLY"
    assert found["difference"]["R"] == {
        "clusters": 0,
        "days": 0,
        "pairs": 0,
        "mean": None,
        "standard_error": None,
        "interval": None,
        "p_value": None,
        "first_clear": None,
        "clear_since": None,
        "code": "NO_PAIRS",
        "reason": "No pair is complete yet.",
    }
    assert found["caveats"] == []
    assert found["execution_cost"]["separable"] is False


def test_what_to_know_before_believing_the_verdict_is_said() -> None:
    days = [
        DayOfPairs(FIRST_DAY + timedelta(days=n), 2, Decimal(9), 1, Decimal(1 if n // 8 % 2 else -1), 1, 0, 0, 0, 0)
        for n in range(64)
    ]
    found = comparison_figures(
        ComparedPairs(
            days=days,
            incomplete=IncompletePairs(open=3, oldest_open_seconds=60.0),
            assignments=[DayOfAssignments(FIRST_DAY, 50, 90, 10)],
        ),
        filtered=True,
    )
    resembling, assignment, filtered, without_r, still_open = found["caveats"]
    assert filtered.startswith("Filters chose these pairs.")
    assert "ISO week" in resembling
    assert assignment.startswith("Alarm")
    assert without_r.startswith("64 complete pairs have no result in R")
    assert still_open.startswith("3 pairs are still open")


def test_every_part_of_the_comparison_has_its_source() -> None:
    found = comparison_figures(ComparedPairs())
    explained = set(found["method"]["sources"])
    assert {"pairs", "autocorrelation", "wins_more_often", "assignment", "execution_cost"} <= explained
    assert {"R", "standard_error", "interval", "p_value", "needed"} <= explained
    assert found["calibration"]["worst"]["rate"] <= found["calibration"]["limit"]


def test_engines_and_kinds_stand_apart_also_without_a_trade() -> None:
    found = performance_figures({("A", "real"): one_day([5])}, {("B", "shadow"): Answers(4, 1)})
    assert {engine: list(kinds) for engine, kinds in found["engines"].items()} == {
        "A": ["real", "shadow", "twin"],
        "B": ["real", "shadow", "twin"],
    }
    assert found["engines"]["A"]["real"]["total_pnl"] == "5"
    assert found["engines"]["A"]["twin"]["trades"] == 0
    assert found["engines"]["B"]["shadow"]["pass_rate"] == 0.25
    assert (found["method"]["risk_free_rate"], found["method"]["days_per_year"]) == ("0", 252)
