"""Exits: the lead closes, its followers close at the same instant, and every closed trade has exactly one outcome."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef

from config.fault_points import Commit
from config.faults import committed
from orchestrator.batches import apply_or_take_apart
from orchestrator.domain.amounts import decimal_string
from orchestrator.domain.strict_json import read_object
from orchestrator.domain.transitions import ENDED_CALLS, UNSETTLED_PERMITS
from orchestrator.domain.vocabulary import (
    CallKind,
    CallState,
    Engine,
    EventType,
    IncidentKind,
    SyncState,
    TradeStatus,
    Verdict,
)
from orchestrator.events import close_event, give_up_event, open_conflict, open_unmatched, pending_under_lock
from orchestrator.incidents import open_incident, resolve_incidents
from orchestrator.models import EngineCall, EngineEvent, RealTrade, ShadowTrade
from orchestrator.queue import database_clock, lock_experiments
from orchestrator.shadow_trades import tell_exit
from outcomes.domain.exits import Exit, Undecided, UnreadableExit, follower_price, lead_of, read_exit, read_exit_price
from outcomes.domain.pnl import AmountOutOfRange, profit_and_loss
from outcomes.models import ExitSync, Outcome, RealTradeOutcome, ShadowTradeOutcome
from outcomes.situations import Situation, Trade, load_situations, terms_of
from outcomes.summaries import OutcomeSum, add_to_summaries

log = structlog.get_logger(__name__)

NO_FEES = Decimal(0)
OWN_EXIT = ["own_exit_price", "own_exit_time", "own_exit_reason"]


@dataclass(slots=True)
class Ledger:
    """What one transaction closes; written at its end, each table with one statement."""

    at: datetime
    real: list[RealTradeOutcome] = field(default_factory=list)
    shadow: list[ShadowTradeOutcome] = field(default_factory=list)

    def write(self) -> None:
        RealTradeOutcome.objects.bulk_create(self.real)
        ShadowTradeOutcome.objects.bulk_create(self.shadow)
        add_to_summaries(
            [OutcomeSum(Engine(one.engine), "real", one.exit_time, one.pnl) for one in self.real]
            + [OutcomeSum(Engine(one.engine), one.trade.purpose.lower(), one.exit_time, one.pnl) for one in self.shadow]
        )


def apply_exits(*, limit: int = 100) -> int:
    """Apply the exits of the inbox, oldest first, and return how many were looked at."""
    pending = list(
        EngineEvent.objects.filter(verdict=None, type=EventType.TRADE_EXITED).order_by("received_at", "id")[:limit]
    )
    apply_or_take_apart(pending, _apply_batch, give_up_event)
    return len(pending)


def apply_exit(event: EngineEvent) -> tuple[Verdict | None, str]:
    """Apply one exit of the inbox now, in the caller's transaction if it has one; return its verdict with a sentence."""
    _apply_batch([event])
    event.refresh_from_db(fields=["verdict", "detail"])
    return (Verdict(event.verdict) if event.verdict else None), event.detail


def close_follower(trade_id: UUID, *, experiment_id: UUID, price: Decimal) -> Decimal:
    """Close a follower that waits for a price at the one an operator tells, with its lead; return its P&L.

    :raises UnreadableExit: when it does not wait for a price (any more).
    :raises AmountOutOfRange: when the P&L does not fit.
    """
    with transaction.atomic():
        lock_experiments([experiment_id])
        ledger = Ledger(at=database_clock())
        situation = load_situations([experiment_id])[experiment_id]
        sync = situation.sync
        trade = next((one for one in situation.shadow_trades.values() if one.trade_id == trade_id), None)
        if sync is None or trade is None or trade.status != TradeStatus.OPEN:
            raise UnreadableExit("the trade does not wait for a price")
        left = Exit(None, price, sync.exit_time, sync.exit_reason, NO_FEES, sync.market_conditions)
        _close(trade, left, price=price, fees=NO_FEES, ledger=ledger)
        _settle_followers(situation, ledger)
        ledger.write()
    _log_outcomes(ledger)
    pnl: Decimal = next(one.pnl for one in ledger.shadow if one.trade_id == trade_id)
    return pnl


def price_followers(*, limit: int = 200) -> int:
    """Close the followers whose engine has answered with its price; ask an operator where it has none."""
    answered = EngineCall.objects.filter(
        kind=CallKind.SHADOW_EXIT, state__in=ENDED_CALLS, experiment=OuterRef("experiment"), engine=OuterRef("engine")
    )
    priced = ShadowTrade.objects.filter(
        Exists(answered), status=TradeStatus.OPEN, experiment__exit_sync__state=SyncState.PENDING
    )
    return _settle_experiments(list(priced.order_by("experiment_id").values_list("experiment_id", flat=True)[:limit]))


def settle_late_followers(*, limit: int = 200) -> int:
    """Take out the followers whose entry was recorded after their lead had closed."""
    late = ShadowTrade.objects.filter(
        status=TradeStatus.OPEN, experiment__exit_sync__state__in=[SyncState.DONE, SyncState.NOT_APPLICABLE]
    )
    return _settle_experiments(list(late.order_by("experiment_id").values_list("experiment_id", flat=True)[:limit]))


def _settle_experiments(experiment_ids: Sequence[UUID]) -> int:
    return apply_or_take_apart(sorted(set(experiment_ids)), _settle_batch, _give_up_followers)


def _settle_batch(experiment_ids: Sequence[UUID]) -> int:
    with committed(Commit.SETTLE_FOLLOWERS):
        lock_experiments(experiment_ids)
        ledger = Ledger(at=database_clock())
        for situation in load_situations(experiment_ids).values():
            _settle_followers(situation, ledger)
        ledger.write()
    _log_outcomes(ledger)
    return len(experiment_ids)


def _give_up_followers(experiment_id: UUID, error: Exception) -> None:
    """Keep followers that cannot be settled as an incident, so that they hold up no others."""
    log.error("followers.failed", experiment_id=str(experiment_id), exc_info=error)
    open_incident(
        IncidentKind.POISON_WORK,
        subject=f"followers:{experiment_id}",
        experiment_id=experiment_id,
        detail={
            "what": "The trades that should exit with their lead could not be taken out.",
            "error": f"{type(error).__name__}: {error}"[:2000],
        },
    )


def _apply_batch(events: Sequence[EngineEvent]) -> int:
    with committed(Commit.APPLY_EXITS):
        mine = pending_under_lock(events)
        ids = {event.experiment_id for event in mine if event.experiment_id is not None}
        ledger, situations = Ledger(at=database_clock()), load_situations(ids)
        for event in mine:
            assert event.experiment_id is not None  # noqa: S101 - an exit without one is UNMATCHED from the start
            verdict, sentence = _apply_one(event, situations[event.experiment_id], ledger)
            close_event(event, verdict, sentence)
            if event.detail and verdict is not Verdict.UNMATCHED:  # it may have matched nothing when it was looked at
                resolve_incidents(
                    IncidentKind.UNMATCHED_EVENT, subject=f"event:{event.id}", by="orchestrator", resolution=sentence
                )
        ledger.write()
    _log_outcomes(ledger)
    return len(events)


def _apply_one(event: EngineEvent, situation: Situation, ledger: Ledger) -> tuple[Verdict, str]:
    try:
        left = _read_exit(event, at=ledger.at)
    except UnreadableExit as error:
        sentence = f"The exit cannot be used: {error}."
        open_conflict(event, sentence)
        return Verdict.CONFLICT, sentence
    engine = Engine(event.engine)
    trade = _trade_of(situation, engine, left)
    if trade is None:
        if _may_still_come(situation, engine, left):
            return Verdict.WAITING, "Its entry has not been recorded yet."
        sentence = "This engine has no such trade in this experiment."
        open_unmatched(event, sentence)
        return Verdict.UNMATCHED, sentence
    try:
        return _exit_trade(trade, left, situation, ledger)
    except (UnreadableExit, AmountOutOfRange) as error:
        sentence = f"The exit contradicts its trade: {error}."
        open_conflict(event, sentence)
        return Verdict.CONFLICT, sentence
    except Undecided as reason:
        return Verdict.WAITING, f"It waits because {reason}."


def _read_exit(event: EngineEvent, *, at: datetime) -> Exit:
    """Read an exit: its amounts to the last digit, its market conditions as the JSON that PostgreSQL keeps.

    :raises UnreadableExit: also when it lies in the future of ``at``, the database clock.
    """
    left = read_exit(read_object(event.body)["data"])
    if left.time > at + timedelta(seconds=settings.QUIET_PERIOD_SECONDS):
        raise UnreadableExit(f"exit_time {left.time.isoformat()} lies in the future")
    return replace(left, market_conditions=json.loads(event.body)["data"].get("market_conditions") or {})


def _exit_trade(trade: Trade, left: Exit, situation: Situation, ledger: Ledger) -> tuple[Verdict, str]:
    """Apply an exit to its trade: as the lead's, as an unauthorised trade's, or as a follower's own exit.

    :raises Undecided: when it cannot be said yet who leads.
    :raises UnreadableExit: when it contradicts the trade.
    """
    if left.time < trade.entry_time:
        raise UnreadableExit(f"exit_time {left.time.isoformat()} is before the entry {trade.entry_time.isoformat()}")
    if isinstance(trade, RealTrade) and not trade.authorised:
        if trade.status == TradeStatus.CLOSED:
            return _same_again(trade, left)
        _close(trade, left, price=left.price, fees=trade.fees + left.fees, ledger=ledger)
        return Verdict.APPLIED, "The unauthorised trade is closed."
    if situation.sync is not None and situation.sync.lead_trade_id == trade.trade_id:
        return _same_again(trade, left)
    if situation.sync is None:
        lead = lead_of(situation.standing())
        if lead is not None and lead.engine == trade.engine and lead.is_real == isinstance(trade, RealTrade):
            _close_lead(trade, left, situation, ledger)
            return Verdict.APPLIED, "The lead is closed."
    if isinstance(trade, RealTrade):
        raise UnreadableExit("this real trade does not lead its experiment")
    return _keep_own_exit(trade, left)


def _close_lead(trade: Trade, left: Exit, situation: Situation, ledger: Ledger) -> None:
    is_real = isinstance(trade, RealTrade)
    _close(trade, left, price=left.price, fees=trade.fees + left.fees if is_real else NO_FEES, ledger=ledger)  # type: ignore[union-attr]
    situation.sync = ExitSync(
        experiment=situation.experiment,
        lead_trade_id=trade.trade_id,
        lead_engine=trade.engine,
        lead_is_real=is_real,
        state=SyncState.NOT_APPLICABLE.value,
        exit_price=left.price,
        exit_time=left.time,
        exit_reason=left.reason,
        market_conditions=left.market_conditions,
    )
    state = _close_followers(situation, ledger)
    situation.sync.state = state.value
    situation.sync.save(force_insert=True)


def _settle_followers(situation: Situation, ledger: Ledger) -> None:
    """Look again at the followers of a closed lead."""
    sync = situation.sync
    if sync is None:
        return
    state = _close_followers(situation, ledger)
    if state is SyncState.NOT_APPLICABLE and sync.state == SyncState.DONE:
        state = SyncState.DONE
    ExitSync.objects.filter(pk=sync.pk).update(state=state.value, attempts=sync.attempts + 1)
    sync.state = state.value


def _close_followers(situation: Situation, ledger: Ledger) -> SyncState:
    """Take out every open follower with its lead: same time, same market conditions, its own price."""
    sync = situation.sync
    assert sync is not None  # noqa: S101 - the caller has it
    state = SyncState.NOT_APPLICABLE
    for engine, trade in sorted(situation.shadow_trades.items()):
        if trade.trade_id == sync.lead_trade_id:
            continue
        if trade.status == TradeStatus.CLOSED:
            state = max(state, SyncState.DONE, key=_SYNC_ORDER.index)
        if trade.status != TradeStatus.OPEN:
            continue
        if trade.entry_time > sync.exit_time:
            _void(trade, situation)
            continue
        state = max(state, _close_follower(engine, trade, situation, sync, ledger), key=_SYNC_ORDER.index)
    return state


_SYNC_ORDER = (SyncState.NOT_APPLICABLE, SyncState.DONE, SyncState.PENDING, SyncState.BLOCKED)


def _close_follower(
    engine: Engine, trade: ShadowTrade, situation: Situation, sync: ExitSync, ledger: Ledger
) -> SyncState:
    call = situation.calls.get((engine, CallKind.SHADOW_EXIT))
    price = _price_of(trade, situation, sync)
    if price is None and call is not None and call.state == CallState.ANSWERED:
        price = read_exit_price(call.response)
    was_told = (engine, CallKind.SHADOW_TRADE) in situation.calls
    if call is None and (was_told or price is None):
        tell_exit(
            trade,
            exit_time=sync.exit_time,
            exit_reason=sync.exit_reason,
            market_conditions=sync.market_conditions,
            at=ledger.at,
        )
    if price is not None:
        synchronised = Exit(None, price, sync.exit_time, sync.exit_reason, NO_FEES, sync.market_conditions)
        try:
            _close(trade, synchronised, price=price, fees=NO_FEES, ledger=ledger)
        except (AmountOutOfRange, UnreadableExit) as error:
            return _ask_operator(trade, str(error))
        return SyncState.DONE
    if call is None or call.state in (CallState.PENDING, CallState.SENT, CallState.ACCEPTED):
        return SyncState.PENDING
    return _ask_operator(trade, call.error or "its engine answered without a price")


def _price_of(trade: ShadowTrade, situation: Situation, sync: ExitSync) -> Decimal | None:
    """Return the follower's price as far as the lead's exit tells it."""
    leads: list[Trade] = [*situation.real_trades, *situation.shadow_trades.values()]
    lead = next(one for one in leads if one.trade_id == sync.lead_trade_id)
    mine, others = terms_of(trade), terms_of(lead)
    if mine is None or others is None:
        return None
    return follower_price(
        mine.contract, lead=others.contract, lead_price=sync.exit_price, market_conditions=sync.market_conditions
    )


def _ask_operator(trade: ShadowTrade, why: str) -> SyncState:
    open_incident(
        IncidentKind.MISSING_EXIT_PRICE,
        subject=str(trade.trade_id),
        experiment_id=trade.experiment_id,
        detail={
            "what": f"The shadow trade of engine {trade.engine} must exit with its lead, but nobody named a price for "
            "its contract. A price is never invented.",
            "why": why,
            "trade_id": str(trade.trade_id),
        },
    )
    return SyncState.BLOCKED


def _void(trade: ShadowTrade, situation: Situation) -> None:
    """A follower that would have been entered after the lead's exit was never comparable."""
    ShadowTrade.objects.filter(pk=trade.pk, status=TradeStatus.OPEN).update(status=TradeStatus.VOID)
    trade.status = TradeStatus.VOID.value
    log.info(
        "trade.exited",
        signal_id=str(situation.experiment.signal_id),
        experiment_id=str(trade.experiment_id),
        engine=trade.engine,
        trade_id=str(trade.trade_id),
        status=trade.status,
    )


def _close(trade: Trade, left: Exit, *, price: Decimal, fees: Decimal, ledger: Ledger) -> None:
    """Close an open trade and put its one outcome into the ledger.

    :raises AmountOutOfRange: when the P&L does not fit.
    :raises UnreadableExit: when the trade's terms are not known.
    """
    terms = terms_of(trade)
    if terms is None:
        raise UnreadableExit("the trade came without terms, so that its side is not known")
    kind = RealTradeOutcome if isinstance(trade, RealTrade) else ShadowTradeOutcome
    outcome = kind(  # type: ignore[misc]  # each kind of outcome belongs to its kind of trade
        trade=trade,
        experiment_id=trade.experiment_id,
        engine=trade.engine,
        side=terms.side,
        entry_price=trade.entry_price,
        exit_price=price,
        quantity=trade.quantity,
        multiplier=terms.contract.multiplier,
        fees=fees,
        pnl=profit_and_loss(
            entry_price=trade.entry_price,
            exit_price=price,
            quantity=trade.quantity,
            multiplier=terms.contract.multiplier,
            side=terms.side,
            fees=fees,
        ),
        exit_reason=left.reason,
        entry_time=trade.entry_time,
        exit_time=left.time,
        market_conditions=left.market_conditions,
    )
    closed = type(trade).objects.filter(pk=trade.pk, status=TradeStatus.OPEN).update(status=TradeStatus.CLOSED)
    if closed != 1:
        raise UnreadableExit(f"the trade is {trade.status}")
    trade.status = TradeStatus.CLOSED.value
    (ledger.real if isinstance(outcome, RealTradeOutcome) else ledger.shadow).append(outcome)  # type: ignore[arg-type]


def _keep_own_exit(trade: ShadowTrade, left: Exit) -> tuple[Verdict, str]:
    """Keep a follower's own exit beside the synchronised one: set once, reported apart."""
    own = (left.price, left.time, left.reason)
    if trade.own_exit_time is not None:
        if (trade.own_exit_price, trade.own_exit_time, trade.own_exit_reason) == own:
            return Verdict.DUPLICATE, "The same own exit was recorded before."
        raise UnreadableExit("another own exit was recorded before, and it stands")
    trade.own_exit_price, trade.own_exit_time, trade.own_exit_reason = own
    trade.save(update_fields=OWN_EXIT)
    return Verdict.APPLIED, "Kept as the follower's own exit; it leaves with its lead."


def _same_again(trade: Trade, left: Exit) -> tuple[Verdict, str]:
    outcome: Outcome = trade.outcome
    if (outcome.exit_price, outcome.exit_time, outcome.exit_reason) == (left.price, left.time, left.reason):
        return Verdict.DUPLICATE, "The same exit was recorded before."
    raise UnreadableExit("another exit was recorded before, and it stands")


def _trade_of(situation: Situation, engine: Engine, left: Exit) -> Trade | None:
    if left.external_id is None:
        return situation.shadow_trades.get(engine)
    return next(
        (trade for trade in situation.real_trades if trade.engine == engine and trade.external_id == left.external_id),
        None,
    )


def _may_still_come(situation: Situation, engine: Engine, left: Exit) -> bool:
    """Tell whether the trade that left may still be recorded: the exit came before its entry."""
    standing = situation.standing()
    if left.external_id is None:
        return engine in standing.awaited
    if standing.executed_engine is not engine:
        return False
    return standing.permit in UNSETTLED_PERMITS or (standing.permit is None and engine in standing.awaited)


def _log_outcomes(ledger: Ledger) -> None:
    outcomes: list[RealTradeOutcome | ShadowTradeOutcome] = [*ledger.real, *ledger.shadow]
    for outcome in outcomes:
        ids = {
            "experiment_id": str(outcome.experiment_id),
            "signal_id": str(outcome.trade.experiment.signal_id),
            "engine": outcome.engine,
            "trade_id": str(outcome.trade_id),
            "kind": "real" if isinstance(outcome, RealTradeOutcome) else outcome.trade.purpose.lower(),
        }
        log.info("trade.exited", exit_reason=outcome.exit_reason, exit_time=outcome.exit_time.isoformat(), **ids)
        log.info("outcome.recorded", outcome_id=str(outcome.outcome_id), pnl=decimal_string(outcome.pnl), **ids)
