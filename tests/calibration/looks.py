"""The comparison of many paths at once, looked at after every cluster, and its equality with the code that the reports run."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from outcomes.domain.comparison import history
from outcomes.domain.confidence_sequence import half_width
from outcomes.domain.daily import DayOfDifferences
from outcomes.domain.distributions import student_t_quantile
from outcomes.domain.series import BY_DAY, Series
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


def look(sums: Floats, numbers: Floats, series: Series) -> Looks:
    """Return mean and clustered standard error after every cluster."""
    clusters = np.arange(1, sums.shape[1] + 1)
    pairs, total = numbers.cumsum(axis=1), sums.cumsum(axis=1)
    mean = total / pairs
    spread = (
        (sums**2).cumsum(axis=1) - 2 * mean * (numbers * sums).cumsum(axis=1) + mean**2 * (numbers**2).cumsum(axis=1)
    )
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
    step = 1 if series.cluster is BY_DAY.cluster else 7
    for path in range(min(paths, len(sums))):
        days = [
            DayOfDifferences(A_MONDAY + timedelta(days=step * place), int(number), Decimal(float(value)))
            for place, (value, number) in enumerate(zip(sums[path], numbers[path], strict=True))
        ]
        for place, moment in enumerate(history(days, series)):
            same = (
                np.isclose(moment.mean, looks.mean[path, place], rtol=1e-9, atol=1e-12)
                and (moment.error is None or np.isclose(moment.error, looks.error[path, place], rtol=1e-6))
                and moment.clear == alarms[path, place]
            )
            if not same:
                raise Disagreement(f"path {path}, cluster {place + 1}: {moment}")
