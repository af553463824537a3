"""PURE: what a chart is made of: paths in a square of 1000 by 1000, labels and marks in percent.

The square is stretched to whatever room there is, so that words keep their size on a phone; lines keep their width.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

from outcomes.charts.scales import Tick

MOST_POINTS = 500  # a line; more could not be seen
LEAST_GAP = 9.0  # between two labels at the ends of lines, in percent of the height
MOST_ROWS = 40  # of a chart's table

A_MINUS = re.compile(r"(?<![\w-])-(?=[\d.])")
Item = TypeVar("Item")
Point = tuple[float, float]  # from the left and from the bottom, in percent


@dataclass(frozen=True, slots=True)
class Shape:
    """A path with the classes that colour it."""

    path: str
    look: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Words beside a chart: at its right at ``place`` percent from the top, or over it at ``place`` percent from the left."""

    place: float
    words: str
    look: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """The numbers behind a chart, for those who do not see it; ``is_whole`` is False where rows were left out."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart. ``told`` says in words what is to be seen; without ``shapes`` it is all that there is."""

    title: str
    told: str
    across: str = ""
    up: str = ""
    x_ticks: Sequence[Tick] = ()
    y_ticks: Sequence[Tick] = ()
    shapes: Sequence[Shape] = ()
    ends: Sequence[Mark] = ()
    over: Sequence[Mark] = ()
    look: str = ""
    table: Table | None = field(default=None)


def line(points: Sequence[Point]) -> str:
    """Return the path from point to point."""
    return "M" + "L".join(_at(x, y) for x, y in points) if points else ""


def steps(points: Sequence[Point]) -> str:
    """Return the path that stays at each height until the next point."""
    if not points:
        return ""
    parts = [f"M{_at(*points[0])}"]
    for (_, before), (x, y) in pairwise(points):
        parts.append(f"H{_across(x)}" if y == before else f"H{_across(x)}V{_up(y)}")
    return "".join(parts)


def band(upper: Sequence[Point], lower: Sequence[Point]) -> str:
    """Return the outline of what lies between two lines over the same places."""
    return f"{line([*upper, *reversed(lower)])}Z" if upper else ""


def box(left: float, right: float, *, bottom: float, top: float) -> str:
    return f"M{_at(left, bottom)}H{_across(right)}V{_up(top)}H{_across(left)}Z"


def dots(points: Iterable[Point]) -> str:
    """Return lines without length: drawn with round ends they are dots of one size, however the square is stretched."""
    return "".join(f"M{_at(x, y)}h0" for x, y in points)


def level(height: float) -> str:
    return f"M0 {_up(height)}H1000"


def upright(place: float) -> str:
    return f"M{_across(place)} 0V1000"


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Return at most ``most`` (4 or more) of the points (in order): the first, the last, and of each stretch the lowest and highest."""
    if len(points) <= most:
        return list(points)
    inner = points[1:-1]
    parts = most // 2 - 1
    kept = [points[0]]
    for number in range(parts):
        stretch = inner[len(inner) * number // parts : len(inner) * (number + 1) // parts]
        lowest = min(range(len(stretch)), key=lambda place: stretch[place][1])
        highest = max(range(len(stretch)), key=lambda place: stretch[place][1])
        kept += [stretch[place] for place in sorted({lowest, highest})]
    return [*kept, points[-1]]


def some_of(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most ``most`` (2 or more) items at even distances, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(number * (len(items) - 1) / (most - 1))] for number in range(most)]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    return Table(columns, some_of(rows, MOST_ROWS), is_whole=len(rows) <= MOST_ROWS)


def apart(ends: Sequence[Mark], gap: float = LEAST_GAP) -> list[Mark]:
    """Return the marks moved up or down until none covers another, in the order of their heights."""
    ordered = sorted(ends, key=lambda mark: mark.place)
    tops: list[float] = []
    for mark in ordered:
        tops.append(max(mark.place, tops[-1] + gap) if tops else mark.place)
    beyond = max(0.0, (tops[-1] if tops else 0.0) - 100)
    for place in reversed(range(len(tops))):
        limit = 100.0 if place == len(tops) - 1 else tops[place + 1] - gap
        tops[place] = min(tops[place], limit) if beyond else tops[place]
    return [Mark(top, mark.words, mark.look) for mark, top in zip(ordered, tops, strict=True)]


def with_minus(text: str) -> str:
    """Return a text in which negative numbers have a real minus; dates and words keep their hyphens."""
    return A_MINUS.sub("−", text)


def amount(value: float) -> str:
    """Return a number of three digits with its sign; 0 has none."""
    return with_minus(f"{value:+.3g}") if value else "0"


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _at(x: float, y: float) -> str:
    return f"{_across(x)} {_up(y)}"


def _across(x: float) -> str:
    return _short(10 * x)


def _up(y: float) -> str:
    """The square's origin is on top."""
    return _short(1000 - 10 * y)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
