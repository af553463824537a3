"""Settling incidents: what an operator can choose, and how the choice becomes a fact like any other.

A choice is written through the same functions as an engine's own word, under the same lock of the experiment. Closing the
incident is a compare-and-set in the same transaction: of two operators one wins, and the other is told who did what.
Nothing here sends anything to an engine.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError
from django.db.models.functions import Now

from config.fault_points import Commit
from config.faults import committed
from orchestrator.domain.amounts import decimal_string
from orchestrator.domain.execution import Fill, Filled
from orchestrator.domain.settling import UnusableInput, read_fill_told, read_reason
from orchestrator.domain.vocabulary import EventType, IncidentKind, PermitState, TradeStatus, Verdict
from orchestrator.models import EngineEvent, ExecutionPermit, Incident, RealTrade, ShadowTrade
from orchestrator.permits import settle_filled, settle_not_executed
from orchestrator.queue import database_clock, lock_experiments
from webhooks.models import Signal

log = structlog.get_logger(__name__)

MAY_SETTLE = "orchestrator.settle_incident"


class AlreadySettled(Exception):
    """Somebody was faster; the message says who, when and how."""


class NotPossible(Exception):
    """The choice cannot be made, now or at all; the message says why."""


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that a choice asks the operator for."""

    name: str
    label: str
    hint: str = ""
    is_long: bool = False
    is_required: bool = True


REASON = Field("reason", "Reason", "Where you looked, and what it says. It is kept with your name.", is_long=True)


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to settle an incident.

    ``effects`` are sentences about what it would do; ``refusal`` says why it cannot be chosen at a moment, empty when it
    can; ``read`` turns what was typed into what ``apply`` records, which returns a sentence about it.
    """

    name: str
    title: str
    effects: Callable[[Incident], list[str]]
    apply: Callable[[Incident, Any, str, str], str]
    refusal: Callable[[Incident, datetime], str] = lambda incident, at: ""
    fields: tuple[Field, ...] = ()
    read: Callable[[Incident, Mapping[str, str], datetime], Any] = lambda incident, given, at: None
    reason: Field = REASON

    @property
    def asks_for(self) -> tuple[Field, ...]:
        return (*self.fields, self.reason)


@dataclass(frozen=True, slots=True)
class Offer:
    """The ways to settle incidents of one kind, as long as ``subject`` finds what the incident is about."""

    subject: Callable[[Incident], Any]
    choices: tuple[Choice, ...]


_OFFERS: dict[IncidentKind, Offer] = {}


def offer(kind: IncidentKind, *choices: Choice, subject: Callable[[Incident], Any]) -> None:
    """Let incidents of a kind be settled in these ways; later stages offer theirs when they are loaded."""
    _OFFERS[kind] = Offer(subject, choices)


def choices_for(incident: Incident) -> tuple[Choice, ...]:
    """Return the ways to settle an incident; what asks for nothing else, or is about nothing here, is acknowledged."""
    offered = _OFFERS.get(IncidentKind(incident.kind))
    return offered.choices if offered and offered.subject(incident) is not None else (ACKNOWLEDGE,)


def subject_id(incident: Incident) -> UUID | None:
    """Return the id that an incident is about, None when its subject is no id."""
    try:
        return UUID(incident.subject)
    except ValueError:
        return None


def choice_named(incident: Incident, name: str) -> Choice:
    """Return one of the ways to settle an incident.

    :raises NotPossible: when there is none of that name.
    """
    for choice in choices_for(incident):
        if choice.name == name:
            return choice
    raise NotPossible("This incident cannot be settled in that way.")


def check_possible(incident: Incident, choice: Choice) -> None:
    """Tell whether the choice can be made now, whatever the operator will say.

    :raises AlreadySettled: saying who did what.
    :raises NotPossible: saying why not.
    """
    _check_possible(incident, choice, at=database_clock())


def check(incident: Incident, choice: Choice, *, given: Mapping[str, str]) -> None:
    """Read what the operator said, without any effect.

    :raises AlreadySettled: saying who did what.
    :raises NotPossible: saying why not.
    :raises UnusableInput: with a sentence per field.
    """
    _read(incident, choice, given, at=database_clock())


def settle(incident_id: UUID, name: str, *, given: Mapping[str, str], by: str) -> str:
    """Settle an incident and return what was recorded, in a sentence.

    :param given: the fields of the choice, as typed; ``by`` is the operator's name.
    :raises AlreadySettled: saying who did what.
    :raises NotPossible: saying why not.
    :raises UnusableInput: with a sentence per field.
    """
    with committed(Commit.SETTLE_INCIDENT):
        incident = _locked(incident_id)
        choice = choice_named(incident, name)
        values, reason = _read(incident, choice, given, at=database_clock())
        mine = Incident.objects.unresolved().filter(pk=incident.pk)
        if mine.update(resolved_at=Now(), resolved_by=by, resolution=reason) != 1:
            raise AlreadySettled("This incident has just been settled.")
        recorded = choice.apply(incident, values, by, reason)
        Incident.objects.filter(pk=incident.pk).update(resolution=f"{choice.title}. {recorded} Reason: {reason}")
    log.info(
        "incident.settled",
        incident_id=str(incident.pk),
        experiment_id=str(incident.experiment_id) if incident.experiment_id else None,
        signal_id=_signal_id(incident),
        kind=incident.kind,
        choice=choice.name,
        by=by,
    )
    return recorded


def how_settled(incident: Incident) -> str:
    """Return who settled an incident, when and how."""
    return (
        f"{incident.resolved_by} settled it at {incident.resolved_at:%Y-%m-%d %H:%M:%S} UTC: "
        f"{incident.resolution or 'without a word'}"
    )


def _locked(incident_id: UUID) -> Incident:
    """Return an incident that nobody else settles until the transaction ends; the experiment's lock comes first."""
    lock_experiments(
        list(Incident.objects.filter(pk=incident_id, experiment__isnull=False).values_list("experiment_id", flat=True))
    )
    return Incident.objects.select_for_update(of=("self",), no_key=True).get(pk=incident_id)


def _check_possible(incident: Incident, choice: Choice, *, at: datetime) -> None:
    if incident.resolved_at is not None:
        raise AlreadySettled(how_settled(incident))
    if refusal := choice.refusal(incident, at):
        raise NotPossible(refusal)


def _read(incident: Incident, choice: Choice, given: Mapping[str, str], *, at: datetime) -> tuple[Any, str]:
    _check_possible(incident, choice, at=at)
    problems: dict[str, str] = {}
    values, reason = None, ""
    try:
        values = choice.read(incident, given, at)
    except UnusableInput as error:
        problems |= error.problems
    try:
        reason = read_reason(given)
    except UnusableInput as error:
        problems |= error.problems
    if problems:
        raise UnusableInput(problems)
    return values, reason


def _signal_id(incident: Incident) -> str | None:
    if incident.experiment is not None:
        return str(incident.experiment.signal_id)
    return incident.subject if incident.kind == IncidentKind.POISON_SIGNAL else None


# An execution of which nobody knows whether it happened


def _too_early(incident: Incident, at: datetime) -> str:
    """Say why an unknown execution cannot be settled: its time has not passed, or its engine has just spoken."""
    permit = _permit_of(incident)
    if permit.state != PermitState.UNKNOWN:
        return f"The permit is {permit.state} by now; only an UNKNOWN one needs an operator."
    free_at = permit.not_after + timedelta(seconds=settings.QUIET_PERIOD_SECONDS)
    if at < free_at:
        return (
            f"It is too early: the order may still be executed or reported. It can be settled from "
            f"{free_at:%Y-%m-%d %H:%M:%S} UTC on, {settings.QUIET_PERIOD_SECONDS:g} s after its not_after."
        )
    spoken = EngineEvent.objects.filter(
        experiment_id=permit.experiment_id,
        engine=permit.engine,
        verdict=None,
        type__in=[EventType.EXECUTION_FILLED, EventType.EXECUTION_REJECTED],
    )
    if spoken.exists():
        return "The engine has just sent its own word, which is about to be applied. Look again in a moment."
    return ""


def _effects_of_executed(incident: Incident) -> list[str]:
    permit = _permit_of(incident)
    followers = _followers(permit)
    return [
        f"A real trade of engine {permit.engine} is recorded under this permit, with the price, quantity, time, fees and "
        "reference that you give. The permit becomes EXECUTED, for good.",
        f"That trade leads the experiment: {followers or 'no other trade'} will exit with it."
        if followers
        else "That trade leads the experiment; nothing follows it at the moment.",
        *_waiting_exits(permit),
        "Nothing is sent to the engine. If it reports the same fill later, nothing changes; if it reports another, yours "
        "stands and a new incident tells of it.",
    ]


def _effects_of_not_executed(incident: Incident) -> list[str]:
    permit = _permit_of(incident)
    has_twin = ShadowTrade.objects.filter(experiment_id=permit.experiment_id, engine=permit.engine).exists()
    return [
        "The permit becomes NOT_EXECUTED, for good: no real trade is recorded, and none will be tried again.",
        f"The twin of engine {permit.engine} counts as its shadow trade from then on, and the engine is told to follow it."
        if has_twin
        else "Nothing of it is followed any more.",
        *_waiting_exits(permit),
        "If the engine did execute and says so later, that trade is recorded as an unauthorised one, with a CRITICAL "
        "incident. So be sure: look at the broker, not only at the engine.",
    ]


def _waiting_exits(permit: ExecutionPermit) -> list[str]:
    waiting = EngineEvent.objects.filter(
        experiment_id=permit.experiment_id, type=EventType.TRADE_EXITED, verdict=Verdict.WAITING
    ).count()
    if not waiting:
        return []
    return [f"{waiting} exit{' waits' if waiting == 1 else 's wait'} in the inbox for this and will be applied then."]


def _followers(permit: ExecutionPermit) -> str:
    open_trades = ShadowTrade.objects.filter(experiment_id=permit.experiment_id, status=TradeStatus.OPEN)
    return " and ".join(
        f"the {trade.purpose.lower()} of engine {trade.engine}" for trade in open_trades.order_by("engine")
    )


def _read_executed(incident: Incident, given: Mapping[str, str], at: datetime) -> Fill:
    permit = _permit_of(incident)
    fill = read_fill_told(
        given,
        received_at=permit.experiment.signal.received_at,
        margin=timedelta(seconds=settings.CLOCK_MARGIN_SECONDS),
        at=at,
    )
    known = RealTrade.objects.filter(engine=permit.engine, external_id=fill.external_id).first()
    if known is not None:
        raise UnusableInput(
            {"reference": _taken(permit.engine, fill, f"the trade of experiment {known.experiment_id}")}
        )
    return fill


def _taken(engine: str, fill: Fill, by: str) -> str:
    return f"The reference {fill.external_id!r} belongs to {by}; a reference names one trade of engine {engine}."


def _record_executed(incident: Incident, fill: Fill, by: str, reason: str) -> str:
    permit = _permit_of(incident)
    try:
        verdict, sentence = settle_filled(permit.permit_id, Filled(fill), by=by)
    except IntegrityError:
        # another experiment's trade took the reference a moment ago
        raise UnusableInput({"reference": _taken(permit.engine, fill, "another trade")}) from None
    if verdict is not Verdict.APPLIED:
        raise NotPossible(sentence)
    fees = f", fees {decimal_string(fill.fees)}" if fill.fees else ""
    return (
        f"Filled {decimal_string(fill.quantity)} at {decimal_string(fill.entry_price)}{fees}, "
        f"{fill.entry_time:%Y-%m-%d %H:%M:%S} UTC, reference {fill.external_id}."
    )


def _record_not_executed(incident: Incident, values: None, by: str, reason: str) -> str:
    verdict, sentence = settle_not_executed(_permit_of(incident).permit_id, by=by, reason=reason)
    if verdict is not Verdict.APPLIED:
        raise NotPossible(sentence)
    return "The permit ended without execution."


def _permit_of(incident: Incident) -> ExecutionPermit:
    """Return the permit as it is now, not as the incident's page has seen it."""
    assert incident.permit_id is not None  # noqa: S101 - nothing is offered without it
    return ExecutionPermit.objects.select_related("experiment__signal").get(pk=incident.permit_id)


offer(
    IncidentKind.UNKNOWN_EXECUTION,
    Choice(
        name="executed",
        title="It was executed",
        effects=_effects_of_executed,
        refusal=_too_early,
        read=_read_executed,
        apply=_record_executed,
        fields=(
            Field("price", "Price", "What one unit was filled at, as the broker says: 4.35"),
            Field("quantity", "Quantity", "How many contracts or shares: 2"),
            Field("time", "Time of the fill (UTC)", "For example 2026-03-02T14:30:05"),
            Field("fees", "Fees", "Of the entry; empty when there were none", is_required=False),
            Field(
                "reference", "Reference", "The engine's or the broker's id of the trade; exits are reported under it"
            ),
        ),
    ),
    Choice(
        name="not-executed",
        title="It was not executed",
        effects=_effects_of_not_executed,
        refusal=_too_early,
        apply=_record_not_executed,
        reason=Field(
            "reason",
            "Evidence",
            "Where you looked, and how it shows that nothing was executed. It is kept with your name.",
            is_long=True,
        ),
    ),
    subject=lambda incident: incident.permit_id,
)


# A signal that was parked


def _signal_of(incident: Incident) -> Signal | None:
    signal_id = subject_id(incident)
    return Signal.objects.filter(pk=signal_id).first() if signal_id else None


def _not_parked(incident: Incident, at: datetime) -> str:
    parked = Signal.objects.filter(pk=incident.subject, parked_at__isnull=False, processed=False)
    return "" if parked.exists() else "The signal is not parked any more."


def _effects_of_trying_again(incident: Incident) -> list[str]:
    return [
        "The signal is put back into the queue with its attempts at 0; it becomes an experiment like any other.",
        "If it is older than MAX_SIGNAL_AGE_SECONDS by then, both engines are asked and followed, and nothing is traded.",
        "If it fails again and again, it is parked again, and a new incident tells of it.",
    ]


def _try_again(incident: Incident, values: None, by: str, reason: str) -> str:
    put_back = Signal.objects.filter(pk=incident.subject, parked_at__isnull=False, processed=False).update(
        parked_at=None, attempts=0, next_attempt_at=None, processing_lock=None, lock_expires_at=None
    )
    if put_back != 1:
        raise NotPossible("The signal is not parked any more.")
    return "The signal is in the queue again."


# What asks for nothing but that somebody has seen it

_BESIDE: Mapping[IncidentKind, str] = {
    IncidentKind.UNAUTHORISED_EXECUTION: "The trade stays recorded as unauthorised, its exit is recorded when it comes, "
    "and a halt of trading stays until it is lifted in the control panel.",
    IncidentKind.POISON_SIGNAL: "The signal stays parked: no engine will see it.",
    IncidentKind.UNMATCHED_EVENT: "The message stays in the inbox, unmatched.",
}


def effects_of_acknowledging(incident: Incident) -> list[str]:
    """Return what acknowledging does: next to nothing."""
    beside = _BESIDE.get(IncidentKind(incident.kind), "")
    return [
        "The incident is closed with your name and your reason. Nothing else changes: what was recorded stands.",
        *([beside] if beside else []),
    ]


def _acknowledge(incident: Incident, values: None, by: str, reason: str) -> str:
    return "Nothing else was changed."


ACKNOWLEDGE = Choice(name="acknowledge", title="Acknowledged", effects=effects_of_acknowledging, apply=_acknowledge)

offer(
    IncidentKind.POISON_SIGNAL,
    Choice(
        name="try-again",
        title="Try again",
        effects=_effects_of_trying_again,
        refusal=_not_parked,
        apply=_try_again,
    ),
    ACKNOWLEDGE,
    subject=_signal_of,
)
