"""Simulated pairs: for each path and day, how many completed and what their differences (A minus B) add up to."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from outcomes.domain.series import BY_DAY, BY_WEEK, Series

Floats = NDArray[np.float64]
Generator = np.random.Generator
# (generator, paths, days) -> sums and numbers of pairs, both of shape (paths, days)
Simulate = Callable[[Generator, int, int], tuple[Floats, Floats]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """``held`` scenarios must stay below the limit; the others show what a method like this cannot do."""

    name: str
    told: str
    simulate: Simulate
    held: bool = True
    series: Series = BY_DAY


def normal(generator: Generator, paths: int, days: int) -> tuple[Floats, Floats]:
    return _summed(generator, paths, days, generator.standard_normal)


def fat_tails(generator: Generator, paths: int, days: int) -> tuple[Floats, Floats]:
    return _summed(generator, paths, days, lambda size: generator.standard_t(3, size))


def options(generator: Generator, paths: int, days: int) -> tuple[Floats, Floats]:
    """Both engines buy options that lose all or win five times the stake, worth nothing on average; each passes a third."""

    def difference(size: tuple[int, ...]) -> Floats:
        return _bought(generator, size) * _acted(generator, size) - _bought(generator, size) * _acted(generator, size)

    return _summed(generator, paths, days, difference)


def opposite_skew(generator: Generator, paths: int, days: int) -> tuple[Floats, Floats]:
    """A sells options (often wins one, rarely loses five), B buys them: the same mean, opposite shapes."""
    return _summed(generator, paths, days, lambda size: -_bought(generator, size) - _bought(generator, size))


def clustered(generator: Generator, paths: int, days: int) -> tuple[Floats, Floats]:
    """Half of the variance is the day's own, shared by its pairs, of which there are one to about ten."""
    numbers = (1 + generator.poisson(4, (paths, days))).astype(np.float64)
    shared = generator.standard_normal((paths, days))
    return numbers * shared + np.sqrt(numbers) * generator.standard_normal((paths, days)), numbers


def clustered_fat_tails(generator: Generator, paths: int, days: int) -> tuple[Floats, Floats]:
    """The same, with days that have t(3) tails, and more pairs on wild days."""
    shared = generator.standard_t(3, (paths, days))
    numbers = (1 + generator.poisson(2 + 2 * (np.abs(shared) > 1))).astype(np.float64)
    return numbers * shared + np.sqrt(numbers) * generator.standard_normal((paths, days)), numbers


def blow_up(generator: Generator, paths: int, days: int) -> tuple[Floats, Floats]:
    """A earns 0.05 on every signal but for one in a thousand, which costs it all: the mean is 0, the sample says otherwise."""
    noise = generator.normal(0.0, 0.2, (paths, days))
    return 0.05 + noise - 50.0 * (generator.random((paths, days)) < 1 / 1000), np.ones((paths, days))


def resembling_days(generator: Generator, paths: int, days: int) -> tuple[Floats, Floats]:
    """Each day keeps half of the day before (autocorrelation 0.5): days are not independent."""
    shocks = generator.standard_normal((paths, days))
    levels = np.empty_like(shocks)
    levels[:, 0] = shocks[:, 0] / np.sqrt(1 - 0.5**2)
    for day in range(1, days):
        levels[:, day] = 0.5 * levels[:, day - 1] + shocks[:, day]
    return levels * 2, np.full((paths, days), 2.0)


def pairs_of_days(generator: Generator, paths: int, days: int) -> Floats:
    """Return the differences of four pairs a day one by one, half of their variance shared: (paths, days, 4)."""
    shared = generator.standard_normal((paths, days, 1))
    return shared + generator.standard_normal((paths, days, 4))


def by_week(simulate: Simulate) -> Simulate:
    """Return the same days, five of them added up to a week."""

    def weeks(generator: Generator, paths: int, days: int) -> tuple[Floats, Floats]:
        sums, numbers = simulate(generator, paths, days // 5 * 5)
        return sums.reshape(paths, -1, 5).sum(axis=2), numbers.reshape(paths, -1, 5).sum(axis=2)

    return weeks


def shifted(difference: float) -> Simulate:
    """Return one pair a day with a true difference of so many standard deviations."""

    def simulate(generator: Generator, paths: int, days: int) -> tuple[Floats, Floats]:
        return generator.normal(difference, 1.0, (paths, days)), np.ones((paths, days))

    return simulate


NULLS = (
    Scenario("normal", "normal differences, 1 to 5 pairs a day", normal),
    Scenario("t(3)", "differences with t(3) tails", fat_tails),
    Scenario("options", "−100 % or +500 % on both sides, ties, a third passes", options),
    Scenario("opposite skew", "A sells what B buys: +1/−5 against −1/+5", opposite_skew),
    Scenario("clustered days", "half of the variance shared by a day's pairs", clustered),
    Scenario("clustered t(3)", "days with t(3) tails, more pairs on wild days", clustered_fat_tails),
    Scenario("options by week", "the options, in clusters of ISO weeks", by_week(options), series=BY_WEEK),
    Scenario(
        "resembling, by week",
        "days that resemble the day before (0.5), in ISO weeks",
        by_week(resembling_days),
        series=BY_WEEK,
    ),
    Scenario("resembling, by day", "the same days taken as independent", resembling_days, False),
    Scenario("rare blow-up", "A wins a little always, and once in 1,000 loses it all", blow_up, False),
)
POWER = (0.1, 0.15, 0.2, 0.3)


def _summed(
    generator: Generator, paths: int, days: int, draw: Callable[[tuple[int, ...]], Floats]
) -> tuple[Floats, Floats]:
    """Return days of 1 to 5 pairs, two on average, drawn one by one."""
    numbers = np.minimum(1.0 + generator.poisson(1, (paths, days)), 5.0)
    sums = np.zeros((paths, days))
    for place in range(5):
        sums += np.where(numbers > place, draw((paths, days)), 0.0)
    return sums, numbers


def _bought(generator: Generator, size: tuple[int, ...]) -> Floats:
    return np.where(generator.random(size) < 1 / 6, 5.0, -1.0)


def _acted(generator: Generator, size: tuple[int, ...]) -> Floats:
    return (generator.random(size) < 2 / 3).astype(np.float64)
