"""What is measured: how often engines without a difference raise an alarm, and how often a true difference is seen."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import log

import numpy as np
from numpy.typing import NDArray

from outcomes.domain.assignment_check import ALARM, FEWEST_EXPECTED, log_beta_binomial
from outcomes.domain.discordant import ALPHA
from outcomes.domain.distributions import normal_quantile
from outcomes.domain.planning import clusters_to_see
from outcomes.domain.series import BY_DAY
from tests.calibration.looks import any_time_alarms, check_agreement, check_agreement_within, look, naive_alarms
from tests.calibration.scenarios import NULLS, POWER, Floats, Generator, Scenario, pairs_of_days, shifted

Counts = NDArray[np.int64]

LIMIT = 0.06
SEED = 20260302
PATHS = 10_000
DAYS = 500
CHECKED_PATHS = 3
CHUNK = 2000
MILESTONES = (50, 100, 250, 500)


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a path without a difference raised an alarm on any day, 0 to 1; ``naive`` by a daily t-test."""

    name: str
    told: str
    ours: float
    naive: float
    held: bool
    limit: float = LIMIT


@dataclass(frozen=True, slots=True)
class Power:
    """How often a true difference was seen by the days of ``MILESTONES``, None beyond the days that were simulated.

    ``projected_days`` is what the reports say it takes for 80 %, ``seen_by_then`` how often it was.
    """

    difference: float
    seen: tuple[float | None, ...]
    median_days: int | None
    projected_days: int
    seen_by_then: float | None


def rate(scenario: Scenario, *, paths: int = PATHS, days: int = DAYS, seed: int = SEED) -> Rate:
    """Return the false alarms of one scenario; its random numbers depend on its name, so it can be run alone."""
    ours = naive = 0
    for chunk, size in _chunks(paths):
        generator = _generator(seed, scenario.name, chunk)
        sums, numbers = scenario.simulate(generator, size, days)
        if chunk == 0:
            check_agreement(sums, numbers, scenario.series, paths=CHECKED_PATHS)
        looks = look(sums, numbers, scenario.series)
        ours += int(any_time_alarms(looks, scenario.series).any(axis=1).sum())
        naive += int(naive_alarms(looks, scenario.series).any(axis=1).sum())
    return Rate(scenario.name, scenario.told, ours / paths, naive / paths, scenario.held)


def rates(*, paths: int, days: int, seed: int) -> Iterator[Rate]:
    for scenario in NULLS:
        yield rate(scenario, paths=paths, days=days, seed=seed)
    yield all_day_rate(paths=paths, days=days, seed=seed)


def all_day_rate(*, paths: int, days: int, seed: int) -> Rate:
    """Return the false alarms when one looks after every single pair, today counting as far as it has gone."""
    name, ours, naive = "all day long", 0, 0
    for chunk, size in _chunks(paths):
        pairs = pairs_of_days(_generator(seed, name, chunk), size, days)
        sums, numbers = pairs.sum(axis=2), np.full((size, days), float(pairs.shape[2]))
        alarms, bold = np.zeros(size, bool), np.zeros(size, bool)
        for done in range(1, pairs.shape[2] + 1):
            so_far = pairs[:, :, :done].sum(axis=2), np.full((size, days), float(done))
            if chunk == 0:
                check_agreement_within(sums, numbers, so_far, series=BY_DAY)
            looks = look(sums, numbers, BY_DAY, so_far=so_far)
            alarms |= any_time_alarms(looks, BY_DAY).any(axis=1)
            bold |= naive_alarms(looks, BY_DAY).any(axis=1)
        ours, naive = ours + int(alarms.sum()), naive + int(bold.sum())
    told = "clustered days of 4 pairs, looked at after every pair"
    return Rate(name, told, ours / paths, naive / paths, held=True)


def powers(*, paths: int, days: int, seed: int) -> Iterator[Power]:
    for difference in POWER:
        first = np.concatenate(
            [_first_alarm(difference, chunk=chunk, paths=size, days=days, seed=seed) for chunk, size in _chunks(paths)]
        )
        projected = clusters_to_see(1.0, replace(BY_DAY, smallest_difference=difference)) or days
        median = float(np.median(first))
        yield Power(
            difference=difference,
            seen=tuple(float((first <= day).mean()) if day <= days else None for day in MILESTONES),
            median_days=int(median) if np.isfinite(median) else None,
            projected_days=projected,
            seen_by_then=float((first <= projected).mean()) if projected <= days else None,
        )


def counting_rates(*, paths: int, days: int, seed: int) -> Iterator[Rate]:
    """Yield the false alarms of "wins more often" (limit 5 %) and of the check of the variant (limit 1 %)."""
    for name, told, share, level, fewest in (
        ("wins more often", "2 discordant pairs a day, a fair coin each", 0.5, ALPHA, 0),
        ("assignment 50 %", "2 signals a day, half to each variant", 0.5, ALARM, FEWEST_EXPECTED),
        ("assignment 20 %", "2 signals a day, a fifth to A", 0.2, ALARM, FEWEST_EXPECTED),
    ):
        hits = _generator(seed, name, 0).binomial(2, share, (paths, days))
        yield _counting_rate(
            name, f"{told}; alarm at {100 * level:.0f} %", hits, share=share, level=level, fewest=fewest
        )
    name = "wins more often, days decide"
    generator = _generator(seed, name, 0)
    hits = generator.binomial(2, generator.choice([0.2, 0.8], (paths, days)))
    told = "the same, but a day favours one engine in 4 of 5 pairs; alarm at 5 %"
    yield replace(_counting_rate(name, told, hits, share=0.5, level=ALPHA, fewest=0), held=False)


def _counting_rate(name: str, told: str, hits: Counts, *, share: float, level: float, fewest: int) -> Rate:
    """Return the false alarms of hits per path and day, out of two."""
    number, hits = 2 * np.arange(1, hits.shape[1] + 1), hits.cumsum(axis=1)
    may = np.minimum(number * share, number * (1 - share)) >= fewest
    z = np.abs(hits - number * share) / np.sqrt(number * share * (1 - share))
    return Rate(
        name,
        told,
        float(((_evidence(number, hits, share) >= -log(level)) & may).any(axis=1).mean()),
        float(((z > normal_quantile(1 - level / 2)) & may).any(axis=1).mean()),
        held=True,
        limit=level * LIMIT / ALPHA,
    )


def _evidence(number: Counts, hits: Counts, share: float) -> Floats:
    """Return the reports' own evidence, looked up by (number, hits): there are far fewer of those than looks."""
    table = np.full((len(number), int(number[-1]) + 1), -np.inf)
    for place, tries in enumerate(number):
        for hit in np.unique(hits[:, place]):
            table[place, hit] = log_beta_binomial(int(hit), int(tries - hit), share=share)
    return table[np.arange(len(number)), hits]


def _first_alarm(difference: float, *, chunk: int, paths: int, days: int, seed: int) -> Floats:
    """Return the day of the first alarm for A of each path, infinite without one."""
    sums, numbers = shifted(difference)(_generator(seed, f"power {difference}", chunk), paths, days)
    looks = look(sums, numbers, BY_DAY)
    alarms = any_time_alarms(looks, BY_DAY) & (looks.mean > 0)
    return np.where(alarms.any(axis=1), alarms.argmax(axis=1) + 1.0, np.inf)


def _chunks(paths: int) -> Iterator[tuple[int, int]]:
    for chunk, start in enumerate(range(0, paths, CHUNK)):
        yield chunk, min(CHUNK, paths - start)


def _generator(seed: int, name: str, chunk: int) -> Generator:
    return np.random.default_rng([seed, chunk, *name.encode()])
