"""PURE: which days must be looked at trade by trade, so that the largest fall of a cumulated P&L comes out exactly.

Curves of one day cannot be put together when their trades alternate: of such a day only its ends and bounds are known.
The largest fall has its peak and its trough somewhere; a day whose bounds cannot beat the fall between known points holds
neither, so its inside does not matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import accumulate

from outcomes.domain.daily import NOTHING, Curve


@dataclass(frozen=True, slots=True)
class Bounds:
    """One day: ``curve`` is exact when ``is_exact``, else its peak and trough are bounds and only its total is known."""

    day: date
    curve: Curve
    is_exact: bool


def ends_only(total: Decimal) -> Curve:
    """Return the curve of a day of which only the total is known: from its beginning straight to its end."""
    return Curve(total, max(total, NOTHING), min(total, NOTHING), max(-total, NOTHING))


def days_to_look_at(days: Sequence[Bounds]) -> list[date]:
    """Return the inexact days (in order) that may hold the peak or the trough of the largest fall of the whole curve."""
    known = Curve()
    for day in days:
        known = known.then(day.curve if day.is_exact else ends_only(day.curve.total))
    starts = [NOTHING, *accumulate(day.curve.total for day in days)]
    peaks = [start + day.curve.peak for start, day in zip(starts, days, strict=False)]
    troughs = [start + day.curve.trough for start, day in zip(starts, days, strict=False)]
    highest_before = list(accumulate([NOTHING, *peaks], max))[1:]  # its own peak included: it may come first
    lowest_after = list(accumulate(reversed(troughs), min))[::-1]
    return [
        day.day
        for day, peak, trough, highest, lowest in zip(days, peaks, troughs, highest_before, lowest_after, strict=True)
        if not day.is_exact and (highest - trough > known.drawdown or peak - lowest > known.drawdown)
    ]
