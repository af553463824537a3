"""PURE: axes: where a value lies between the ends, and at which round numbers and days there are ticks."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import ceil, floor, log10

MOST_TICKS = 5
ROUND_NUMBERS = (1.0, 2.0, 2.5, 5.0, 10.0)
MARGIN = 0.05  # of the height, so that no line lies on the frame
FAR = 10_000.0  # percent; farther out no slope of a line can be seen
FROM_THOUSANDS = 1e4  # up to here a number is written out
A_DAY = timedelta(days=1)
ALMOST = 1e-6
# Steps of ticks in time: days, then months.
DAY_STEPS = (1, 2, 7, 14)
MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MONTHS_A_YEAR = 12


@dataclass(frozen=True, slots=True)
class Tick:
    """``at`` in percent of the axis, from its lower or left end."""

    at: float
    label: str

    @property
    def across(self) -> str:
        """The place in a square of 1000, from the left."""
        return f"{10 * self.at:.1f}"

    @property
    def down(self) -> str:
        """The place in a square of 1000, from the top."""
        return f"{1000 - 10 * self.at:.1f}"


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of numbers from ``low`` to ``high``, ``low`` below ``high``."""

    low: float
    high: float
    ticks: Sequence[Tick]

    def place(self, value: float) -> float:
        """Return where a value lies in percent, 0 at the lower end; beyond an end it is at that end."""
        return min(100.0, max(0.0, self.beyond(value)))

    def beyond(self, value: float) -> float:
        """Return where a value lies in percent, also when that is beyond an end, for lines that the frame cuts off."""
        return min(FAR, max(-FAR, 100 * (value - self.low) / (self.high - self.low)))

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Days:
    """An axis of days, ``first`` before ``last``."""

    first: date
    last: date
    ticks: Sequence[Tick]

    def place(self, day: date) -> float:
        return 100 * (day - self.first).days / (self.last - self.first).days


def axis(values: Iterable[float], *, margin: float = MARGIN, alone: tuple[float, float] = (-1.0, 1.0)) -> Axis:
    """Return an axis that holds all values (there may be none) with a margin, and ticks at round numbers.

    :param alone: how far it reaches below and above where there is but one value.
    """
    found = list(values)
    low, high = min(found, default=0.0), max(found, default=0.0)
    if high - low <= 1e-9 * max(1.0, abs(low), abs(high)):
        reach = max(1.0, abs(high)) / 2
        low, high = low + alone[0] * reach, high + alone[1] * reach
    room = margin * (high - low)
    low, high = low - room, high + room
    step = round_step(high - low)
    largest = max(abs(low), abs(high))
    places = range(ceil(low / step), floor(high / step) + 1)
    return Axis(
        low,
        high,
        [Tick(100 * (place * step - low) / (high - low), number(place * step, step, largest)) for place in places],
    )


def counts(most: int) -> Axis:
    """Return an axis of counts, from 0 to a little above ``most``."""
    high = max(most, 1) * (1 + MARGIN)
    step = max(1.0, round_step(high))
    return Axis(
        0.0,
        high,
        [Tick(100 * place * step / high, number(place * step, step, high)) for place in range(int(high // step) + 1)],
    )


def days(first: date, last: date) -> Days:
    """Return an axis of days (both included) with at most a handful of ticks; one day alone stands in the middle of three."""
    if first == last:
        first, last = first - A_DAY, last + A_DAY
    ticks = [Tick(100 * (day - first).days / (last - first).days, label) for day, label in _day_ticks(first, last)]
    return Days(first, last, ticks)


def round_step(span: float) -> float:
    """Return the smallest round step that gives at most a handful of ticks; ``span`` above 0."""
    least = span / MOST_TICKS
    power = 10.0 ** floor(log10(least))
    return next(power * number for number in ROUND_NUMBERS if power * number >= least * (1 - 1e-9))


def number(value: float, step: float, largest: float) -> str:
    """Return a tick's label with as many decimals as its step needs: ``0.25``, ``−1,500``, ``12.5k``, ``3M``.

    :param largest: the largest number on the axis, without its sign: what thousands or millions are chosen by.
    """
    for size, unit in ((1e9, "bn"), (1e6, "M"), (1e3, "k")):
        if step >= size / 10 and largest >= (size if unit != "k" else FROM_THOUSANDS):
            return "0" if abs(value) < step / 2 else _signed(value / size, step / size) + unit
    return _signed(value, step)


def _signed(value: float, step: float) -> str:
    decimals = next(places for places in range(13) if abs(step * 10**places - round(step * 10**places)) < ALMOST)
    text = f"{abs(value):,.{decimals}f}"
    return f"−{text}" if value < 0 and any(digit in "123456789" for digit in text) else text


def _day_ticks(first: date, last: date) -> list[tuple[date, str]]:
    span = (last - first).days + 1
    for step in DAY_STEPS:
        if span <= step * MOST_TICKS:
            start = first if step < 7 else first + timedelta(days=-first.weekday() % 7)  # noqa: PLR2004 - weeks begin on Mondays
            return [(day, f"{day.day} {MONTHS[day.month - 1]}") for day in _every(start, last, step)]
    months = MONTHS_A_YEAR * (last.year - first.year) + last.month - first.month
    step = next((step for step in MONTH_STEPS if months <= step * MOST_TICKS), 1200)
    ticks = [day for day in _firsts_of_months(first, last) if (MONTHS_A_YEAR * day.year + day.month - 1) % step == 0]
    return [(day, str(day.year) if step >= MONTHS_A_YEAR else f"{MONTHS[day.month - 1]} {day.year}") for day in ticks]


def _every(start: date, last: date, step: int) -> Iterator[date]:
    for number_of_days in range(0, (last - start).days + 1, step):
        yield start + timedelta(days=number_of_days)


def _firsts_of_months(first: date, last: date) -> Iterator[date]:
    for number_of_months in range(MONTHS_A_YEAR * first.year + first.month - 1, MONTHS_A_YEAR * last.year + last.month):
        day = date(number_of_months // MONTHS_A_YEAR, number_of_months % MONTHS_A_YEAR + 1, 1)
        if first <= day <= last:
            yield day
