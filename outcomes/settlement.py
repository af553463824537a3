"""Incidents about exits: an operator tells the price or the exit that nobody else could tell."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from orchestrator.domain.amounts import decimal_string
from orchestrator.domain.moments import moment_string
from orchestrator.domain.settling import Reader, UnusableInput
from orchestrator.domain.vocabulary import EventType, IncidentKind, TradeStatus, Verdict
from orchestrator.models import EngineEvent, Incident, RealTrade, ShadowTrade
from orchestrator.settlement import ACKNOWLEDGE, Choice, Field, NotPossible, offer, subject_id
from outcomes.domain.exits import Undecided, UnreadableExit, lead_of
from outcomes.domain.pnl import AmountOutOfRange
from outcomes.exits import apply_exit, close_follower
from outcomes.models import ExitSync
from outcomes.situations import Situation, Trade, load_situations

TOLD_BY_AN_OPERATOR = "told by an operator"


# A follower without a price


def _refuse_price(incident: Incident, at: datetime) -> str:
    trade = _trade_of(incident)
    if trade.status != TradeStatus.OPEN:
        return f"The trade is {trade.status} by now."
    return "" if _sync_of(trade) is not None else "Its lead has not exited."


def _effects_of_price(incident: Incident) -> list[str]:
    trade = _trade_of(incident)
    sync = _sync_of(trade)
    if sync is None or not isinstance(trade, ShadowTrade):
        return []
    lead = f"the {'real' if sync.lead_is_real else 'shadow'} trade of engine {sync.lead_engine}"
    return [
        f"The {trade.purpose.lower()} trade of engine {trade.engine} ({_contract(trade)}) is closed at your price, at the time of "
        f"its lead's exit, {sync.exit_time:%Y-%m-%d %H:%M:%S} UTC ({lead}, {sync.exit_reason}), with the same market "
        "conditions.",
        f"Its outcome is recorded, for good: {decimal_string(trade.quantity)} at {decimal_string(trade.entry_price)} "
        "against your price. It counts in the reports.",
        "The lead and its outcome stay as they are.",
    ]


def _read_price(incident: Incident, given: Mapping[str, str], at: datetime) -> Decimal:
    reader = Reader(given)
    price = reader.amount("price", "the exit price")
    reader.done()
    return price


def _set_price(incident: Incident, price: Decimal, by: str, reason: str) -> str:
    trade = _trade_of(incident)
    try:
        pnl = close_follower(trade.trade_id, experiment_id=trade.experiment_id, price=price)
    except AmountOutOfRange as error:
        raise UnusableInput({"price": f"At this price, {error}."}) from None
    except UnreadableExit as error:
        raise NotPossible(f"It cannot be closed: {error}.") from None
    return f"Closed at {decimal_string(price)}, P&L {decimal_string(pnl)}."


# An open trade whose contract has expired


@dataclass(frozen=True, slots=True)
class ExitTold:
    """An exit as an operator tells it; fees of the exit alone."""

    price: Decimal
    time: datetime
    fees: Decimal


def _refuse_exit(incident: Incident, at: datetime) -> str:
    trade = _trade_of(incident)
    if trade.status != TradeStatus.OPEN:
        return f"The trade is {trade.status} by now."
    try:
        role = _role_of(trade)
    except Undecided as reason:
        return f"It cannot be said yet which trade leads, because {reason}. Settle that first."
    if role == "follower" and isinstance(trade, ShadowTrade):
        if _sync_of(trade) is not None:
            return "Its lead has exited; what it waits for is a price."
        if trade.own_exit_time is not None:
            return "Its own exit is known. It leaves with its lead, which is still open."
    return ""


def _effects_of_exit(incident: Incident) -> list[str]:
    trade = _trade_of(incident)
    try:
        role = _role_of(trade)
    except Undecided:
        return []
    if role == "alone":
        return ["The unauthorised trade is closed at your price and time, and its outcome recorded, for good."]
    if role == "follower":
        return [
            "Your exit is kept on this trade as its own exit and reported apart.",
            "It stays open: it leaves with the trade that leads its experiment.",
        ]
    others = [
        f"the {other.purpose.lower()} of engine {other.engine}"
        for other in ShadowTrade.objects.filter(experiment_id=trade.experiment_id, status=TradeStatus.OPEN)
        .exclude(pk=trade.pk)
        .order_by("engine")
    ]
    return [
        "The trade is closed at your price and time, and its outcome recorded, for good.",
        f"It leads its experiment: {' and '.join(others)} will exit at the same time, at the same price where the "
        "contract is the same; for another contract its engine is asked, and if it knows none, you will be."
        if others
        else "It leads its experiment; no other trade follows it.",
        "If the engine reports another exit later, yours stands and a new incident tells of it.",
    ]


def _read_exit(incident: Incident, given: Mapping[str, str], at: datetime) -> ExitTold:
    trade = _trade_of(incident)
    reader = Reader(given)
    told = ExitTold(
        price=reader.amount("price", "the exit price"),
        time=reader.moment("time", "the time", earliest=trade.entry_time, because="the entry", latest=at),
        fees=reader.fees("fees", "the fees"),
    )
    if told.fees and not isinstance(trade, RealTrade):
        raise UnusableInput({"fees": "A shadow trade has no fees; leave them empty."})
    reader.done()
    return told


def _record_exit(incident: Incident, told: ExitTold, by: str, reason: str) -> str:
    """Put the exit into the inbox as if the engine had reported it, and apply it at once."""
    trade = _trade_of(incident)
    body = {
        "type": EventType.TRADE_EXITED.value,
        "data": {
            "experiment_id": str(trade.experiment_id),
            "trade": {"external_id": trade.external_id} if isinstance(trade, RealTrade) else None,
            "exit_price": decimal_string(told.price),
            "exit_time": moment_string(told.time),
            "exit_reason": TOLD_BY_AN_OPERATOR,
            "fees": decimal_string(told.fees),
            "market_conditions": {},
        },
        "told_by": by,
        "incident_id": str(incident.pk),
    }
    event = EngineEvent.objects.create(
        engine=trade.engine,
        message_id=f"operator:{incident.pk}",
        type=EventType.TRADE_EXITED.value,
        body=json.dumps(body),
        experiment_id=trade.experiment_id,
    )
    verdict, sentence = apply_exit(event)
    if verdict is not Verdict.APPLIED:
        raise NotPossible(sentence)
    return f"Exit at {decimal_string(told.price)}, {told.time:%Y-%m-%d %H:%M:%S} UTC. {sentence}"


# Where the trade stands


def _still_open(incident: Incident, at: datetime) -> str:
    trade = _trade_of(incident)
    return "The trade is still open; acknowledging would leave it so." if trade.status == TradeStatus.OPEN else ""


def _trade_of(incident: Incident) -> Trade:
    trade = _find_trade(incident)
    assert trade is not None  # noqa: S101 - nothing is offered without it
    return trade


def _find_trade(incident: Incident) -> Trade | None:
    trade_id = subject_id(incident)
    if trade_id is None:
        return None
    return RealTrade.objects.filter(pk=trade_id).first() or ShadowTrade.objects.filter(pk=trade_id).first()


def _sync_of(trade: Trade) -> ExitSync | None:
    return ExitSync.objects.filter(experiment_id=trade.experiment_id).first()


def _role_of(trade: Trade) -> str:
    """Return what an exit of this trade would be: of the lead, of a follower, or of a trade that stands alone.

    :raises Undecided: when it cannot be said yet who leads.
    """
    if isinstance(trade, RealTrade):
        return "lead" if trade.authorised else "alone"
    situation: Situation = load_situations([trade.experiment_id])[trade.experiment_id]
    if situation.sync is not None:
        return "follower"
    lead = lead_of(situation.standing())
    return "lead" if lead is not None and not lead.is_real and lead.engine == trade.engine else "follower"


def _contract(trade: Trade) -> str:
    instrument = trade.terms.get("instrument") if isinstance(trade.terms, dict) else None
    named = instrument.get("option_symbol") if isinstance(instrument, dict) else None
    return str(named or trade.terms.get("symbol") or "its contract")


SEEN = replace(ACKNOWLEDGE, refusal=_still_open)

offer(
    IncidentKind.MISSING_EXIT_PRICE,
    Choice(
        name="exit-price",
        title="Set the exit price",
        effects=_effects_of_price,
        refusal=_refuse_price,
        read=_read_price,
        apply=_set_price,
        fields=(Field("price", "Exit price", "What one unit of this contract was worth at the lead's exit: 5.10"),),
    ),
    SEEN,
    subject=_find_trade,
)
offer(
    IncidentKind.EXPIRED_OPEN_TRADE,
    Choice(
        name="exit",
        title="Tell its exit",
        effects=_effects_of_exit,
        refusal=_refuse_exit,
        read=_read_exit,
        apply=_record_exit,
        fields=(
            Field("price", "Exit price", "What one unit was closed or settled at; 0 when it expired worthless"),
            Field("time", "Time of the exit (UTC)", "For example 2026-03-20T20:00:00"),
            Field("fees", "Fees", "Of the exit of a real trade; empty when there were none", is_required=False),
        ),
    ),
    SEEN,
    subject=_find_trade,
)
