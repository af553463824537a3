"""The whole story of one experiment: "which engine recommended this trade, and why did it execute?" (requirement 5.5)."""

from typing import Any

from orchestrator.domain.assignment import bucket
from orchestrator.domain.vocabulary import Action, CallKind, CallState, Engine, PermitState
from orchestrator.models import Experiment, RealTrade, ShadowTrade
from outcomes.domain.answer import Permission, Side, answer
from outcomes.models import RealTradeOutcome, ShadowTradeOutcome
from outcomes.serializers import (
    IncidentSerializer,
    MarketContextSerializer,
    OutcomeSerializer,
    PermitSerializer,
    PolicySerializer,
    RecommendationSerializer,
    SignalSerializer,
    TradeSerializer,
)
from outcomes.timeline import Record, timeline

RELATED = ("signal__context", "policy", "permit", "exit_sync")


def trace(experiment: Experiment) -> dict[str, Any]:
    """Return what is known of an experiment, JSON-able, with a fixed number of queries."""
    return as_json(read_record(experiment))


def read_record(experiment: Experiment) -> Record:
    """Read all rows of an experiment: eight queries, however much has happened."""
    experiment = Experiment.objects.select_related(*RELATED).get(pk=experiment.pk)
    real = list(experiment.real_trades.select_related("outcome").order_by("trade_id"))
    shadows = list(experiment.shadow_trades.select_related("outcome").order_by("engine"))
    trades: list[RealTrade | ShadowTrade] = [*real, *shadows]
    outcomes: list[RealTradeOutcome | ShadowTradeOutcome] = [
        trade.outcome for trade in trades if hasattr(trade, "outcome")
    ]
    for outcome in outcomes:
        outcome.experiment = experiment
    return Record(
        experiment=experiment,
        permit=getattr(experiment, "permit", None),
        calls=list(experiment.calls.order_by("created_at", "id")),
        recommendations=list(experiment.recommendations.order_by("engine")),
        trades=trades,
        outcomes=outcomes,
        events=list(experiment.events.order_by("received_at", "id")),
        incidents=list(experiment.incidents.order_by("opened_at", "id")),
        exit_sync=getattr(experiment, "exit_sync", None),
    )


def as_json(record: Record) -> dict[str, Any]:
    """Return the trace of rows that have been read."""
    experiment, signal = record.experiment, record.experiment.signal
    answers = {one.engine: RecommendationSerializer(one).data for one in record.recommendations}
    return {
        "experiment_id": str(experiment.experiment_id),
        "signal": SignalSerializer(signal).data,
        "market_context": MarketContextSerializer(signal.context).data,
        "assignment": {
            "variant": experiment.variant,
            "assignment_hash": experiment.assignment_hash,
            "bucket": bucket(experiment.assignment_hash),
            "split_percentage": experiment.split_percentage,
        },
        "policy": PolicySerializer(experiment.policy).data,
        "recommendations": {engine.value: answers.get(engine.value) for engine in Engine},
        "permit": PermitSerializer(record.permit).data if record.permit else None,
        "trades": [TradeSerializer(trade).data for trade in record.trades],
        "outcomes": [OutcomeSerializer(outcome).data for outcome in record.outcomes],
        "incidents": IncidentSerializer(record.incidents, many=True).data,
        "timeline": [step.as_json() for step in timeline(record)],
        "answer": answer_of(record),
    }


def answer_of(record: Record) -> str:
    """Return the sentence that says who recommended, who executed and why."""
    policy, permit = record.experiment.policy, record.permit
    return answer(
        executed_engine=Engine(policy.executed_engine) if policy.executed_engine else None,
        reason=policy.reason,
        sides={engine: _side(record, engine) for engine in Engine},
        permit=None
        if permit is None
        else Permission(PermitState(permit.state), accepted=permit.accepted_at is not None, detail=permit.detail),
        unauthorised=[
            Engine(trade.engine) for trade in record.trades if isinstance(trade, RealTrade) and not trade.authorised
        ],
    )


def _side(record: Record, engine: Engine) -> Side:
    said = next((one for one in record.recommendations if one.engine == engine), None)
    asked = next(
        (call for call in record.calls if call.engine == engine and call.kind == CallKind.RECOMMENDATION), None
    )
    return Side(
        engine=engine,
        action=Action(said.action) if said else None,
        call_state=CallState(asked.state) if asked else None,
        terms=said.terms if said else None,
        text=said.reason if said else asked.error if asked else "",
    )
