"""The two reports: performance per engine and kind, and the paired comparison of the engines."""

from typing import Any

from outcomes import queries
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
    with one_snapshot():
        found = ComparedPairs(
            days=queries.pair_days(filters),
            own_exit_days=queries.own_exit_pair_days(filters),
            incomplete=queries.incomplete_pairs(filters),
            assignments=queries.assignments(filters),
            executed=queries.execution_costs(filters),
        )
    figures = comparison_figures(found, series or current_series(), filtered=filters != NO_FILTERS)
    return {"filters": filters.as_json(), **figures}
