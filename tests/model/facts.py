"""What the orchestrator does with a fact, as built: fills, refusals, exits; whoever brings it and however late."""

from orchestrator.domain.transitions import ENDED_WITHOUT_EXECUTION, PERMIT_MOVES, UNSETTLED_PERMITS, sources
from orchestrator.domain.vocabulary import PermitState, Verdict
from tests.model.settings import Rule, Setting
from tests.model.states import Event, Incident, Report, Trade, World, halted, moved, opened

MAY_EXECUTE = frozenset(sources(PERMIT_MOVES, PermitState.EXECUTED))
MAY_END_UNEXECUTED = frozenset(sources(PERMIT_MOVES, PermitState.NOT_EXECUTED))


def settle(world: World, target: PermitState, setting: Setting) -> World:
    """``permits._settle``: the move, its incident, and a second look at what waited."""
    world = moved(world, target)
    if target is PermitState.UNKNOWN:
        return opened(world, Incident.UNKNOWN)
    world = world._replace(incidents=world.incidents - {Incident.UNKNOWN})
    return reconsidered(world, Verdict.WAITING) if setting.keeps(Rule.WAITING_EXIT_IS_LOOKED_AT_AGAIN) else world


def settle_filled(world: World, ref: int, setting: Setting) -> World:
    """``permits.settle_filled`` and ``trades.record_fill``."""
    is_known = any(trade.ref == ref for trade in world.trades)
    may_execute = world.state in MAY_EXECUTE
    if is_known and not may_execute:
        return world  # the same fill again
    if may_execute and not is_known:
        return settle(
            world._replace(trades=world.trades | {Trade(ref, authorised=True)}), PermitState.EXECUTED, setting
        )
    if is_known:
        world = opened(world, Incident.CONFLICT)
        return settle(world, PermitState.UNKNOWN, setting) if world.state is PermitState.ARMED else world
    if not setting.keeps(Rule.LATE_FILL_IS_STORED) and world.state in ENDED_WITHOUT_EXECUTION:
        return world
    world = _store_unauthorised(world, ref, setting)
    return settle(world, PermitState.VOID, setting) if world.state is PermitState.GRANTED else world


def settle_nameless(world: World, ref: int, setting: Setting) -> World:
    """``events._apply_filled`` for a fill that names no permit of the engine."""
    if all(trade.ref != ref for trade in world.trades):
        world = _store_unauthorised(world, ref, setting)
    return opened(world, Incident.UNAUTHORISED)


def settle_not_executed(world: World, setting: Setting) -> World:
    """``permits.settle_not_executed``."""
    if world.state in ENDED_WITHOUT_EXECUTION:
        return world
    if world.state not in MAY_END_UNEXECUTED:
        return opened(world, Incident.CONFLICT)
    return settle(world, PermitState.NOT_EXECUTED, setting)


def apply_event(world: World, event: Event, setting: Setting) -> World:
    """``events.apply_events`` and ``outcomes.exits.apply_exits`` for one pending event, under the experiment's lock."""
    world = world._replace(inbox=world.inbox - {event})
    match event.report:
        case Report.FILLED:
            return (
                settle_filled(world, event.ref, setting) if world.permit else settle_nameless(world, event.ref, setting)
            )
        case Report.NAMELESS:
            return settle_nameless(world, event.ref, setting)
        case Report.REJECTED:
            return _apply_refusal(world, setting)
        case Report.EXITED:
            return _apply_exit(world, event)


def close(world: World, trade: Trade) -> World:
    """``outcomes.exits._close``: the trade's one outcome."""
    trades = (world.trades - {trade}) | {trade._replace(closed=True)}
    return world._replace(trades=trades, exits=min(world.exits + trade.authorised, 2))


def reconsidered(world: World, verdict: Verdict) -> World:
    """Let the events with this verdict be pending again."""
    return world._replace(
        inbox=frozenset(one._replace(verdict=None) if one.verdict is verdict else one for one in world.inbox)
    )


def _apply_refusal(world: World, setting: Setting) -> World:
    """An event does not say which attempt was refused."""
    permit = world.permit
    assert permit is not None
    was_repeated = setting.idempotent and permit.state is PermitState.UNKNOWN and permit.attempts > 1
    if was_repeated and setting.keeps(Rule.REFUSAL_BY_EVENT_PROVES_NOTHING_AFTER_A_RETRY):
        return world
    return settle_not_executed(world, setting)


def _apply_exit(world: World, event: Event) -> World:
    trade = next((one for one in world.trades if one.ref == event.ref), None)
    if trade is None:
        may_come = world.permit is None or world.state in UNSETTLED_PERMITS
        verdict = Verdict.WAITING if may_come else Verdict.UNMATCHED
        world = world._replace(inbox=world.inbox | {event._replace(verdict=verdict)})
        return world if may_come else opened(world, Incident.UNMATCHED)
    return world if trade.closed else close(world, trade)


def _store_unauthorised(world: World, ref: int, setting: Setting) -> World:
    """``trades.record_unauthorised_fill``: stored, reported, and trading halts itself."""
    world = halted(world, waits=setting.halt_waits)
    world = world._replace(trades=world.trades | {Trade(ref, authorised=False)})
    return reconsidered(opened(world, Incident.UNAUTHORISED), Verdict.UNMATCHED)
