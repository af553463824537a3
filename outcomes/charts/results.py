"""PURE: the curves of closed P&L and their falls, per engine and kind, on shared axes; kinds are never added together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from outcomes.charts.scales import A_DAY, Axis, Days, axis, days
from outcomes.charts.shapes import Chart, Mark, Shape, Table, apart, level, some_of, steps, thinned, with_minus
from outcomes.domain.daily import EXACT, NOTHING, DayOfTrades

ENGINES = ("A", "B")
MOST_DAYS_IN_TABLE = 12
CURVES = {"real": ("real", "twin"), "shadow": ("shadow",)}  # what is drawn in one chart

Key = tuple[str, str]  # engine, kind


@dataclass(frozen=True, slots=True)
class DayOfCurve:
    """Where the P&L of one engine and kind stood at the end of a day, and the deepest it was that day below its highest.

    ``fall`` is 0 or negative.
    """

    day: date
    pnl: Decimal
    cumulated: Decimal
    fall: Decimal


@dataclass(frozen=True, slots=True)
class Axes:
    """The axes that several charts share."""

    across: Days
    up: Axis


def curves_of(found: Mapping[Key, Sequence[DayOfTrades]]) -> dict[Key, list[DayOfCurve]]:
    """Return the curve of each engine and kind, day by day; the lowest ``fall`` of one is its largest drawdown."""
    return {key: _curve(of_kind) for key, of_kind in found.items()}


def equity_charts(curves: Mapping[Key, Sequence[DayOfCurve]]) -> list[Chart]:
    """Return four charts on the same axes: A and B, real (with its twin beside it) and shadow."""
    axes = _axes(curves, lambda day: day.cumulated)
    return [_equity(curves, engine, row, axes) for row in CURVES for engine in ENGINES]


def drawdown_charts(curves: Mapping[Key, Sequence[DayOfCurve]]) -> list[Chart]:
    """Return four charts on the same axes, A and B, real and shadow: how far each was below its highest P&L so far."""
    axes = _axes(
        {key: curve for key, curve in curves.items() if key[1] in CURVES}, lambda day: day.fall, alone=(-1.0, 0.0)
    )
    return [_drawdown(curves, engine, kind, axes) for kind in CURVES for engine in ENGINES]


def _curve(of_kind: Sequence[DayOfTrades]) -> list[DayOfCurve]:
    start = highest = NOTHING
    curve = []
    for day in of_kind:
        of_day = day.sums.curve
        fall = max(of_day.drawdown, EXACT.subtract(highest, EXACT.add(start, of_day.trough)))
        highest = max(highest, EXACT.add(start, of_day.peak))
        start = EXACT.add(start, of_day.total)
        curve.append(DayOfCurve(day.day, of_day.total, start, -fall))
    return curve


def _axes(
    curves: Mapping[Key, Sequence[DayOfCurve]],
    height: Callable[[DayOfCurve], Decimal],
    *,
    alone: tuple[float, float] = (-1.0, 1.0),
) -> Axes | None:
    """Return axes that hold all curves and a day before and after them; None without any trade."""
    everything = [day for curve in curves.values() for day in curve]
    if not everything:
        return None
    first, last = min(day.day for day in everything), max(day.day for day in everything)
    return Axes(
        days(first - A_DAY, last + A_DAY), axis([0.0, *(float(height(day)) for day in everything)], alone=alone)
    )


def _equity(curves: Mapping[Key, Sequence[DayOfCurve]], engine: str, row: str, axes: Axes | None) -> Chart:
    title = f"Engine {engine}, {row}"
    drawn = [kind for kind in CURVES[row] if curves.get((engine, kind))]
    if axes is None or not drawn:
        return Chart(title, f"No {row} trade of engine {engine} is closed in this choice.")
    told = [f"{_named(kind)} {_gain(curves[engine, kind][-1].cumulated)}" for kind in drawn]
    return Chart(
        title,
        f"Engine {engine}, cumulated P&L at the end: {', '.join(told)}.",
        across="day (UTC)",
        up="P&L in currency",
        x_ticks=axes.across.ticks,
        y_ticks=axes.up.ticks,
        shapes=[
            Shape(level(axes.up.place(0)), "o-zero"),
            *(
                Shape(
                    steps(_walked([(day.day, float(day.cumulated)) for day in curves[engine, kind]], axes)),
                    f"o-stroke-{engine} o-line" + (" o-dashed" if kind == "twin" else ""),
                )
                for kind in drawn
            ),
        ],
        ends=apart(
            [
                Mark(100 - axes.up.place(float(curves[engine, kind][-1].cumulated)), kind, f"o-words-{engine}")
                for kind in drawn
            ]
        ),
        table=_table({kind: [(day.day, day.cumulated) for day in curves[engine, kind]] for kind in drawn}),
    )


def _drawdown(curves: Mapping[Key, Sequence[DayOfCurve]], engine: str, kind: str, axes: Axes | None) -> Chart:
    title = f"Engine {engine}, {kind}"
    curve = curves.get((engine, kind))
    if axes is None or not curve:
        return Chart(title, f"No {kind} trade of engine {engine} is closed in this choice.")
    deepest = min(curve, key=lambda day: day.fall)
    told = f"{_money(-deepest.fall)} at its deepest, on {deepest.day}" if deepest.fall else "never"
    path = steps(_walked([(day.day, float(day.fall)) for day in curve], axes))
    return Chart(
        title,
        f"Engine {engine}, {kind}, below its highest P&L so far: {told}.",
        across="day (UTC)",
        up="currency below the highest",
        x_ticks=axes.across.ticks,
        y_ticks=axes.up.ticks,
        look="o-low",
        shapes=[
            Shape(f"{path}V{10 * (100 - axes.up.place(0)):.1f}H0Z", f"o-fill-{engine} o-faint-fill"),
            Shape(level(axes.up.place(0)), "o-zero"),
            Shape(path, f"o-stroke-{engine} o-line"),
        ],
        table=_table({"deepest that day": [(day.day, day.fall) for day in curve]}),
    )


def _walked(values: Sequence[tuple[date, float]], axes: Axes) -> list[tuple[float, float]]:
    """Return the points of a line from 0 on the day before the first to the right end."""
    points = [(axes.across.place(values[0][0] - A_DAY), axes.up.place(0))]
    points += [(axes.across.place(day), axes.up.place(value)) for day, value in values]
    return [*thinned(points), (100.0, points[-1][1])]


def _table(columns: Mapping[str, Sequence[tuple[date, Decimal]]]) -> Table:
    """Return how the lines stand on some days on which one of them moved."""
    moved = sorted({day for line in columns.values() for day, _ in line})
    chosen = some_of(moved, MOST_DAYS_IN_TABLE)
    rows = []
    for at in chosen:
        before = [[value for day, value in line if day <= at] for line in columns.values()]
        rows.append([at.isoformat(), *(_gain(values[-1]) if values else "-" for values in before)])
    return Table(["day", *columns], rows, is_whole=len(chosen) == len(moved))


def _named(kind: str) -> str:
    return "twin (the same orders under the rules of shadow trades)" if kind == "twin" else kind


def _gain(value: Decimal) -> str:
    return with_minus(f"{value:+,.2f}")


def _money(value: Decimal) -> str:
    return f"{value:,.2f}"
