"""PURE: what a policy that was not in force would have earned, on the record of experiments of which both sides are known.

Plug-in: each engine's simulated result stands for what it would have earned. Doubly robust: where chance decided who
executes, or the same engine executed anyway, the real results correct the simulated ones, each weighted with the inverse of
its probability (Robins, Rotnitzky & Zhao 1994; for policies: Dudík, Langford & Li 2011). Its mean is right when the
probabilities are, whatever slippage the simulation leaves out; and the hash of a signal makes them known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from orchestrator.domain.policy import Availability, Revision, decide
from orchestrator.domain.vocabulary import Engine, RequestedMode
from outcomes.domain.daily import EXACT, NOTHING, DayOfDifferences
from outcomes.domain.policy_rules import Asked, HypotheticalPolicy, KnownBefore

ONE = Decimal(1)
WHOLE = Decimal(100)
Chances = Mapping[Engine, Decimal]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a decision saw, whatever the panel asked for: health, age, halt and the mode of the house."""

    revision: Revision
    availability: Mapping[Engine, Availability]
    signal_age_seconds: float


@dataclass(frozen=True, slots=True)
class RecordedExperiment:
    """One experiment of which both sides are known, on ``day`` (UTC, of the later side).

    ``simulated`` holds each engine's result on the shadow fill basis, 0 for a PASS. ``real`` is what was earned with real
    orders: 0 when nobody executed, None while that is not known. All in one unit.
    """

    day: date
    signal: KnownBefore
    circumstances: Circumstances
    executed: Engine | None
    simulated: Mapping[Engine, Decimal]
    real: Decimal | None


@dataclass(frozen=True, slots=True)
class Valued:
    """One experiment under one policy.

    ``plug_in`` is the policy minus what ran, both simulated; ``doubly_robust`` likewise in real terms, None where the record
    cannot say; ``weight`` is how often the real result of this experiment counts in it.
    """

    day: date
    policy: Decimal
    ran: Decimal
    plug_in: Decimal
    doubly_robust: Decimal | None
    weight: Decimal


def chances(asked: Asked, circumstances: Circumstances) -> Chances:
    """Return with which probability (0 to 1) each engine executes, over the chance that assigns signals to variants.

    The rules of the live decision apply: a halt, a stale signal or an absent engine keeps everybody from executing.
    """
    now = circumstances.revision
    revision = Revision(
        number=now.number,
        execution_mode=asked.mode,
        split_percentage=asked.split_percentage,
        trading_halted=now.trading_halted,
        max_signal_age_seconds=now.max_signal_age_seconds,
        app_mode=now.app_mode,
    )
    share = Decimal(asked.split_percentage) / WHOLE if asked.mode is RequestedMode.SPLIT_CAPITAL else ONE
    found = dict.fromkeys(Engine, NOTHING)
    for variant, chance in ((Engine.A, share), (Engine.B, ONE - share)):
        decision = decide(revision, variant, circumstances.availability, circumstances.signal_age_seconds)
        if decision.executed_engine is not None:
            found[decision.executed_engine] += chance
    return found


def value(experiment: RecordedExperiment, policy: HypotheticalPolicy) -> Valued:
    """Return what one experiment is worth under ``policy``, beside what ran.

    doubly robust = Σ π(e) m(e) + π(ran)/p(ran) × (real - m(ran)), e over the engines, m simulated, π and p the chances
    under the policy and under what was in force. The record can say where p > 0 for every engine with π > 0.
    """
    wanted = chances(policy.asks(experiment.signal), experiment.circumstances)
    simulated = sum((wanted[engine] * experiment.simulated[engine] for engine in Engine), start=NOTHING)
    ran = NOTHING if experiment.executed is None else experiment.simulated[experiment.executed]
    robust, weight = _doubly_robust(experiment, wanted, simulated)
    return Valued(experiment.day, simulated, ran, simulated - ran, robust, weight)


def by_day(values: Sequence[tuple[date, Decimal]]) -> list[DayOfDifferences]:
    """Return differences added up by day, in the order of days."""
    sums: dict[date, tuple[int, Decimal]] = {}
    for day, difference in values:
        number, total = sums.get(day, (0, NOTHING))
        sums[day] = (number + 1, EXACT.add(total, difference))
    return [DayOfDifferences(day, number, total) for day, (number, total) in sorted(sums.items())]


def effective_size(weights: Sequence[Decimal]) -> float:
    """Return how many equally weighted experiments the weights are worth: (Σw)² / Σw² (Kish 1965), 0 without any."""
    squares = sum(weight * weight for weight in weights)
    return float(sum(weights) ** 2 / squares) if squares else 0.0


def _doubly_robust(
    experiment: RecordedExperiment, wanted: Chances, simulated: Decimal
) -> tuple[Decimal | None, Decimal]:
    """Return the policy minus what ran in real terms, and the weight of the real result."""
    now = experiment.circumstances.revision
    logged = chances(Asked(now.execution_mode, now.split_percentage), experiment.circumstances)
    if experiment.real is None or any(wanted[engine] > 0 and logged[engine] == 0 for engine in Engine):
        return None, NOTHING
    ran = experiment.executed
    if ran is None or wanted[ran] == 0:
        return simulated - experiment.real, NOTHING
    weight = EXACT.divide(wanted[ran], logged[ran]).quantize(Decimal("1e-12"))
    correction = weight * (experiment.real - experiment.simulated[ran])
    return simulated + correction - experiment.real, weight
