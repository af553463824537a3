"""The comparison of many paths at once, looked at after every cluster, and its equality with the code that the reports run."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from outcomes.domain.comparison import Moment, history
from outcomes.domain.confidence_sequence import half_width
from outcomes.domain.daily import DayOfDifferences
from outcomes.domain.distributions import student_t_quantile
from outcomes.domain.series import Cluster, Series
from tests.calibration.scenarios import Floats

A_MONDAY = date(2026, 3, 2)


class Disagreement(AssertionError):
    """The simulation is not about the code that the reports run."""


@dataclass(frozen=True, slots=True)
class Looks:
    """After each cluster of each path: (paths, clusters). ``may`` says that there is enough for a verdict."""

    mean: Floats
    error: Floats
    may: NDArray[np.bool_]


def look(sums: Floats, numbers: Floats, series: Series, *, so_far: tuple[Floats, Floats] | None = None) -> Looks:
    """Return mean and clustered standard error after every cluster.

    :param so_far: the sums and numbers of each cluster's beginning; with it the looks come that early in their clusters.
    """
    clusters = np.arange(1, sums.shape[1] + 1)
    part_sums, part_numbers = so_far or (sums, numbers)

    def added(whole: Floats, part: Floats) -> Floats:
        return whole.cumsum(axis=1) - whole + part

    pairs, total = added(numbers, part_numbers), added(sums, part_sums)
    mean = total / pairs
    spread = added(sums**2, part_sums**2) + mean**2 * added(numbers**2, part_numbers**2)
    spread -= 2 * mean * added(numbers * sums, part_numbers * part_sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.maximum(spread, 0) * clusters / (clusters - 1)) / pairs
    may = (clusters >= series.fewest_clusters) & (pairs >= series.fewest_pairs) & (error > 0)
    return Looks(mean, error, may)


def any_time_alarms(looks: Looks, series: Series) -> NDArray[np.bool_]:
    """Return where the interval of the reports excludes 0; its factor is the reports' own."""
    factors = np.array(
        [
            half_width(1.0, clusters=number, alpha=series.alpha, horizon=series.horizon) or np.inf
            for number in range(1, looks.mean.shape[1] + 1)
        ]
    )
    with np.errstate(invalid="ignore"):
        return looks.may & (np.abs(looks.mean) > factors * looks.error)


def naive_alarms(looks: Looks, series: Series) -> NDArray[np.bool_]:
    """Return where an ordinary t-test of the same means and errors says p < alpha."""
    quantiles = np.array(
        [np.inf, *(student_t_quantile(1 - series.alpha / 2, number) for number in range(1, looks.mean.shape[1]))]
    )
    with np.errstate(invalid="ignore"):
        return looks.may & (np.abs(looks.mean) > quantiles * looks.error)


def check_agreement(sums: Floats, numbers: Floats, series: Series, *, paths: int) -> None:
    """Run the first ``paths`` through the code of the reports.

    :raises Disagreement: when it finds another mean, error or verdict on any day.
    """
    looks = look(sums[:paths], numbers[:paths], series)
    alarms = any_time_alarms(looks, series)
    for path in range(min(paths, len(sums))):
        days = _days(sums[path], numbers[path], series)
        for place, moment in enumerate(history(days, series)):
            if not _same(moment, looks, alarms, (path, place)):
                raise Disagreement(f"path {path}, cluster {place + 1}: {moment}")


def check_agreement_within(sums: Floats, numbers: Floats, so_far: tuple[Floats, Floats], *, series: Series) -> None:
    """Run every tenth look of the first path, early in its cluster, through the code of the reports.

    :raises Disagreement: when it finds another mean, error or verdict.
    """
    looks = look(sums[:1], numbers[:1], series, so_far=(so_far[0][:1], so_far[1][:1]))
    alarms = any_time_alarms(looks, series)
    whole, part = _days(sums[0], numbers[0], series), _days(so_far[0][0], so_far[1][0], series)
    for place in range(0, sums.shape[1], 10):
        moment = history([*whole[:place], part[place]], series)[-1]
        if not _same(moment, looks, alarms, (0, place)):
            raise Disagreement(f"early in cluster {place + 1}: {moment}")


def _days(sums: Floats, numbers: Floats, series: Series) -> list[DayOfDifferences]:
    """Return one path as the reports get it; a week stands on its Monday."""
    step = 1 if series.cluster is Cluster.DAY else 7
    return [
        DayOfDifferences(A_MONDAY + timedelta(days=step * place), int(number), Decimal(float(value)))
        for place, (value, number) in enumerate(zip(sums, numbers, strict=True))
    ]


def _same(moment: Moment, looks: Looks, alarms: NDArray[np.bool_], where: tuple[int, int]) -> bool:
    return bool(
        np.isclose(moment.mean, looks.mean[where], rtol=1e-9, atol=1e-12)
        and (moment.error is None or np.isclose(moment.error, looks.error[where], rtol=1e-6))
        and moment.clear == alarms[where]
    )
