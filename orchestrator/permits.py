"""The permit protocol: what becomes of the one authorisation to place a real trade.

ARMED is committed before the request leaves. After that only the engine's own word settles it: a time-out, a reset, a
5xx or garbage leaves the execution UNKNOWN, with an open incident, and it is asked about, never quietly tried again.
Moves are compare-and-set; the engine's word is a fact and is recorded whoever holds the lease.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from config.fault_points import Commit
from config.faults import autocommitted, committed
from orchestrator.batches import apply_or_take_apart
from orchestrator.domain.execution import (
    Accepted,
    ExecutionWord,
    Filled,
    NeverSeen,
    Rejected,
    UnreadableExecution,
    read_execution,
)
from orchestrator.domain.strict_json import printable
from orchestrator.domain.transitions import PERMIT_MOVES, sources
from orchestrator.domain.vocabulary import EventType, IncidentKind, PermitState, Purpose, TradeStatus, Verdict
from orchestrator.engines.protocol import NoAnswer, NotSent, Reply
from orchestrator.incidents import open_incident, resolve_incidents
from orchestrator.models import EngineEvent, ExecutionPermit, ShadowTrade
from orchestrator.queue import (
    back_off,
    database_clock,
    in_seconds,
    lock_experiments,
    put_back_permit,
    reconsider_events,
)
from orchestrator.shadow_trades import tell_engines
from orchestrator.trades import record_fill

log = structlog.get_logger(__name__)

NEVER_SEEN = "The engine had never seen it after not_after had passed, and it honours not_after."
ASK_AGAIN_SECONDS = 2.0
LONGEST_ASK_AGAIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ExecutionAnswer:
    """What came back for one permit: a reply, or why there is none; ``is_query`` for a GET."""

    permit: ExecutionPermit
    outcome: Reply | NotSent | NoAnswer
    is_query: bool = False
    is_resend: bool = False


def record_execution_answer(answer: ExecutionAnswer) -> None:
    """Record what an engine said to an execution, to its repetition or to a question about it.

    An answer that cannot be recorded becomes an incident and holds up no other; its permit is doubted when its lease ends.
    """
    apply_or_take_apart([answer], _record_answer, _give_up_answer)


def _record_answer(answers: Sequence[ExecutionAnswer]) -> int:
    [answer] = answers
    permit = answer.permit
    if isinstance(answer.outcome, Reply):
        try:
            word = read_execution(
                answer.outcome.status, answer.outcome.body, permit_id=permit.permit_id, is_query=answer.is_query
            )
        except UnreadableExecution as error:
            _nothing_known(answer, f"{error}; received: {printable(answer.outcome.body, most=500)}")
        else:
            _record_word(answer, word)
    elif isinstance(answer.outcome, NotSent) and not (answer.is_query or answer.is_resend):
        _return_to_granted(permit, str(answer.outcome))
    else:
        _nothing_known(answer, str(answer.outcome))
    return 1


def settle_filled(permit_id: UUID, word: Filled, *, by: str, fence: int | None = None) -> tuple[Verdict, str]:
    """Record a fill as the fact it is and return its verdict with a sentence about it.

    :param by: who says so: ``engine A``, ``event msg_…``, or an operator's name.
    :param fence: under which the order was sent that this answers; None when it answers no order.
    """
    with committed(Commit.SETTLE_FILLED):
        permit = _locked(permit_id)
        verdict, sentence = record_fill(permit, word.fill, by=by)
        if verdict is Verdict.APPLIED:
            _settle(permit, PermitState.EXECUTED, by=by, detail=sentence, fence=fence)
        elif verdict is Verdict.CONFLICT and permit.state == PermitState.GRANTED:
            _settle(permit, PermitState.VOID, by=by, detail=sentence)
        elif verdict is Verdict.CONFLICT and permit.state == PermitState.ARMED:
            _settle(permit, PermitState.UNKNOWN, by="", detail=sentence)
        # the fill may be known already, from an event, when a query brings its exit along
        if word.exit is not None and verdict in (Verdict.APPLIED, Verdict.DUPLICATE):
            _store_exit(permit, word)
    if verdict is Verdict.APPLIED:
        _log_resolved(permit, PermitState.EXECUTED, by=by)
    return verdict, sentence


def settle_not_executed(permit_id: UUID, *, by: str, reason: str, fence: int | None = None) -> tuple[Verdict, str]:
    """Record that a permit was not executed, and return the verdict with a sentence about it.

    :param fence: under which the order was sent that this answers; None when it answers no order.
    """
    with committed(Commit.SETTLE_NOT_EXECUTED):
        permit = _locked(permit_id)
        if permit.state in (PermitState.NOT_EXECUTED, PermitState.VOID):
            return Verdict.DUPLICATE, "It was recorded as not executed before."
        if permit.state not in sources(PERMIT_MOVES, PermitState.NOT_EXECUTED):
            sentence = f"{by} says that the permit was not executed ({reason}), but it is {permit.state}."
            _open_conflict(permit, "rejected", sentence)
            return Verdict.CONFLICT, sentence
        _settle(permit, PermitState.NOT_EXECUTED, by=by, detail=reason, fence=fence)
    _log_resolved(permit, PermitState.NOT_EXECUTED, by=by)
    return Verdict.APPLIED, reason


def settle_refused_event(permit_id: UUID, *, by: str, reason: str) -> tuple[Verdict, str]:
    """Record a refusal that came as an event, which does not say which attempt it is about.

    Once a doubted order may have been sent again, the refusal may be that of the retry, and proves nothing about the
    first attempt (rule 6): the permit stays UNKNOWN until the engine is asked, reports a fill, or a person settles it.
    """
    with transaction.atomic():
        permit = _locked(permit_id)
        # only what is UNKNOWN is repeated, and only to an engine that deduplicates; before that nothing had been sent
        may_be_a_retry = settings.ENGINES[permit.engine].idempotent and permit.attempts > 1
        if permit.state == PermitState.UNKNOWN and may_be_a_retry:
            sentence = (
                f"One of {permit.attempts} attempts was refused ({reason}); that proves nothing about the others."
            )
            ExecutionPermit.objects.filter(pk=permit.pk).update(detail=sentence[:2000])
            return Verdict.APPLIED, sentence
        return settle_not_executed(permit_id, by=by, reason=reason)


def void_expired_permits() -> int:
    """End the permits that nobody sent in time; nothing was sent, so nothing can have happened."""
    return _sweep(
        ExecutionPermit.objects.filter(state=PermitState.GRANTED, not_after__lte=Now()),
        PermitState.VOID,
        by="not_after",
        detail="It was not sent before not_after.",
        commit=Commit.VOID_PERMITS,
    )


def doubt_silent_permits() -> int:
    """Call UNKNOWN what was armed by a worker that never came back, and what an engine accepted and never finished."""
    margin = timedelta(seconds=settings.CLOCK_MARGIN_SECONDS)
    lost = _sweep(
        ExecutionPermit.objects.filter(state=PermitState.ARMED, accepted_at=None, lease_expires_at__lte=Now()),
        PermitState.UNKNOWN,
        by="",
        detail="The worker that sent it did not come back; it may or may not have left.",
        commit=Commit.DOUBT_SILENT,
    )
    return lost + _sweep(
        ExecutionPermit.objects.filter(
            state=PermitState.ARMED, accepted_at__isnull=False, not_after__lte=Now() - margin
        ),
        PermitState.UNKNOWN,
        by="",
        detail="The engine accepted it and has not said what became of it before not_after.",
        commit=Commit.DOUBT_SILENT,
    )


def _record_word(answer: ExecutionAnswer, word: ExecutionWord) -> None:
    permit, by = answer.permit, f"engine {answer.permit.engine}"
    match word:
        case Filled():
            settle_filled(permit.permit_id, word, by=by, fence=None if answer.is_query else permit.fence)
        case Rejected():
            _refused(answer, word, by=by)
        case Accepted():
            _note_accepted(permit, is_query=answer.is_query)
        case NeverSeen():
            _not_found(permit)


def _refused(answer: ExecutionAnswer, word: Rejected, *, by: str) -> None:
    """Judge a refusal: it settles the permit when it answers the only request there was, or a question about them all.

    A refusal of a retry proves nothing about the first attempt; once there was a retry, nor does a refusal of the first.
    """
    with committed(Commit.JUDGE_REFUSAL):
        attempts = _locked(answer.permit.permit_id).attempts
        if answer.is_query or (attempts == answer.permit.attempts and not answer.is_resend):
            fence = None if answer.is_query else answer.permit.fence
            settle_not_executed(answer.permit.permit_id, by=by, reason=word.reason, fence=fence)
            return
    reason = f"attempt {answer.permit.attempts} of {attempts} was refused: {word.reason}"
    put_back_permit(answer.permit, wait_seconds=_ask_again_seconds(answer.permit), detail=reason)


def _not_found(permit: ExecutionPermit) -> None:
    """Judge "not found": a proof only from an engine that honours not_after, asked after not_after and the margin.

    From an engine that had accepted the permit it is a contradiction, and proves nothing at all; the acceptance may have
    been recorded while the question was out, so that it is looked for under the lock.
    """
    deadline = permit.not_after + timedelta(seconds=settings.CLOCK_MARGIN_SECONDS)
    asked_at: datetime | None = getattr(permit, "asked_at", None)
    may_prove = settings.ENGINES[permit.engine].honours_not_after and asked_at is not None and asked_at > deadline
    detail = "not found, which proves nothing yet"
    if may_prove:
        with committed(Commit.JUDGE_NOT_FOUND):
            if _locked(permit.permit_id).accepted_at is None:
                settle_not_executed(permit.permit_id, by=f"engine {permit.engine}", reason=NEVER_SEEN)
                return
        detail = "not found, which contradicts that the engine had accepted it"
    put_back_permit(permit, wait_seconds=_ask_again_seconds(permit), detail=detail)


def _ask_again_seconds(permit: ExecutionPermit) -> float:
    """Return the seconds until the next question or repetition: a tenth of the time it has been unsettled, 2 to 60."""
    asked_at: datetime | None = getattr(permit, "asked_at", None)
    waited = (asked_at - permit.armed_at).total_seconds() if asked_at and permit.armed_at else 0.0
    return min(max(waited / 10, ASK_AGAIN_SECONDS), LONGEST_ASK_AGAIN_SECONDS)


def _nothing_known(answer: ExecutionAnswer, reason: str) -> None:
    permit = answer.permit
    if permit.state == PermitState.UNKNOWN or answer.is_query:
        put_back_permit(permit, wait_seconds=_ask_again_seconds(permit), detail=reason)
        return
    with committed(Commit.DOUBT_PERMIT):
        lock_experiments([permit.experiment_id])
        held = ExecutionPermit.objects.filter(pk=permit.pk, fence=permit.fence, state=PermitState.ARMED)
        if held.update(
            state=PermitState.UNKNOWN,
            fence=F("fence") + 1,
            lease="",
            lease_expires_at=None,
            may_send_until=None,
            next_attempt_at=in_seconds(ASK_AGAIN_SECONDS),
            detail=reason[:2000],
        ):
            _open_unknown(permit, reason)


def _return_to_granted(permit: ExecutionPermit, reason: str) -> None:
    with autocommitted(Commit.RETURN_PERMIT):
        ExecutionPermit.objects.filter(pk=permit.pk, fence=permit.fence, state=PermitState.ARMED).update(
            state=PermitState.GRANTED,
            lease="",
            lease_expires_at=None,
            may_send_until=None,
            next_attempt_at=in_seconds(back_off(permit.attempts)),
            detail=reason[:2000],
        )


def _note_accepted(permit: ExecutionPermit, *, is_query: bool) -> None:
    with autocommitted(Commit.NOTE_ACCEPTED):
        held = ExecutionPermit.objects.filter(pk=permit.pk, fence=permit.fence, state=permit.state).update(
            accepted_at=permit.accepted_at or Now(),
            may_send_until=permit.may_send_until if is_query else None,
            lease="",
            lease_expires_at=None,
            next_attempt_at=in_seconds(_ask_again_seconds(permit)),
            detail="the engine accepted it",
        )
    if not held:
        _note_late_acceptance(permit)


def _note_late_acceptance(permit: ExecutionPermit) -> None:
    """Keep an acceptance that another worker did not wait for: a fact, so it is not sent again.

    After "never seen" had ended the permit it is a contradiction: the engine may still execute what we hold for closed.
    """
    with committed(Commit.NOTE_LATE_ACCEPTANCE):
        now = _locked(permit.permit_id)
        if now.state == PermitState.UNKNOWN and now.accepted_at is None:
            ExecutionPermit.objects.filter(pk=now.pk).update(accepted_at=Now())
        elif now.state == PermitState.NOT_EXECUTED and now.detail == NEVER_SEEN:
            sentence = (
                f"Engine {permit.engine} says that it accepted the permit, after it had said that it never saw it."
            )
            _open_conflict(now, "accepted", sentence)


def _sweep(candidates: QuerySet[ExecutionPermit], state: PermitState, *, by: str, detail: str, commit: Commit) -> int:
    """Move every candidate to ``state``, each under the lock of its experiment and of its own row."""

    def move(found: Sequence[ExecutionPermit]) -> int:
        with committed(commit):
            lock_experiments([permit.experiment_id for permit in found])
            # what another worker settled, sent or put back in the meantime is no candidate any more
            mine = candidates.filter(pk__in=[permit.pk for permit in found]).order_by("permit_id")
            moved = list(mine.select_related("experiment").select_for_update(of=("self",), no_key=True))
            for permit in moved:
                _settle(permit, state, by=by, detail=detail)
        for permit in moved:
            _log_resolved(permit, state, by=by or "worker")
        return len(moved)

    return apply_or_take_apart(list(candidates.order_by("permit_id")[:500]), move, _give_up_permit)


def _settle(permit: ExecutionPermit, state: PermitState, *, by: str, detail: str, fence: int | None = None) -> None:
    """Make the move, and what follows from it in the experiment; the caller holds both locks.

    :param fence: under which the order was sent that is answered by this: it has left, and no halt waits for it.
    """
    is_final = state is not PermitState.UNKNOWN
    moved = ExecutionPermit.objects.filter(pk=permit.pk, state=permit.state, fence=permit.fence).update(
        state=state,
        fence=F("fence") + 1,
        lease="",
        lease_expires_at=None,
        may_send_until=None if fence == permit.fence else permit.may_send_until,
        next_attempt_at=in_seconds(ASK_AGAIN_SECONDS),
        resolved_at=Now() if is_final else None,
        resolved_by=by[:150],
        detail=detail[:2000],
    )
    assert moved == 1, "the permit moved although its row was locked"  # noqa: S101
    if not is_final:
        _open_unknown(permit, detail)
        return
    resolve_incidents(IncidentKind.UNKNOWN_EXECUTION, subject=str(permit.permit_id), by=by, resolution=detail)
    if state is not PermitState.EXECUTED:
        _tell_twin(permit)
    reconsider_events([permit.experiment_id])


def _tell_twin(permit: ExecutionPermit) -> None:
    """Let the engine follow its twin: with the permit ended without execution it counts as its shadow trade."""
    twins = ShadowTrade.objects.filter(
        experiment_id=permit.experiment_id, engine=permit.engine, purpose=Purpose.TWIN, status=TradeStatus.OPEN
    )
    tell_engines(list(twins), at=database_clock())


def _store_exit(permit: ExecutionPermit, word: Filled) -> None:
    """Put an exit that a query brought along into the inbox, as if the engine had reported it."""
    assert word.exit is not None  # noqa: S101 - the caller checked
    body = {
        "type": EventType.TRADE_EXITED.value,
        "data": {
            **word.exit,
            "experiment_id": str(permit.experiment_id),
            "trade": {"external_id": word.fill.external_id},
        },
    }
    EngineEvent.objects.bulk_create(
        [
            EngineEvent(
                engine=permit.engine,
                message_id=f"query:{permit.permit_id}",
                type=EventType.TRADE_EXITED.value,
                body=json.dumps(body, default=float),
                experiment_id=permit.experiment_id,
            )
        ],
        ignore_conflicts=True,
    )


def _open_unknown(permit: ExecutionPermit, reason: str) -> None:
    open_incident(
        IncidentKind.UNKNOWN_EXECUTION,
        subject=str(permit.permit_id),
        experiment_id=permit.experiment_id,
        permit_id=permit.permit_id,
        detail={
            "what": f"Engine {permit.engine} was told to execute and it is not known whether it did. It is asked where "
            "it can be asked; nothing is sent again to an engine that does not deduplicate.",
            "reason": reason[:2000],
            "not_after": permit.not_after.isoformat(),
        },
    )


def _open_conflict(permit: ExecutionPermit, word: str, sentence: str) -> None:
    open_incident(
        IncidentKind.CONFLICTING_EVENT,
        subject=f"permit:{permit.permit_id}:{word}",
        experiment_id=permit.experiment_id,
        permit_id=permit.permit_id,
        detail={"what": sentence},
    )


def _locked(permit_id: UUID) -> ExecutionPermit:
    """Return a permit that nobody moves until the transaction ends: neither a fact, nor a claim, nor a sweep."""
    lock_experiments(list(ExecutionPermit.objects.filter(pk=permit_id).values_list("experiment_id", flat=True)))
    permits = ExecutionPermit.objects.select_related("experiment").select_for_update(of=("self",), no_key=True)
    return permits.get(pk=permit_id)


def _give_up_answer(answer: ExecutionAnswer, error: Exception) -> None:
    said = printable(answer.outcome.body) if isinstance(answer.outcome, Reply) else str(answer.outcome)
    _give_up_permit(answer.permit, error, said=said)


def _give_up_permit(permit: ExecutionPermit, error: Exception, *, said: str = "") -> None:
    """Keep what cannot be recorded about a permit as an incident, so that it holds up nothing else."""
    log.error("permit.failed", experiment_id=str(permit.experiment_id), permit_id=str(permit.permit_id), exc_info=error)
    open_incident(
        IncidentKind.POISON_WORK,
        subject=f"permit:{permit.permit_id}",
        experiment_id=permit.experiment_id,
        permit_id=permit.permit_id,
        detail={
            "what": f"What is known of engine {permit.engine}'s execution could not be recorded.",
            "error": f"{type(error).__name__}: {error}"[:2000],
            "answer": said,
        },
    )


def _log_resolved(permit: ExecutionPermit, state: PermitState, *, by: str) -> None:
    log.info(
        "permit.resolved",
        permit_id=str(permit.permit_id),
        experiment_id=str(permit.experiment_id),
        signal_id=str(permit.experiment.signal_id),
        engine=permit.engine,
        state=state.value,
        by=by,
    )
