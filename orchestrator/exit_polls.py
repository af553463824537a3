"""Open real trades whose engine can be asked: exits that never arrived are asked for, slowly and a few at a time."""

from dataclasses import dataclass

import structlog
from django.conf import settings

from config.fault_points import Commit
from config.faults import autocommitted
from orchestrator.batches import apply_or_take_apart
from orchestrator.domain.execution import Filled, Rejected, UnreadableExecution, read_execution
from orchestrator.domain.strict_json import printable
from orchestrator.domain.vocabulary import Engine, IncidentKind
from orchestrator.engines.protocol import NoAnswer, NotSent, Operation, Reply, Request
from orchestrator.incidents import open_incident
from orchestrator.models import ExecutionPermit, Incident
from orchestrator.permits import settle_filled, settle_not_executed

log = structlog.get_logger(__name__)

MOST_AT_ONCE = 10
LONGEST_POLL = 12  # times EXIT_POLL_SECONDS, for a trade that has been open for long


@dataclass(frozen=True, slots=True)
class ExitQuestion:
    """``GET /executions/<permit_id>`` about a trade that is open here."""

    permit: ExecutionPermit

    @property
    def request(self) -> Request:
        return Request(Operation.EXECUTION, self.permit.permit_id)


def claim_exit_questions(engine: Engine, *, limit: int) -> list[ExitQuestion]:
    """Take up to ``limit`` open trades of one engine that are due to be asked about, the longest waiting first.

    A trade is asked about every EXIT_POLL_SECONDS at most, by all workers together; the pause grows to a tenth of the
    trade's age, up to twelve times that. The question needs no lease: it is free of effects, and asked again anyway.
    """
    with autocommitted(Commit.CLAIM_EXITS):
        permits = ExecutionPermit.objects.raw(
            """
            WITH due AS MATERIALIZED (
                   SELECT permit.permit_id
                     FROM real_trades AS trade JOIN execution_permits AS permit USING (permit_id)
                    WHERE trade.status = 'OPEN' AND trade.engine = %(engine)s AND permit.state = 'EXECUTED'
                      AND permit.next_attempt_at + make_interval(secs => LEAST(%(longest)s, GREATEST(
                          %(poll)s, EXTRACT(EPOCH FROM clock_timestamp() - trade.created_at)::float / 10)))
                          <= clock_timestamp()
                    ORDER BY permit.next_attempt_at, permit.permit_id LIMIT %(limit)s FOR UPDATE OF permit SKIP LOCKED)
            UPDATE execution_permits AS permit SET next_attempt_at = clock_timestamp()
              FROM due WHERE permit.permit_id = due.permit_id
            RETURNING permit.*
            """,
            {
                "engine": engine.value,
                "limit": min(limit, MOST_AT_ONCE),
                "poll": settings.EXIT_POLL_SECONDS,
                "longest": LONGEST_POLL * settings.EXIT_POLL_SECONDS,
            },
        )
        return [ExitQuestion(permit) for permit in permits]


def record_exit_answer(question: ExitQuestion, outcome: Reply | NotSent | NoAnswer) -> None:
    """Put the exit that an engine tells of into the inbox; what is not an answer changes nothing, it is asked again."""
    apply_or_take_apart([(question.permit, outcome)], lambda answers: _record(*answers[0]), _give_up)


def _record(permit: ExecutionPermit, outcome: Reply | NotSent | NoAnswer) -> int:
    if not isinstance(outcome, Reply):
        return 0
    by = f"engine {permit.engine}"
    try:
        word = read_execution(outcome.status, outcome.body, permit_id=permit.permit_id, is_query=True)
    except UnreadableExecution as error:
        log.warning("exit.unreadable", experiment_id=str(permit.experiment_id), engine=permit.engine, error=str(error))
        return 0
    is_contested = Incident.objects.filter(kind=IncidentKind.CONFLICTING_EVENT, permit_id=permit.permit_id).exists()
    if isinstance(word, Filled) and (word.exit is not None or not is_contested):
        settle_filled(permit.permit_id, word, by=by)
    elif isinstance(word, Rejected) and not is_contested:  # a contradiction is told of once, not at every question
        settle_not_executed(permit.permit_id, by=by, reason=word.reason)
    return 1


def _give_up(answer: tuple[ExecutionPermit, Reply | NotSent | NoAnswer], error: Exception) -> None:
    permit, outcome = answer
    log.error("exit.failed", experiment_id=str(permit.experiment_id), permit_id=str(permit.permit_id), exc_info=error)
    open_incident(
        IncidentKind.POISON_WORK,
        subject=f"exit:{permit.permit_id}",
        experiment_id=permit.experiment_id,
        permit_id=permit.permit_id,
        detail={
            "what": f"What engine {permit.engine} says about its open trade could not be recorded.",
            "error": f"{type(error).__name__}: {error}"[:2000],
            "answer": printable(outcome.body) if isinstance(outcome, Reply) else str(outcome),
        },
    )
