"""The inbox: what engines report is stored first, unique by engine and message, and applied afterwards, in any order."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError
from django.db.models import Q
from django.db.models.functions import Now

from config.fault_points import Commit
from config.faults import committed
from orchestrator.batches import apply_or_take_apart
from orchestrator.domain.execution import Filled, UnreadableExecution, read_fill
from orchestrator.domain.strict_json import UnreadableJson, member_text, read_object
from orchestrator.domain.vocabulary import CallKind, Engine, EventType, IncidentKind, Verdict
from orchestrator.incidents import open_incident
from orchestrator.models import EngineCall, EngineEvent, EngineTrial, ExecutionPermit, Experiment, Incident
from orchestrator.permits import settle_filled, settle_refused_event
from orchestrator.proofs import record_unsigned_event
from orchestrator.queue import lock_experiments
from orchestrator.recommendations import Received, record_recommendations
from orchestrator.revisions import halt_trading
from orchestrator.trades import record_unauthorised_fill
from webhooks.canonical import sha256_hex

log = structlog.get_logger(__name__)

LONGEST_MESSAGE_ID = 200
ABOUT_A_TRIAL = "It is about a question or a paper order of check_engine."


class UnreadableEvent(ValueError):
    """The body is not an event; the message says what was found and what is accepted."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a delivery: ``is_new``, and whether what it refers to is known to this engine."""

    event_id: UUID
    is_new: bool
    is_known: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """An event taken apart; ``text`` is its body to the letter."""

    type: EventType
    data: Mapping[str, Any]
    text: str


def read_event(body: bytes) -> Reading:
    """Read the body of an event.

    :raises UnreadableEvent: saying what was found and what is accepted.
    """
    try:
        event = read_object(body)
    except UnreadableJson as error:
        raise UnreadableEvent(f"The event cannot be read: {error}.") from None
    names = [kind.value for kind in EventType]
    if event.get("type") not in names:
        raise UnreadableEvent(f"type is {str(event.get('type'))[:60]!r}; accepted is one of {', '.join(names)}.")
    data = event.get("data")
    if not isinstance(data, Mapping):
        raise UnreadableEvent(f"data is a {type(data).__name__}; accepted is an object.")
    return Reading(EventType(event["type"]), data, body.decode())


def store_event(engine: Engine, message_id: str, reading: Reading) -> Stored:
    """Store an event before anything is done about it; one that refers to nothing we know gets an incident as well."""
    with committed(Commit.STORE_EVENT):
        reference = _refers_to(engine, reading)
        is_pending = not reference.is_trial and (
            reference.experiment_id is not None or reading.type is EventType.EXECUTION_FILLED
        )
        event = EngineEvent(
            engine=engine.value,
            message_id=message_id,
            type=reading.type.value,
            body=reading.text,
            experiment_id=reference.experiment_id,
            verdict=None if is_pending else Verdict.UNMATCHED.value,
            detail=ABOUT_A_TRIAL
            if reference.is_trial
            else ("" if is_pending else "It refers to nothing that this engine was asked."),
        )
        EngineEvent.objects.bulk_create([event], ignore_conflicts=True)
        stored = EngineEvent.objects.get(engine=engine.value, message_id=message_id)
        if stored.id == event.id:
            if reference.experiment_id is None and not reference.is_trial:
                open_unmatched(stored, "It refers to an experiment or permit that this engine has nothing to do with.")
        elif stored.body != reading.text:
            open_incident(
                IncidentKind.CONFLICTING_EVENT,
                subject=f"event:{stored.id}:{sha256_hex(reading.text)[:16]}",
                experiment_id=stored.experiment_id,
                detail={
                    "what": f"Engine {engine} sent message {message_id} twice with different content; the first stands.",
                    "first": stored.body[:4000],
                    "second": reading.text[:4000],
                },
            )
    return Stored(stored.id, is_new=stored.id == event.id, is_known=reference.is_known)


def note_unsigned_event(engine: Engine, body: bytes, *, reason: str) -> None:
    """Look whether an event whose signature was not accepted is about a trial of check_engine; nothing else is done.

    Only the engine that is being checked knows the trial's key: that it cannot sign its events is then refuted.
    """
    with suppress(UnreadableEvent, DatabaseError):
        if _is_trial(engine, read_event(body).data):
            record_unsigned_event(engine, reason=reason)


def apply_events(*, limit: int = 200) -> int:
    """Apply the answers and fills of the inbox, oldest first, and return how many; exits belong to the outcomes."""
    pending = list(
        EngineEvent.objects.filter(verdict=None)
        .exclude(type=EventType.TRADE_EXITED)
        .order_by("received_at", "id")[:limit]
    )
    answers = [event for event in pending if event.type == EventType.RECOMMENDATION_COMPLETED]
    apply_or_take_apart(answers, _apply_recommendations, give_up_event)
    for event in pending:
        if event.type in _APPLY:
            apply_or_take_apart([event], _apply_execution, give_up_event)
    return len(pending)


def close_event(event: EngineEvent, verdict: Verdict, detail: str) -> None:
    """Write the verdict on an event, unless another worker was faster."""
    EngineEvent.objects.filter(pk=event.pk).filter(Q(verdict=None) | Q(verdict=Verdict.WAITING)).update(
        verdict=verdict.value, detail=detail[:2000], applied_at=None if verdict is Verdict.WAITING else Now()
    )


def open_unmatched(event: EngineEvent, sentence: str) -> None:
    """Call an operator for an event that belongs to nothing; it stays in the inbox."""
    open_incident(
        IncidentKind.UNMATCHED_EVENT,
        subject=f"event:{event.id}",
        experiment_id=event.experiment_id,
        detail={
            "what": f"Engine {event.engine} reported {event.type}, which cannot be matched. {sentence}",
            "message_id": event.message_id,
            "body": event.body[:4000],
        },
    )


def open_conflict(event: EngineEvent, sentence: str) -> None:
    """Call an operator for an event that contradicts what is recorded; what is recorded stands."""
    open_incident(
        IncidentKind.CONFLICTING_EVENT,
        subject=f"event:{event.id}",
        experiment_id=event.experiment_id,
        detail={"what": sentence, "message_id": event.message_id, "body": event.body[:4000]},
    )


def give_up_event(event: EngineEvent, error: Exception) -> None:
    """Keep an event that cannot be applied as an incident, so that it holds up nothing else."""
    log.error(
        "event.failed",
        experiment_id=str(event.experiment_id),
        engine=event.engine,
        message_id=event.message_id,
        exc_info=error,
    )
    sentence = f"The event could not be applied: {type(error).__name__}: {error}"[:2000]
    with committed(Commit.CLOSE_EVENT):
        open_conflict(event, sentence)
        close_event(event, Verdict.CONFLICT, sentence)


def pending_under_lock(events: Sequence[EngineEvent]) -> list[EngineEvent]:
    """Lock the experiments of ``events``, and return those that nobody has applied in the meantime, oldest first."""
    lock_experiments([event.experiment_id for event in events if event.experiment_id is not None])
    return list(
        EngineEvent.objects.filter(pk__in=[event.pk for event in events], verdict=None)
        .order_by("received_at", "id")
        .select_for_update(of=("self",), no_key=True)
    )


def _apply_recommendations(events: Sequence[EngineEvent]) -> int:
    with committed(Commit.APPLY_ANSWERS):
        mine = pending_under_lock(events)
        answers = [
            Received(
                experiment_id=event.experiment_id,
                engine=Engine(event.engine),
                body=member_text(event.body, "data").encode(),
                received_at=event.received_at,
            )
            for event in mine
            if event.experiment_id is not None  # only a matched answer is pending
        ]
        for event, recorded in zip(mine, record_recommendations(answers), strict=True):
            if recorded.problem:
                close_event(event, Verdict.CONFLICT, recorded.problem)
            else:
                close_event(event, Verdict.APPLIED if recorded.is_new else Verdict.DUPLICATE, "")
    return len(mine)


def _apply_execution(events: Sequence[EngineEvent]) -> int:
    with committed(Commit.APPLY_EXECUTION):
        for event in pending_under_lock(events):
            data = read_object(event.body)["data"]
            try:
                verdict, sentence = _APPLY[event.type](event, data)
            except UnreadableExecution as error:
                verdict, sentence = Verdict.CONFLICT, f"The event cannot be used: {error}."
                open_conflict(event, sentence)
            close_event(event, verdict, sentence)
    return len(events)


def _apply_filled(event: EngineEvent, data: Mapping[str, Any]) -> tuple[Verdict, str]:
    fill = read_fill(data.get("trade"))
    permit = _permit_of(Engine(event.engine), data)
    if permit is not None:
        return settle_filled(permit.permit_id, Filled(fill), by=f"event {event.message_id}")
    if event.experiment_id is not None:
        experiment = Experiment.objects.get(pk=event.experiment_id)
        record_unauthorised_fill(experiment, event.engine, fill, why="it has no such permit")
        return Verdict.CONFLICT, "A real trade without a permit."
    subject = f"{event.engine}:{fill.external_id}"[:200]
    is_known = Incident.objects.filter(kind=IncidentKind.UNAUTHORISED_EXECUTION, subject=subject).exists()
    open_incident(
        IncidentKind.UNAUTHORISED_EXECUTION,
        subject=subject,
        detail={
            "what": f"Engine {event.engine} reports a real trade under a permit that does not exist, and names no "
            "experiment of ours.",
            "body": event.body[:4000],
        },
    )
    if not is_known:  # the same fill reported once more must not undo that an operator lifted the halt
        halt_trading()
    return Verdict.UNMATCHED, "A real trade without a permit and without an experiment."


def _apply_rejected(event: EngineEvent, data: Mapping[str, Any]) -> tuple[Verdict, str]:
    permit = _permit_of(Engine(event.engine), data)
    assert permit is not None  # noqa: S101 - only a matched event is pending
    return settle_refused_event(
        permit.permit_id, by=f"event {event.message_id}", reason=str(data.get("reason") or "no reason given")[:1000]
    )


_APPLY: Mapping[str, Callable[[EngineEvent, Mapping[str, Any]], tuple[Verdict, str]]] = {
    EventType.EXECUTION_FILLED.value: _apply_filled,
    EventType.EXECUTION_REJECTED.value: _apply_rejected,
}


@dataclass(frozen=True, slots=True)
class _Reference:
    """The experiment an event belongs to; ``is_known`` when all that it refers to is this engine's own."""

    experiment_id: UUID | None
    is_known: bool
    is_trial: bool = False


def _refers_to(engine: Engine, reading: Reading) -> _Reference:
    """Return what an event is about; an engine can speak only for its own calls, permits and trials.

    But a real trade belongs to its experiment whoever reports it and whatever permit it names.
    """
    data = reading.data
    if _is_trial(engine, data):
        return _Reference(None, is_known=True, is_trial=True)
    if reading.type in (EventType.EXECUTION_FILLED, EventType.EXECUTION_REJECTED):
        permit = _permit_of(engine, data)
        if permit is not None:
            return _Reference(permit.experiment_id, is_known=True)
        if reading.type is EventType.EXECUTION_REJECTED:
            return _Reference(None, is_known=False)
        named = _uuid(data.get("permit_id"))
        of_other = named and ExecutionPermit.objects.filter(permit_id=named).first()
        experiment_id = of_other.experiment_id if of_other else _asked(engine, data)
        return _Reference(experiment_id, is_known=experiment_id is not None and data.get("permit_id") is None)
    experiment_id = _asked(engine, data)
    return _Reference(experiment_id, is_known=experiment_id is not None)


def _is_trial(engine: Engine, data: Mapping[str, Any]) -> bool:
    """Tell whether an event is about what check_engine asked of this engine, and of nothing else."""
    named = [data[key] for key in ("permit_id", "experiment_id") if data.get(key) is not None]
    ids = {found for found in map(_uuid, named) if found is not None}
    if not ids or len(ids) < len(named):
        return False
    return EngineTrial.objects.filter(engine=engine.value, id__in=ids).count() == len(ids)


def _asked(engine: Engine, data: Mapping[str, Any]) -> UUID | None:
    """Return the experiment that ``data`` names, if this engine was asked about it."""
    named = _uuid(data.get("experiment_id"))
    if named is None:
        return None
    calls = EngineCall.objects.filter(experiment_id=named, engine=engine.value, kind=CallKind.RECOMMENDATION.value)
    return named if calls.exists() else None


def _permit_of(engine: Engine, data: Mapping[str, Any]) -> ExecutionPermit | None:
    named = _uuid(data.get("permit_id"))
    if named is None:
        return None
    return ExecutionPermit.objects.filter(permit_id=named, engine=engine.value).first()


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
