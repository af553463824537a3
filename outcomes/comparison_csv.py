"""The figures of the comparison's page as CSV, every day of them: what a chart thins out stands here in full."""

from collections.abc import Callable, Mapping
from io import StringIO
from typing import Any, TextIO

from orchestrator.domain.moments import moment_string
from outcomes.comparison_reading import Shown
from outcomes.domain.comparison import Moment
from outcomes.report_csv import write_pairs_csv, write_performance_csv, write_table_csv


def csv_of(shown: Shown, name: str) -> str:
    """Return one of ``FILES`` as text."""
    file = StringIO()
    FILES[name](shown, file)
    return file.getvalue()


def file_name(shown: Shown, name: str) -> str:
    """Return a name for the file that says which period it is about."""
    filters = shown.filters
    ends = [moment_string(end)[:10] for end in (filters.since, filters.until) if end]
    return "-".join(["comparison", name, *ends]) + ".csv"


def _curve(shown: Shown, file: TextIO) -> None:
    write_table_csv(
        ("engine", "kind", "day", "pnl", "cumulated_pnl", "lowest_below_highest"),
        (
            (engine, kind, day.day.isoformat(), day.pnl, day.cumulated, day.fall)
            for (engine, kind), curve in sorted(shown.curves.items())
            for day in curve
        ),
        file,
    )


def _difference(shown: Shown, file: TextIO) -> None:
    def cells(unit: str, moment: Moment) -> tuple[Any, ...]:
        known = (moment.mean, moment.error, moment.low, moment.high, moment.p_value)
        return (unit, moment.day.isoformat(), moment.clusters, moment.pairs, *known, "yes" if moment.enough else "no")

    write_table_csv(
        ("unit", "day", "clusters", "pairs", "mean", "standard_error", "low", "high", "p_value", "enough"),
        [
            *(cells("R", moment) for moment in shown.moments),
            *(cells("currency", moment) for moment in shown.moments_in_currency),
        ],
        file,
    )


def _pairs(shown: Shown, file: TextIO) -> None:
    write_pairs_csv(shown.newest, file)


def _performance(shown: Shown, file: TextIO) -> None:
    write_performance_csv({"filters": shown.filters.as_json(), **shown.performance}, file)


FILES: Mapping[str, Callable[[Shown, TextIO], None]] = {
    "curve": _curve,
    "difference": _difference,
    "pairs": _pairs,
    "performance": _performance,
}
