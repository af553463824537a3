"""Recording what the engines recommend: verbatim, once, and with what follows from it in the same transaction.

An OPEN of a shadow engine gets its shadow trade and the engine is told; an OPEN of the executed engine gets its twin
and the experiment's one permit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection

from config.fault_points import Commit
from config.faults import committed
from orchestrator.domain.assignment import permit_id
from orchestrator.domain.recommendation import (
    InputHashMismatch,
    UnreadableRecommendation,
    read_recommendation,
)
from orchestrator.domain.recommendation import (
    Recommendation as Answer,
)
from orchestrator.domain.strict_json import printable, read_object
from orchestrator.domain.vocabulary import (
    Action,
    CallKind,
    CallState,
    Engine,
    IncidentKind,
    PermitState,
    Purpose,
)
from orchestrator.incidents import open_incident
from orchestrator.models import EngineCall, ExecutionPermit, Experiment, Recommendation, ShadowTrade
from orchestrator.queue import database_clock, lock_experiments, reconsider_events
from orchestrator.repeats import note_repeat
from orchestrator.shadow_trades import tell_engines

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Received:
    """One answer as it came: from the call itself or by event. ``latency`` in seconds, None for an event."""

    experiment_id: UUID
    engine: Engine
    body: bytes
    received_at: datetime
    latency: float | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of one answer: ``problem`` is empty when it is the recorded one, or the same again."""

    received: Received
    is_new: bool
    problem: str = ""


@dataclass(slots=True)
class _Writes:
    """The rows that a batch of answers leads to; each kind is one statement."""

    recommendations: list[Recommendation]
    shadow_trades: list[ShadowTrade]
    permits: list[ExecutionPermit]
    told: list[ShadowTrade]


def record_recommendations(batch: Sequence[Received]) -> list[Recorded]:
    """Record a batch of answers; who answers twice is held to the first answer, and a contradiction is an incident.

    Answers are facts: they are recorded however late and whoever holds the call's lease.
    """
    if not batch:
        return []
    with committed(Commit.RECORD_RECOMMENDATIONS):
        ids = [received.experiment_id for received in batch]
        lock_experiments(ids)
        at = database_clock()
        experiments = {
            experiment.experiment_id: experiment
            for experiment in Experiment.objects.select_related("policy").filter(experiment_id__in=ids)
        }
        calls = {
            (call.experiment_id, call.engine): call
            for call in EngineCall.objects.filter(
                experiment_id__in=ids, kind=CallKind.RECOMMENDATION.value
            ).select_related("recommendation")
        }
        writes = _Writes([], [], [], [])
        done = [_record_one(received, experiments, calls, writes, at=at) for received in batch]
        Recommendation.objects.bulk_create(writes.recommendations)
        ShadowTrade.objects.bulk_create(writes.shadow_trades)
        ExecutionPermit.objects.bulk_create(writes.permits)
        tell_engines(writes.told, at=at)
        reconsider_events(ids)
    _log_recorded(writes)
    return done


def _record_one(
    received: Received,
    experiments: dict[UUID, Experiment],
    calls: dict[tuple[UUID, str], EngineCall],
    writes: _Writes,
    *,
    at: datetime,
) -> Recorded:
    call = calls[received.experiment_id, received.engine.value]
    earlier = getattr(call, "recommendation", None)
    try:
        answer = read_recommendation(
            received.body, experiment_id=received.experiment_id, input_hash=call.input_hash or ""
        )
    except (UnreadableRecommendation, InputHashMismatch) as error:
        return _refuse(received, call, error)
    if earlier is not None:
        return _compare(received, earlier, answer, input_hash=call.input_hash or "")
    # recorded after the deadline, whatever held it up, it may no longer execute
    late = call.state == CallState.FAILED or at > call.deadline_at
    _end_call(call, CallState.ANSWERED, received=received, error=call.error if call.state == CallState.FAILED else "")
    experiment = experiments[received.experiment_id]
    recommendation = Recommendation(
        call=call,
        experiment=experiment,
        engine=received.engine.value,
        action=answer.action.value,
        raw=answer.raw,
        terms=answer.terms_json,
        reason=answer.reason,
        received_at=received.received_at,
    )
    call.recommendation = recommendation
    writes.recommendations.append(recommendation)
    if answer.action is Action.OPEN:
        _follow(recommendation, answer, experiment, writes, late=late, at=at)
    return Recorded(received, is_new=True)


def _follow(
    recommendation: Recommendation,
    answer: Answer,
    experiment: Experiment,
    writes: _Writes,
    *,
    late: bool,
    at: datetime,
) -> None:
    """Add the shadow trade or the twin of an OPEN, and the permit of the executed engine.

    An answer that came after its deadline is recorded and followed, but it may no longer execute.
    """
    assert answer.terms is not None  # noqa: S101 - an OPEN has terms
    executes = experiment.policy.executed_engine == recommendation.engine
    trade = ShadowTrade(
        experiment=experiment,
        engine=recommendation.engine,
        purpose=(Purpose.TWIN if executes else Purpose.SHADOW).value,
        terms=answer.terms_json,
        entry_price=answer.terms.entry_price,
        entry_time=recommendation.received_at,
        quantity=answer.terms.quantity,
        created_at=at,
    )
    writes.shadow_trades.append(trade)
    if executes:
        writes.permits.append(_permit(experiment, late=late, at=at))
    if late or not executes:
        writes.told.append(trade)


def _permit(experiment: Experiment, *, late: bool, at: datetime) -> ExecutionPermit:
    return ExecutionPermit(
        permit_id=permit_id(experiment.experiment_id),
        experiment=experiment,
        engine=experiment.policy.executed_engine,
        state=(PermitState.VOID if late else PermitState.GRANTED).value,
        not_after=at + timedelta(seconds=settings.EXECUTION_WINDOW_SECONDS),
        next_attempt_at=at,
        granted_at=at,
        resolved_at=at if late else None,
        resolved_by="deadline" if late else "",
        detail="the recommendation was recorded after its call had ended or its deadline had passed" if late else "",
    )


def _refuse(received: Received, call: EngineCall, error: ValueError) -> Recorded:
    """End the call as failed; an answer that cannot be used is never a PASS."""
    if isinstance(error, InputHashMismatch):
        open_incident(
            IncidentKind.INPUT_HASH_MISMATCH,
            subject=f"{received.experiment_id}:{received.engine}",
            experiment_id=received.experiment_id,
            detail={
                "what": f"Engine {received.engine} answered for other input than it was given; its answer is not used.",
                "problem": str(error),
                "answer": printable(received.body),
            },
        )
    if call.state not in (CallState.ANSWERED, CallState.FAILED):
        _end_call(call, CallState.FAILED, received=received, error=str(error))
    return Recorded(received, is_new=False, problem=str(error))


def _compare(received: Received, earlier: Recommendation, answer: Answer, *, input_hash: str) -> Recorded:
    recorded = read_recommendation(earlier.raw, experiment_id=received.experiment_id, input_hash=input_hash)
    if note_repeat(received.experiment_id, received.engine, recorded=recorded, again=answer, at=received.received_at):
        return Recorded(received, is_new=False)
    # the texts, read again: the stored terms have their numbers as PostgreSQL gives them back
    first, second = read_object(earlier.raw), read_object(answer.raw)
    if (first["recommendation"], first.get("reason")) == (second["recommendation"], second.get("reason")):
        return Recorded(received, is_new=False)
    problem = f"Engine {received.engine} answered twice, and differently; the first answer stands."
    open_incident(
        IncidentKind.CONFLICTING_ANSWER,
        subject=f"{received.experiment_id}:{received.engine}",
        experiment_id=received.experiment_id,
        detail={"what": problem, "first": earlier.raw[:4000], "second": answer.raw[:4000]},
    )
    return Recorded(received, is_new=False, problem=problem)


def _end_call(call: EngineCall, state: CallState, *, received: Received, error: str) -> None:
    """End a call by a fact; its fence moves on, so that whoever still holds its lease can change nothing."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE engine_calls SET state = %s, error = %s, latency = COALESCE(%s, latency), answered_at = %s,
                   response = %s, fence = fence + 1, lease = '', lease_expires_at = NULL
             WHERE id = %s
            """,
            [
                state.value,
                error[:2000],
                received.latency,
                received.received_at,
                "" if state is CallState.ANSWERED else printable(received.body),
                call.id,
            ],
        )
    call.state = state.value


def _log_recorded(writes: _Writes) -> None:
    for recommendation in writes.recommendations:
        log.info(
            "engine.answered",
            experiment_id=str(recommendation.experiment_id),
            signal_id=str(recommendation.experiment.signal_id),
            engine=recommendation.engine,
            action=recommendation.action,
        )
    for trade in writes.shadow_trades:
        log.info(
            "shadow_trade.created",
            experiment_id=str(trade.experiment_id),
            signal_id=str(trade.experiment.signal_id),
            engine=trade.engine,
            shadow_trade_id=str(trade.trade_id),
            purpose=trade.purpose,
        )
