"""PURE: which days a daily series has.

From the first to the last day with a closed trade: every Monday to Friday, and those Saturdays and Sundays on which a trade
closed. So quiet weekdays count as days without result, and a market that trades at weekends is not cut short; exchange
holidays are not known here and count as quiet days.
"""

from collections.abc import Sequence
from datetime import date

WEEKDAYS = 5
RULE = (
    "every Monday to Friday from the first to the last day (UTC) with a closed trade, and weekend days with one; "
    "a day without a trade counts 0"
)


def number_of_days(traded: Sequence[date]) -> int:
    """Return how many days the series has; ``traded`` are the days with a closed trade, in order, at least one."""
    return weekdays_between(traded[0], traded[-1]) + sum(day.weekday() >= WEEKDAYS for day in traded)


def weekdays_between(first: date, last: date) -> int:
    """Return how many Mondays to Fridays there are from ``first`` to ``last``, both included."""
    return _weekdays_until(last.toordinal()) - _weekdays_until(first.toordinal() - 1)


def _weekdays_until(ordinal: int) -> int:
    """Return the weekdays among the days 1 to ``ordinal``; day 1 of the calendar is a Monday."""
    weeks, rest = divmod(ordinal, 7)
    return weeks * WEEKDAYS + min(rest, WEEKDAYS)
