"""What an operator looks at before settling an incident: requests, answers, events and times, as they were recorded."""

from dataclasses import dataclass
from datetime import datetime

from orchestrator.domain.vocabulary import PermitState
from orchestrator.executions import executions_for
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

MOST_EVENTS = 50


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened, and which engine it concerns."""

    at: datetime
    engine: str
    what: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything recorded about the experiment of an incident; ``order`` is the request that left under its permit."""

    experiment: Experiment
    permit: ExecutionPermit | None
    order: str
    calls: list[EngineCall]
    answers: list[Recommendation]
    events: list[EngineEvent]
    trades: list[RealTrade | ShadowTrade]
    course: list[Moment]


def evidence_of(incident: Incident) -> Evidence | None:
    """Gather the evidence by a fixed number of queries; None when the incident belongs to no experiment."""
    if incident.experiment_id is None:
        return None
    experiment = Experiment.objects.select_related("signal", "policy").get(pk=incident.experiment_id)
    of = {"experiment_id": experiment.pk}
    permit = ExecutionPermit.objects.filter(**of).first()
    calls = list(EngineCall.objects.filter(**of).order_by("created_at", "id"))
    answers = list(Recommendation.objects.filter(**of).order_by("received_at", "id"))
    events = list(EngineEvent.objects.filter(**of).order_by("-received_at", "-id")[:MOST_EVENTS])[::-1]
    real = list(RealTrade.objects.filter(**of).select_related("outcome").order_by("created_at", "trade_id"))
    shadow = list(ShadowTrade.objects.filter(**of).select_related("outcome").order_by("created_at", "trade_id"))
    return Evidence(
        experiment=experiment,
        permit=permit,
        order=_order(permit, {answer.engine for answer in answers}),
        calls=calls,
        answers=answers,
        events=events,
        trades=[*real, *shadow],
        course=_course(experiment, permit, calls, events, real),
    )


def _order(permit: ExecutionPermit | None, answered: set[str]) -> str:
    """Return the body of the order, made again from what is stored: it is the same to the letter, every time."""
    was_sent = permit is not None and permit.armed_at is not None and permit.state != PermitState.VOID
    if permit is None or not was_sent or permit.engine not in answered:
        return ""
    return executions_for([permit])[0].request.body


def _course(
    experiment: Experiment,
    permit: ExecutionPermit | None,
    calls: list[EngineCall],
    events: list[EngineEvent],
    trades: list[RealTrade],
) -> list[Moment]:
    steps: list[tuple[datetime | None, str, str]] = [(experiment.signal.received_at, "", "the signal was received")]
    for call in calls:
        asked = call.kind.replace("_", " ").lower()
        steps += [
            (call.sent_at, call.engine, f"{asked}: first sent"),
            (call.answered_at, call.engine, f"{asked}: answered"),
        ]
    if permit is not None:
        steps += [
            (permit.granted_at, permit.engine, "permit granted"),
            (permit.armed_at, permit.engine, "permit armed: the order may have left from here on"),
            (permit.accepted_at, permit.engine, "the engine accepted the order"),
            (permit.not_after, permit.engine, "not_after: the order must not be executed any more"),
            (permit.resolved_at, permit.engine, f"permit {permit.state}, by {permit.resolved_by or 'nobody'}"),
        ]
    for event in events:
        steps.append((event.received_at, event.engine, f"event {event.type}: {event.verdict or 'not applied yet'}"))
    for trade in trades:
        steps.append((trade.entry_time, trade.engine, f"real trade {trade.external_id} opened"))
    return sorted((Moment(at, engine, what) for at, engine, what in steps if at is not None), key=lambda one: one.at)
