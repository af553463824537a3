"""Charts as shapes: axes hold what they show, lines stay short whatever there is, and nothing is drawn that is not so."""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outcomes.charts.difference import difference_chart
from outcomes.charts.pairs import MOST_BINS, histogram, scatter
from outcomes.charts.results import curves_of, drawdown_charts, equity_charts
from outcomes.charts.scales import FAR, MOST_TICKS, axis, counts, days, number, round_step
from outcomes.charts.shapes import (
    MOST_POINTS,
    MOST_ROWS,
    Chart,
    Mark,
    amount,
    apart,
    some_of,
    steps,
    thinned,
    with_minus,
)
from outcomes.domain.comparison import history
from outcomes.domain.daily import altogether
from outcomes.domain.series import Cluster
from tests.days import FIRST_DAY, days_of_trades, steady

values = st.floats(-1e12, 1e12)
points = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), max_size=2000)


def ends_of(path: str) -> list[float]:
    """Return every number of a path."""
    return [float(part) for part in re.findall(r"-?[0-9.]+", path)]


def trades(*pnls: Sequence[int]) -> dict[date, list[Decimal]]:
    return {FIRST_DAY + timedelta(days=n): [Decimal(pnl) for pnl in of_day] for n, of_day in enumerate(pnls)}


# Axes


@given(st.lists(values, max_size=20))
def test_an_axis_holds_its_values_and_has_a_handful_of_round_ticks(found: list[float]) -> None:
    made = axis(found)
    assert made.low < made.high
    assert all(made.holds(value) and 0 <= made.place(value) <= 100 for value in found)
    assert 1 <= len(made.ticks) <= MOST_TICKS + 1
    assert all(-1e-6 <= tick.at <= 100 + 1e-6 for tick in made.ticks)
    assert len({tick.label for tick in made.ticks}) == len(made.ticks)


@given(st.floats(1e-9, 1e15))
def test_a_step_is_a_round_number(span: float) -> None:
    step = round_step(span)
    assert span / step <= MOST_TICKS * (1 + 1e-9)
    assert float(f"{step:.0e}") == pytest.approx(step) or float(f"{step:.1e}") == pytest.approx(step)


def test_ticks_are_written_with_the_decimals_that_their_step_needs() -> None:
    assert [number(value, 0.25, 0.5) for value in (-0.25, 0, 0.5)] == ["−0.25", "0.00", "0.50"]
    assert [number(value, 500, 1500) for value in (-1500, 0)] == ["−1,500", "0"]
    assert [number(value, 2500, 12_500) for value in (-12_500, 0, 7500)] == ["−12.5k", "0", "7.5k"]
    assert [number(value, 2e6, 4e6) for value in (4e6, 0)] == ["4M", "0"]
    assert number(-1e-12, 0.1, 1) == "0.0"


def test_counts_begin_at_zero_and_have_whole_ticks() -> None:
    assert [tick.label for tick in counts(3).ticks] == ["0", "1", "2", "3"]
    assert counts(0).place(0) == 0


@given(st.dates(date(1990, 1, 1), date(2060, 1, 1)), st.integers(0, 12_000))
def test_days_have_a_handful_of_ticks_inside(first: date, length: int) -> None:
    made = days(first, first + timedelta(days=length))
    assert len(made.ticks) <= MOST_TICKS + 1
    assert all(0 <= tick.at <= 100 for tick in made.ticks)
    assert len(made.ticks) >= (1 if length < 12 * 366 else 2)
    assert made.place(first) == (50 if length == 0 else 0)


# Lines


@given(points, st.integers(4, 500))
def test_thinning_keeps_both_ends_and_the_highest_and_lowest_in_few_points(
    found: list[tuple[float, float]], most: int
) -> None:
    found.sort(key=lambda point: point[0])
    kept = thinned(found, most)
    assert len(kept) <= most
    assert kept == sorted(kept, key=lambda point: point[0])
    if found:
        assert (kept[0], kept[-1]) == (found[0], found[-1])
        assert min(y for _, y in kept) == min(y for _, y in found)
        assert max(y for _, y in kept) == max(y for _, y in found)


@given(st.lists(st.integers(), max_size=300), st.integers(2, 50))
def test_some_items_are_few_and_hold_both_ends(items: list[int], most: int) -> None:
    kept = some_of(items, most)
    assert len(kept) == min(len(items), most)
    assert kept[:1] == items[:1]
    assert kept[-1:] == items[-1:]


@given(st.lists(st.floats(0, 100), max_size=5))
def test_labels_at_the_ends_of_lines_never_cover_each_other(tops: list[float]) -> None:
    moved = [mark.place for mark in apart([Mark(top, "x") for top in tops], gap=10)]
    assert all(later - earlier >= 10 - 1e-9 for earlier, later in pairwise(moved))
    assert all(place <= 100 + 1e-9 for place in moved)


def test_a_line_of_steps_stays_where_it_is_until_the_next_point() -> None:
    assert steps([(0, 0), (50, 100), (100, 100)]) == "M0 1000H500V0H1000"


def test_negative_numbers_get_a_real_minus_and_dates_keep_their_hyphens() -> None:
    assert with_minus("between -0.5 and -1,000 on 2026-03-02, R-1") == "between −0.5 and −1,000 on 2026-03-02, R-1"
    assert [amount(value) for value in (-0.1234, 0.0, 12.0)] == ["−0.123", "0", "+12"]


# Results


@given(st.lists(st.lists(st.integers(-500, 500), min_size=1, max_size=4), min_size=1, max_size=30))
def test_the_deepest_fall_of_a_curve_is_the_drawdown_of_the_report(pnls: list[list[int]]) -> None:
    of_kind = days_of_trades(trades(*pnls))
    (curve,) = curves_of({("A", "real"): of_kind}).values()
    sums = altogether(of_kind)
    assert curve[-1].cumulated == sums.total
    assert -min(day.fall for day in curve) == sums.curve.drawdown


def test_the_four_curves_share_their_axes_and_kinds_stay_apart() -> None:
    found = {
        ("A", "real"): days_of_trades(trades([100], [-50])),
        ("A", "twin"): days_of_trades(trades([110], [-40])),
        ("B", "shadow"): days_of_trades(trades([5], [], [-2000])),
    }
    charts = equity_charts(curves_of(found))
    assert [chart.title for chart in charts] == [
        "Engine A, real",
        "Engine B, real",
        "Engine A, shadow",
        "Engine B, shadow",
    ]
    drawn = [chart for chart in charts if chart.shapes]
    assert [chart.title for chart in drawn] == ["Engine A, real", "Engine B, shadow"]
    assert drawn[0].y_ticks == drawn[1].y_ticks
    assert drawn[0].x_ticks == drawn[1].x_ticks
    assert [mark.words for mark in drawn[0].ends] == ["twin", "real"]
    assert drawn[0].told == (
        "Engine A, cumulated P&L at the end: real +50.00, twin (the same orders under the rules of shadow trades) +70.00."
    )
    assert drawn[1].table is not None
    assert drawn[1].table.rows == [["2026-03-02", "+5.00"], ["2026-03-04", "−1,995.00"]]
    low = {chart.title: chart.told for chart in drawdown_charts(curves_of(found))}
    assert low["Engine A, real"] == "Engine A, real, below its highest P&L so far: 50.00 at its deepest, on 2026-03-03."


def test_ten_years_of_days_are_drawn_in_few_points_that_hold_the_extremes() -> None:
    pnls = [[-100_000] if n == 1777 else [100_000] if n == 1778 else [n % 7 - 3] for n in range(2600)]
    curves = curves_of({("A", "shadow"): days_of_trades(trades(*pnls))})
    chart = equity_charts(curves)[2]
    line = chart.shapes[-1].path
    assert line.count("H") <= MOST_POINTS + 1
    assert len(line) < 20_000
    lowest = max(float(up) for up in re.findall(r"V([0-9.]+)", line))
    assert lowest > 900  # the one bad day is at the bottom of the square
    assert chart.table is not None
    assert not chart.table.is_whole


# The difference over time


def test_the_difference_is_drawn_with_its_band_zero_line_and_the_days_that_were_too_early() -> None:
    chart = difference_chart(history(steady(40, mean=1.0, swing=0.5)), unit="R")
    looks = [shape.look for shape in chart.shapes if shape.path]
    assert looks == ["o-zone", "o-band", "o-edge", "o-zero", "o-stroke o-line"]
    zone = chart.shapes[0].path
    assert max(ends_of(zone)[1::2]) == 1000
    assert f"H{1000 * 19 / 39:.1f}V" in zone  # the 20th of 40 days is the first with enough
    assert [mark.words for mark in chart.over] == ["too early"]
    assert "with 95 % confidence it is between" in chart.told
    assert "after each of 40 days" in chart.told
    assert chart.table is not None
    assert [row[-1] for row in chart.table.rows] == ["no"] * 19 + ["yes"] * 21


def test_a_short_stretch_that_was_too_early_has_its_words_beside_it() -> None:
    chart = difference_chart(history(steady(500, mean=1.0, swing=0.5)), unit="R")
    (words,) = chart.over
    assert words.words == "← too early"
    assert words.place == pytest.approx(100 * 19 / 499)
    line = next(shape.path for shape in chart.shapes if "o-line" in shape.look)
    assert line.count("L") <= MOST_POINTS
    assert chart.table is not None
    assert len(chart.table.rows) == MOST_ROWS


def test_the_wide_bands_of_the_first_days_do_not_squeeze_what_is_to_be_read() -> None:
    moments = history(steady(200, mean=0.1, swing=0.5))
    chart = difference_chart(moments, unit="R")
    enough = [moment for moment in moments if moment.enough]
    widest = max((moment.high or 0) - (moment.low or 0) for moment in enough)
    first, last = chart.y_ticks[0], chart.y_ticks[-1]
    span = (float(last.label) - float(first.label.replace("−", "-"))) / (last.at - first.at) * 100
    assert span < 1.5 * widest


def test_where_nothing_varies_the_band_is_unbounded() -> None:
    chart = difference_chart(history(steady(40, mean=1.0, swing=0.0)), unit="R", cluster=Cluster.DAY)
    band = next(shape.path for shape in chart.shapes if shape.look == "o-band")
    assert set(ends_of(band)[1::2]) == {1000 - 10 * FAR, 1000 + 10 * FAR}  # the frame cuts it off
    assert "its interval is still unbounded" in chart.told


# Pairs


@given(st.lists(st.tuples(st.floats(-1, 50), st.floats(-1, 50)), min_size=1, max_size=400))
def test_every_pair_is_in_one_bar_and_one_quarter(pairs: list[tuple[float, float]]) -> None:
    bars = histogram(pairs)
    assert bars.table is not None
    assert bars.table.is_whole
    assert sum(int(row[1].replace(",", "")) for row in bars.table.rows) == len(pairs)
    assert len(bars.table.rows) <= MOST_BINS
    cloud = scatter(pairs)
    assert cloud.table is not None
    assert sum(int(cell) for row in cloud.table.rows for cell in row[1:]) == len(pairs)


def test_level_pairs_are_in_the_middle_bar_and_in_nobodys_favour() -> None:
    chart = histogram([(0.0, 0.0)] * 5 + [(1.0, 0.0)] * 2 + [(0.0, 1.0)])
    bars = {shape.look: shape.path for shape in chart.shapes}
    assert [bars[look].count("M") for look in ("o-fill-B", "o-fill-level", "o-fill-A")] == [1, 1, 1]
    assert "A earned more in 2, B in 1, and 5 were level" in chart.told
    left, right = ends_of(bars["o-fill-level"])[0], ends_of(bars["o-fill-level"])[2]
    assert (left + right) / 2 == pytest.approx(500, abs=1)


def test_one_wild_pair_does_not_squeeze_all_others_and_is_said_to_lie_beyond() -> None:
    pairs = [(0.1 * (n % 11), 0.1 * (n % 7)) for n in range(400)] + [(300.0, 0.0)]
    cloud = scatter(pairs)
    assert "1 pair beyond the frame, drawn on it." in cloud.told
    assert float(cloud.x_ticks[-1].label) <= 2
    assert histogram(pairs).table is not None
    assert "and above" in histogram(pairs).table.rows[-1][0]  # type: ignore[union-attr]


def test_pairs_that_fall_together_make_one_larger_dot() -> None:
    chart = scatter([(-1.0, -1.0)] * 30 + [(0.5, -1.0)])
    dots = {shape.look: shape.path.count("M") for shape in chart.shapes if "o-dots" in shape.look}
    assert dots == {"o-dots o-dots-1": 1, "o-dots o-dots-2": 0, "o-dots o-dots-3": 0, "o-dots o-dots-4": 1}


def test_without_data_a_chart_is_a_sentence() -> None:
    empty = [*equity_charts({}), *drawdown_charts({}), difference_chart([], unit="R"), histogram([]), scatter([])]
    assert all(isinstance(chart, Chart) and not chart.shapes and chart.told.startswith("No ") for chart in empty)
