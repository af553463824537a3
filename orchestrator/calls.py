"""Engine calls on their way: from a due outbox row to a request, and from the answer to what became of the row."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from uuid import UUID

import structlog

from config.fault_points import Commit
from config.faults import committed
from orchestrator.batches import apply_or_take_apart
from orchestrator.dispatch import Answered
from orchestrator.domain.strict_json import printable
from orchestrator.domain.vocabulary import CallKind, CallState, Engine, IncidentKind
from orchestrator.engines.protocol import Operation, Reply, Request, UnusableAnswer
from orchestrator.incidents import open_incident
from orchestrator.models import EngineCall, Experiment, MarketContext, ShadowTrade
from orchestrator.queue import (
    back_off,
    database_clock,
    deadly_calls,
    end_call,
    fail_calls,
    lock_experiments,
    overdue_calls,
    put_back_call,
    reconsider_events,
)
from orchestrator.recommendations import Received, record_recommendations

log = structlog.get_logger(__name__)

ASK_AGAIN_SECONDS = 2.0
NOT_OFFERED = (HTTPStatus.NOT_FOUND, HTTPStatus.NOT_IMPLEMENTED)


class EngineFailed(Exception):
    """What an engine did instead of answering; recorded like an answer."""


@dataclass(frozen=True, slots=True)
class CallToMake:
    call: EngineCall
    request: Request
    signal_id: str


def requests_for(calls: Sequence[EngineCall]) -> list[CallToMake]:
    """Return what to send for claimed calls, with a fixed number of queries."""
    asking = [call.experiment_id for call in calls if call.kind == CallKind.RECOMMENDATION]
    inputs: dict[UUID, str] = dict(
        MarketContext.objects.filter(signal__experiment__in=asking).values_list(
            "signal__experiment__experiment_id", "engine_input"
        )
    )
    telling = [call.experiment_id for call in calls if call.kind != CallKind.RECOMMENDATION]
    trades = {
        (experiment_id, engine): trade_id
        for experiment_id, engine, trade_id in ShadowTrade.objects.filter(experiment_id__in=telling).values_list(
            "experiment_id", "engine", "trade_id"
        )
    }
    signal_ids = Experiment.objects.signal_ids(call.experiment_id for call in calls)
    return [CallToMake(call, _request(call, inputs, trades), signal_ids[call.experiment_id]) for call in calls]


def record_call_answers(answers: Sequence[Answered]) -> None:
    """Record what came back for a batch of calls; the recommendations among it in one transaction."""
    recommendations = []
    now = database_clock()
    for answer in answers:
        call, outcome = answer.work.call, answer.outcome  # type: ignore[attr-defined]
        if isinstance(outcome, UnusableAnswer):
            _fail([call], str(outcome))
        elif not isinstance(outcome, Reply):
            _try_again(call, outcome, latency=answer.latency)
        elif call.kind != CallKind.RECOMMENDATION:
            _record_told(call, outcome, latency=answer.latency)
        elif outcome.status != HTTPStatus.OK:
            _record_status(call, outcome, latency=answer.latency)
        else:
            recommendations.append(
                Received(
                    experiment_id=call.experiment_id,
                    engine=Engine(call.engine),
                    body=outcome.body,
                    received_at=now - timedelta(seconds=answer.seconds_ago()),
                    latency=answer.latency,
                )
            )
    apply_or_take_apart(recommendations, _record_answered, _give_up_answer)


def _record_answered(recommendations: Sequence[Received]) -> int:
    recorded = record_recommendations(recommendations)
    _log_failed(
        [
            (one.received.experiment_id, one.received.engine, EngineFailed(one.problem))
            for one in recorded
            if one.problem
        ]
    )
    return len(recorded)


def _give_up_answer(received: Received, error: Exception) -> None:
    """Keep an answer that cannot be stored as evidence of an incident, and end its call."""
    log.error(
        "answer.failed",
        signal_id=Experiment.objects.signal_ids([received.experiment_id])[received.experiment_id],
        experiment_id=str(received.experiment_id),
        engine=received.engine.value,
        exc_info=error,
    )
    sentence = printable(f"{type(error).__name__}: {error}", most=2000)
    open_incident(
        IncidentKind.POISON_WORK,
        subject=f"answer:{received.experiment_id}:{received.engine}",
        experiment_id=received.experiment_id,
        detail={
            "what": f"The answer of engine {received.engine} could not be recorded; its side ends here.",
            "error": sentence,
            "answer": printable(received.body),
        },
    )
    calls = EngineCall.objects.filter(
        experiment_id=received.experiment_id, engine=received.engine, kind=CallKind.RECOMMENDATION
    )
    _fail(list(calls), f"the answer could not be recorded: {sentence}")


def fail_overdue_calls() -> int:
    """End the calls whose deadline has passed or that kill their workers; return how many.

    What waited for them is looked at again.
    """
    calls, deadly = overdue_calls(), deadly_calls()
    if calls:
        _fail(calls, "no answer before the deadline")
    for call in deadly:
        open_incident(
            IncidentKind.POISON_WORK,
            subject=f"call:{call.id}",
            experiment_id=call.experiment_id,
            detail={
                "what": f"{call.attempts} workers asked engine {call.engine} ({call.kind}) and none of them came back; it "
                "may kill them. It is not asked again.",
                "last_worker": call.lease,
            },
        )
    if deadly:
        _fail(deadly, "every worker that asked never came back")
    return len(calls) + len(deadly)


def _request(call: EngineCall, inputs: dict[UUID, str], trades: dict[tuple[UUID, str], UUID]) -> Request:
    if call.kind == CallKind.SHADOW_TRADE:
        return Request(Operation.OPEN_SHADOW_TRADE, trades[call.experiment_id, call.engine], call.request)
    if call.kind == CallKind.SHADOW_EXIT:
        return Request(Operation.CLOSE_SHADOW_TRADE, trades[call.experiment_id, call.engine], call.request)
    if call.state == CallState.ACCEPTED:
        return Request(Operation.RECOMMENDATION, call.experiment_id)
    return Request(Operation.RECOMMEND, call.experiment_id, inputs[call.experiment_id])


def _record_status(call: EngineCall, reply: Reply, *, latency: float) -> None:
    """Judge an answer to "what do you recommend?" that is not the recommendation itself."""
    if reply.status == HTTPStatus.ACCEPTED:
        put_back_call(call, state=CallState.ACCEPTED, wait_seconds=_ask_again(call), latency=latency)
    elif call.state == CallState.ACCEPTED:
        # a question about an accepted call that finds nothing; its event may still come
        put_back_call(
            call, state=CallState.ACCEPTED, wait_seconds=_ask_again(call), error=f"asked again, status {reply.status}"
        )
    elif reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _try_again(call, _status(reply), latency=latency)
    else:
        _fail([call], str(_status(reply)))


def _record_told(call: EngineCall, reply: Reply, *, latency: float) -> None:
    """Judge an answer to "this is your shadow trade" or "it has been closed"; both are without effects."""
    if HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
        end_call(call, response=printable(reply.body), latency=latency)
    elif reply.status in NOT_OFFERED:
        _fail([call], f"not offered: status {reply.status}")
    elif reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _try_again(call, _status(reply), latency=latency)
    else:
        _fail([call], str(_status(reply)))


def _status(reply: Reply) -> EngineFailed:
    return EngineFailed(f"status {reply.status}: {printable(reply.body, most=500)}")


def _try_again(call: EngineCall, error: Exception, *, latency: float) -> None:
    state = CallState.ACCEPTED if call.state == CallState.ACCEPTED else CallState.PENDING
    put_back_call(call, state=state, wait_seconds=back_off(call.attempts), error=printable(str(error)), latency=latency)
    _log_failed([(call.experiment_id, call.engine, error)], kind=call.kind)


def _fail(calls: Sequence[EngineCall], error: str) -> None:
    ids = [call.experiment_id for call in calls]
    with committed(Commit.FAIL_CALLS):
        lock_experiments(ids)
        ended = fail_calls(calls, error=error)
        reconsider_events(ids)
    for call in calls:
        if call.id in ended:
            _log_failed([(call.experiment_id, call.engine, EngineFailed(error))], kind=call.kind)


def _ask_again(call: EngineCall) -> float:
    return max(ASK_AGAIN_SECONDS, back_off(call.attempts))


def _log_failed(failures: Sequence[tuple[UUID, str, Exception]], *, kind: str = CallKind.RECOMMENDATION) -> None:
    """Log failures, each an experiment, an engine and what it did."""
    signal_ids = Experiment.objects.signal_ids(experiment_id for experiment_id, _, _ in failures)
    for experiment_id, engine, error in failures:
        log.warning(
            "engine.failed",
            signal_id=signal_ids[experiment_id],
            experiment_id=str(experiment_id),
            engine=str(engine),
            kind=kind,
            exc_info=error,
        )
