"""Everything about one experiment on one page: gathered by a fixed number of queries, laid out by engine."""

import json
from dataclasses import dataclass, field
from typing import Any

from orchestrator.domain.assignment import bucket
from orchestrator.domain.vocabulary import CallKind, Engine
from orchestrator.models import EngineCall, ExecutionPolicy, Experiment, RealTrade, Recommendation, ShadowTrade
from outcomes.certificate import certificate_of
from outcomes.timeline import timeline
from outcomes.trace import answer_of, read_record

TERMS = (
    "direction",
    "side",
    "quantity",
    "entry_price",
    "stop_loss",
    "take_profit",
    "max_loss",
    "confidence",
)
CONTRACT = ("type", "option_symbol", "right", "strike", "expiration", "multiplier")
KNOWN = {*TERMS, "action", "symbol", "instrument", "rationale"}


@dataclass(slots=True)
class Term:
    """One line of the comparison: what each engine says about ``name``; ``differs`` when both say something else."""

    name: str
    a: str
    b: str
    differs: bool


@dataclass(slots=True)
class EngineSide:
    """What one engine did in one experiment."""

    engine: Engine
    role: str
    recommendation: Recommendation | None = None
    calls: list[EngineCall] = field(default_factory=list)
    trades: list[tuple[str, RealTrade | ShadowTrade, Any]] = field(default_factory=list)

    @property
    def question(self) -> EngineCall | None:
        """The call that asked for the recommendation."""
        return next((call for call in self.calls if call.kind == CallKind.RECOMMENDATION), None)

    @property
    def rationale(self) -> str:
        """What the terms say beside the reason, empty where they repeat it."""
        if self.recommendation is None or not isinstance(self.recommendation.terms, dict):
            return ""
        said = str(self.recommendation.terms.get("rationale") or "")
        return "" if said == self.recommendation.reason else said


def experiment_page(experiment: Experiment) -> dict[str, Any]:
    """Return what the template of an experiment's page needs, from the rows of its trace."""
    record = read_record(experiment)
    experiment = record.experiment
    sides = {engine: EngineSide(engine, _role(engine, experiment.policy)) for engine in Engine}
    for recommendation in record.recommendations:
        sides[Engine(recommendation.engine)].recommendation = recommendation
    for call in record.calls:
        sides[Engine(call.engine)].calls.append(call)
    for trade in record.trades:
        sides[Engine(trade.engine)].trades.append((_kind(trade), trade, getattr(trade, "outcome", None)))
    return {
        "experiment": experiment,
        "signal": experiment.signal,
        "market": experiment.signal.context,
        "policy": experiment.policy,
        "permit": record.permit,
        "exit_sync": record.exit_sync,
        "sides": list(sides.values()),
        "comparison": compare_terms(sides[Engine.A].recommendation, sides[Engine.B].recommendation),
        "incidents": record.incidents,
        "answer": answer_of(record),
        "bucket": bucket(experiment.assignment_hash),
        "timeline": timeline(record),
        "certificate": certificate_of(record),
    }


def compare_terms(a: Recommendation | None, b: Recommendation | None) -> list[Term]:
    """Return the terms of both recommendations side by side, the known ones first, then what else an engine sent."""
    left, right = _flat(a), _flat(b)
    names = [name for name in (*TERMS, *CONTRACT) if name in left or name in right]
    names += sorted((left.keys() | right.keys()) - set(names))
    return [
        Term(
            name=name.replace("_", " "),
            a=left.get(name, ""),
            b=right.get(name, ""),
            differs=bool(left and right) and left.get(name) != right.get(name),
        )
        for name in names
    ]


def _flat(recommendation: Recommendation | None) -> dict[str, str]:
    terms = recommendation.terms if recommendation else None
    if not isinstance(terms, dict):
        return {}
    contract = terms.get("instrument")
    members = {**(contract if isinstance(contract, dict) else {})}
    members.update({name: value for name, value in terms.items() if name in TERMS or name not in KNOWN})
    return {name: _one_line(value) for name, value in members.items() if value is not None}


def _one_line(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _role(engine: Engine, policy: ExecutionPolicy) -> str:
    return "executes" if policy.executed_engine == engine else "shadow"


def _kind(trade: RealTrade | ShadowTrade) -> str:
    if isinstance(trade, RealTrade):
        return "real" if trade.authorised else "real, unauthorised"
    return str(trade.purpose).lower()
