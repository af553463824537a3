"""The two reports: performance per engine and kind, and the paired comparison of the engines."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from orchestrator.domain.amounts import PLACES, decimal_string
from outcomes import queries
from outcomes.domain.comparison import Moment, history
from outcomes.domain.daily import EXACT, DayOfPairs, in_currency, in_r
from outcomes.domain.series import Series
from outcomes.experiment_series import current_series
from outcomes.figures import ComparedPairs, comparison_figures, performance_figures
from outcomes.filters import ReportFilters
from outcomes.snapshot import one_snapshot

NO_FILTERS = ReportFilters()


def performance(filters: ReportFilters = NO_FILTERS) -> dict[str, Any]:
    """Return the performance of each engine, real, shadow and twin apart (requirements 5.2 to 5.4).

    "shadow" and "twin" follow the trade's purpose, which never changes: a twin whose permit ended without an execution
    is still counted as a twin. "real" holds every real fill, an unauthorised one too. Money as decimal strings, ratios
    as numbers, undefined is None and its reason stands in "undefined".
    """
    with one_snapshot():
        days, answers = queries.trade_days(filters), queries.answers(filters)
    return {"filters": filters.as_json(), **performance_figures(days, answers)}


def comparison(filters: ReportFilters = NO_FILTERS, series: Series | None = None) -> dict[str, Any]:
    """Return whether one engine is better, and how sure that is: pairs on one fill basis, A minus B.

    The verdict is in R, so that a large position does not outweigh many small ones; the same figures in currency follow.

    :param series: its rules, those of the environment by default.
    """
    found, series = compared_pairs(filters), series or current_series()
    return {
        "filters": filters.as_json(),
        **comparison_figures(found, series, filtered=filters != NO_FILTERS),
        "over_time": {
            "difference": _over_time(found.days, series),
            "own_exits": _over_time(found.own_exit_days, series),
        },
    }


def compared_pairs(filters: ReportFilters = NO_FILTERS) -> ComparedPairs:
    """Return the days and counts that the comparison is made of, all from one moment of the database."""
    with one_snapshot():
        return ComparedPairs(
            days=queries.pair_days(filters),
            own_exit_days=queries.own_exit_pair_days(filters),
            incomplete=queries.incomplete_pairs(filters),
            assignments=queries.assignments(filters),
            executed=queries.execution_costs(filters),
        )


def _over_time(days: Sequence[DayOfPairs], series: Series) -> dict[str, Any]:
    """Return the mean difference with its interval as it stood after each cluster of days; money as decimal strings."""
    return {
        "R": [_moment(moment, lambda value: value) for moment in history(in_r(days), series)],
        "currency": [_moment(moment, _money) for moment in history(in_currency(days), series)],
    }


def _moment(moment: Moment, written: Callable[[float], float | str]) -> dict[str, Any]:
    def amount(value: float | None) -> float | str | None:
        return None if value is None else written(value)

    return {
        "day": moment.day.isoformat(),
        "pairs": moment.pairs,
        "mean": amount(moment.mean),
        "low": amount(moment.low),
        "high": amount(moment.high),
        "enough": moment.enough,
    }


def _money(value: float) -> str:
    return decimal_string(Decimal(value).quantize(PLACES, context=EXACT))
