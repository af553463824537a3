"""PURE: what does executing cost? The real trade minus its own twin, pair by pair; the twin is filled by the rules of shadows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.domain.vocabulary import Engine
from outcomes.domain.comparison import Estimate, estimate
from outcomes.domain.daily import DayOfPairs, in_currency, in_r
from outcomes.domain.series import BY_DAY, Series


@dataclass(frozen=True, slots=True)
class ExecutionCost:
    """Real minus twin of each engine, in R and in currency; below 0 is a cost.

    Without executions of both engines, what the market does to an order cannot be told from what that engine's orders are
    like: then ``separable`` is False, and ``sentence`` says so.
    """

    in_r: Mapping[Engine, Estimate]
    in_currency: Mapping[Engine, Estimate]
    separable: bool
    sentence: str


def execution_cost(days: Mapping[str, Sequence[DayOfPairs]], series: Series = BY_DAY) -> ExecutionCost:
    """Return the execution cost from each engine's days of (real trade, own twin), both closed; the days in order."""
    empty = [engine for engine in Engine if not days.get(engine)]
    return ExecutionCost(
        in_r={engine: estimate(in_r(days.get(engine, ())), series) for engine in Engine},
        in_currency={engine: estimate(in_currency(days.get(engine, ())), series) for engine in Engine},
        separable=not empty,
        sentence=_sentence(empty),
    )


def _sentence(empty: Sequence[Engine]) -> str:
    if not empty:
        return (
            "Both engines executed; each one's real trades are compared with their own twins, never with each other's."
        )
    if len(empty) == len(Engine):
        return "Not separable: no executed trade and its twin are closed yet."
    return (
        f"Not separable: engine {empty[0]} has no executed trade with a closed twin, so what is the market's share of the cost "
        f"and what is engine {empty[0].other}'s own cannot be told."
    )
