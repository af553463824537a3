"""Everything that happened to one experiment, in the order of time, told from the stored rows alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.domain.amounts import decimal_string
from orchestrator.domain.moments import moment_string
from orchestrator.domain.vocabulary import CallKind, CallState
from orchestrator.models import (
    EngineCall,
    EngineEvent,
    ExecutionPermit,
    Experiment,
    Incident,
    RealTrade,
    Recommendation,
    ShadowTrade,
)
from outcomes.domain.answer import proposal
from outcomes.models import ExitSync, RealTradeOutcome, ShadowTradeOutcome
from outcomes.serializers import kind_of

REQUESTS = {
    CallKind.RECOMMENDATION: "asked for its recommendation",
    CallKind.SHADOW_TRADE: "told of its shadow trade",
    CallKind.SHADOW_EXIT: "told that its shadow trade has exited",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened. ``event`` is its constant name, as in the logs; ``what`` tells it in a sentence."""

    at: datetime
    event: str
    what: str
    engine: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {"at": moment_string(self.at), "event": self.event, "what": self.what, "engine": self.engine}


@dataclass(frozen=True, slots=True)
class Record:
    """All rows of one experiment; its signal, context and policy hang on ``experiment``."""

    experiment: Experiment
    permit: ExecutionPermit | None
    calls: Sequence[EngineCall]
    recommendations: Sequence[Recommendation]
    trades: Sequence[RealTrade | ShadowTrade]
    outcomes: Sequence[RealTradeOutcome | ShadowTradeOutcome]
    events: Sequence[EngineEvent]
    incidents: Sequence[Incident]
    exit_sync: ExitSync | None


def timeline(record: Record) -> list[Step]:
    """Return the steps in the order of time; steps of one moment stay in the order in which they cause each other."""
    steps = [
        *_beginning(record.experiment),
        *(step for call in record.calls for step in _call(call)),
        *(_recommendation(answer) for answer in record.recommendations),
        *([] if record.permit is None else _permit(record.permit)),
        *(_trade(trade) for trade in record.trades),
        *(step for event in record.events for step in _event(event)),
        *([] if record.exit_sync is None else [_exit(record.exit_sync)]),
        *(step for trade in record.trades for step in _own_exit(trade)),
        *(_outcome(outcome) for outcome in record.outcomes),
        *(step for incident in record.incidents for step in _incident(incident)),
    ]
    return sorted(steps, key=lambda step: step.at)


def _beginning(experiment: Experiment) -> Iterator[Step]:
    signal, policy, context = experiment.signal, experiment.policy, experiment.signal.context
    yield Step(
        signal.received_at,
        "signal.received",
        f"{signal.symbol} {signal.direction} on {signal.timeframe} from {signal.source}",
    )
    yield Step(
        experiment.created_at,
        "experiment.created",
        f"assigned to engine {experiment.variant} (engine A gets {experiment.split_percentage} % of the signals)",
        experiment.variant,
    )
    yield Step(
        context.distributed_at, "context.captured", f"input of hash {context.context_hash}, the same for both engines"
    )
    yield Step(
        policy.created_at,
        "policy.applied",
        f"{policy.execution_mode} under {policy.policy_version}: {policy.reason}",
        policy.executed_engine,
    )


def _call(call: EngineCall) -> Iterator[Step]:
    request = REQUESTS[CallKind(call.kind)]
    if call.sent_at:
        attempts = "" if call.attempts == 1 else f"; attempts so far: {call.attempts}"
        yield Step(call.sent_at, "engine.called", f"was {request}{attempts}", call.engine)
    if call.answered_at and call.state == CallState.ANSWERED:
        late = f" (late; before that: {call.error})" if call.error else ""
        yield Step(call.answered_at, "engine.answered", f"answered when {request}{late}", call.engine)
    if call.answered_at and call.state == CallState.FAILED:
        yield Step(
            call.answered_at, "engine.failed", f"gave no usable answer when {request}: {call.error}", call.engine
        )


def _recommendation(answer: Recommendation) -> Step:
    what = f"recommends {proposal(answer.terms)}" if answer.terms else f"passes: {answer.reason}"
    return Step(answer.received_at, "recommendation.recorded", what, answer.engine)


def _permit(permit: ExecutionPermit) -> Iterator[Step]:
    yield Step(
        permit.granted_at, "permit.granted", f"may execute until {moment_string(permit.not_after)}", permit.engine
    )
    if permit.armed_at:
        yield Step(permit.armed_at, "permit.armed", "the order is about to be sent", permit.engine)
    if permit.accepted_at:
        yield Step(
            permit.accepted_at, "permit.accepted", "the engine accepted the order; its fill is awaited", permit.engine
        )
    if permit.resolved_at:
        by = f" by {permit.resolved_by}" if permit.resolved_by else ""
        why = f": {permit.detail}" if permit.detail else ""
        yield Step(permit.resolved_at, "permit.resolved", f"{permit.state}{by}{why}", permit.engine)


def _trade(trade: RealTrade | ShadowTrade) -> Step:
    entry = f"{decimal_string(trade.quantity)} at {decimal_string(trade.entry_price)}, entered {moment_string(trade.entry_time)}"
    if isinstance(trade, RealTrade):
        without = "" if trade.authorised else " WITHOUT a permit"
        return Step(trade.created_at, "trade.opened", f"real trade {trade.external_id}{without}: {entry}", trade.engine)
    return Step(trade.created_at, "shadow_trade.created", f"{kind_of(trade)} trade: {entry}", trade.engine)


def _event(event: EngineEvent) -> Iterator[Step]:
    yield Step(event.received_at, "event.received", f"{event.type} as message {event.message_id}", event.engine)
    if event.applied_at and event.verdict:
        why = f": {event.detail}" if event.detail else ""
        yield Step(event.applied_at, "event.applied", f"{event.type}: {event.verdict}{why}", event.engine)


def _exit(sync: ExitSync) -> Step:
    kind = "real" if sync.lead_is_real else "shadow"
    return Step(
        sync.created_at,
        "trade.exited",
        f"the lead, a {kind} trade, left at {decimal_string(sync.exit_price)} ({sync.exit_reason}) at "
        f"{moment_string(sync.exit_time)}; its followers: {sync.state}",
        sync.lead_engine,
    )


def _own_exit(trade: RealTrade | ShadowTrade) -> Iterator[Step]:
    if isinstance(trade, ShadowTrade) and trade.own_exit_time:
        price = "an unknown price" if trade.own_exit_price is None else decimal_string(trade.own_exit_price)
        yield Step(
            trade.own_exit_time,
            "shadow_trade.own_exit",
            f"would have left its {kind_of(trade)} trade at {price} ({trade.own_exit_reason})",
            trade.engine,
        )


def _outcome(outcome: RealTradeOutcome | ShadowTradeOutcome) -> Step:
    return Step(
        outcome.recorded_at,
        "outcome.recorded",
        f"{kind_of(outcome.trade)} trade closed at {decimal_string(outcome.exit_price)} with {decimal_string(outcome.pnl)}",
        outcome.engine,
    )


def _incident(incident: Incident) -> Iterator[Step]:
    what = f"{incident.severity} {incident.kind}"
    yield Step(incident.opened_at, "incident.opened", f"{what}: {incident.detail.get('what', incident.subject)}")
    if incident.resolved_at:
        yield Step(
            incident.resolved_at, "incident.resolved", f"{what}, by {incident.resolved_by}: {incident.resolution}"
        )
