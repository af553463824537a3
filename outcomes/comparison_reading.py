"""What the page of the comparison shows, read once from one moment of the database, and never trade by trade."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from orchestrator.domain.agreement import Agreement
from orchestrator.domain.vocabulary import Engine, ExecutionMode
from orchestrator.repeats import self_agreement
from outcomes import queries
from outcomes.charts.results import DayOfCurve, Key, curves_of
from outcomes.domain.comparison import Moment, history
from outcomes.domain.daily import Answers, DayOfTrades, in_currency, in_r
from outcomes.domain.series import Series
from outcomes.experiment_series import current_series
from outcomes.figures import ComparedPairs, comparison_figures, performance_figures
from outcomes.filters import ReportFilters
from outcomes.models import ReportSlice
from outcomes.pair_rows import PairRow, newest_pair_rows
from outcomes.reports import NO_FILTERS, compared_pairs
from outcomes.snapshot import one_snapshot

MOST_CHOICES = 200


@dataclass(frozen=True)
class Shown:
    """One choice of trades and pairs, and everything that the page says about it."""

    filters: ReportFilters
    series: Series
    trades: Mapping[Key, Sequence[DayOfTrades]]
    answers: Mapping[Key, Answers]
    compared: ComparedPairs
    newest: Sequence[PairRow]
    noise: Mapping[Engine, Counter[Agreement]]

    @cached_property
    def performance(self) -> dict[str, Any]:
        """The performance report, without its filters."""
        return performance_figures(self.trades, self.answers)

    @cached_property
    def comparison(self) -> dict[str, Any]:
        """The comparison report, without its filters and the course over time."""
        return comparison_figures(self.compared, self.series, filtered=self.filters != NO_FILTERS)

    @cached_property
    def curves(self) -> dict[Key, list[DayOfCurve]]:
        return curves_of(self.trades)

    @cached_property
    def moments(self) -> list[Moment]:
        """The comparison after each cluster, in R."""
        return history(in_r(self.compared.days), self.series)

    @cached_property
    def moments_in_currency(self) -> list[Moment]:
        return history(in_currency(self.compared.days), self.series)

    @cached_property
    def results_in_r(self) -> list[tuple[float, float]]:
        """A and B of the newest pairs that have a result in R."""
        return [
            (float(pair.a_r), float(pair.b_r)) for pair in self.newest if pair.a_r is not None and pair.b_r is not None
        ]


def read_comparison(filters: ReportFilters) -> Shown:
    with one_snapshot():
        return Shown(
            filters=filters,
            series=current_series(),
            trades=queries.trade_days(filters),
            answers=queries.answers(filters),
            compared=compared_pairs(filters),
            newest=newest_pair_rows(filters),
            noise=self_agreement(),
        )


def choices() -> dict[str, list[str]]:
    """Return what has been counted so far and can be chosen, per filter; at most ``MOST_CHOICES`` each."""
    found: dict[str, set[str]] = {"symbol": set(), "timeframe": set(), "policy_version": set()}
    for name, known in found.items():
        others = {other: "" for other in ("symbol", "timeframe", "mode", "policy_version") if other != name}
        names = ReportSlice.objects.filter(**others).exclude(**{name: ""}).order_by(name).values_list(name, flat=True)
        known.update(names[:MOST_CHOICES])
    chosen = {name: sorted(known) for name, known in found.items()}
    chosen["timeframe"].sort(key=lambda timeframe: (not timeframe.isdigit(), timeframe.zfill(8)))
    return {**chosen, "mode": [mode.value for mode in ExecutionMode]}
