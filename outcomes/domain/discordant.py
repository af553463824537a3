"""PURE: who makes money more often? That is not the same as being better: rare large losses can outweigh it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

from orchestrator.domain.vocabulary import Engine
from outcomes.domain.daily import DayOfWins
from outcomes.domain.distributions import log_beta

ALPHA = 0.05
LARGEST_LOG = 690.0  # exp() of it is still a finite float


@dataclass(frozen=True, slots=True)
class WinsMoreOften:
    """``e_value`` is the evidence now (at most 1e299), ``p_value`` 1 / the largest so far; ``engine`` is set at p <= 0.05."""

    only_a: int
    only_b: int
    e_value: float
    p_value: float
    engine: Engine | None


def wins_more_often(days: Sequence[DayOfWins]) -> WinsMoreOften:
    """Return the sequential McNemar test on discordant pairs, looked at after each of ``days`` (in order).

    B(b + 1, c + 1) / 0.5^(b + c): a uniform mixture over how often A is the one that wins (McNemar 1947; Robbins 1970). It
    takes the pairs as independent of each other.
    """
    only_a = only_b = 0
    strongest = now = 0.0
    for day in days:
        only_a, only_b = only_a + day.only_a, only_b + day.only_b
        now = log_beta(only_a + 1, only_b + 1) + (only_a + only_b) * log(2)
        strongest = max(strongest, now)
    p_value = exp(-min(strongest, LARGEST_LOG))
    winner = (Engine.A if only_a > only_b else Engine.B) if p_value <= ALPHA and only_a != only_b else None
    return WinsMoreOften(only_a, only_b, exp(min(now, LARGEST_LOG)), p_value, winner)
