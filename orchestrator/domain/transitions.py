"""The legal moves of everything that has a state; what is not in these tables cannot happen."""

from collections.abc import Mapping

from orchestrator.domain.vocabulary import CallState, PermitState, SyncState, TradeStatus

PERMIT_MOVES: Mapping[PermitState, frozenset[PermitState]] = {
    PermitState.GRANTED: frozenset({PermitState.ARMED, PermitState.VOID}),
    # back to GRANTED only where nothing was sent
    PermitState.ARMED: frozenset(
        {PermitState.GRANTED, PermitState.EXECUTED, PermitState.NOT_EXECUTED, PermitState.UNKNOWN}
    ),
    # by the engine's own word or an operator
    PermitState.UNKNOWN: frozenset({PermitState.EXECUTED, PermitState.NOT_EXECUTED}),
    PermitState.EXECUTED: frozenset(),
    PermitState.NOT_EXECUTED: frozenset(),
    PermitState.VOID: frozenset(),
}

CALL_MOVES: Mapping[CallState, frozenset[CallState]] = {
    CallState.PENDING: frozenset({CallState.SENT, CallState.ANSWERED, CallState.FAILED}),
    CallState.SENT: frozenset(
        {CallState.PENDING, CallState.SENT, CallState.ACCEPTED, CallState.ANSWERED, CallState.FAILED}
    ),
    CallState.ACCEPTED: frozenset({CallState.ACCEPTED, CallState.ANSWERED, CallState.FAILED}),
    CallState.ANSWERED: frozenset(),
    # a late answer is a fact, and facts are never fenced
    CallState.FAILED: frozenset({CallState.ANSWERED}),
}

TRADE_MOVES: Mapping[TradeStatus, frozenset[TradeStatus]] = {
    TradeStatus.OPEN: frozenset({TradeStatus.CLOSED, TradeStatus.VOID}),
    TradeStatus.CLOSED: frozenset(),
    TradeStatus.VOID: frozenset(),
}

SYNC_MOVES: Mapping[SyncState, frozenset[SyncState]] = {
    SyncState.PENDING: frozenset({SyncState.DONE, SyncState.NOT_APPLICABLE, SyncState.BLOCKED}),
    SyncState.BLOCKED: frozenset({SyncState.DONE, SyncState.NOT_APPLICABLE}),
    # a follower whose answer was recorded after the exit still has to exit with the lead
    SyncState.DONE: frozenset({SyncState.PENDING, SyncState.BLOCKED}),
    SyncState.NOT_APPLICABLE: frozenset({SyncState.PENDING, SyncState.BLOCKED, SyncState.DONE}),
}

UNSETTLED_PERMITS = frozenset({PermitState.GRANTED, PermitState.ARMED, PermitState.UNKNOWN})
ENDED_WITHOUT_EXECUTION = frozenset({PermitState.NOT_EXECUTED, PermitState.VOID})
ENDED_CALLS = frozenset({CallState.ANSWERED, CallState.FAILED})


def sources(moves: Mapping[PermitState, frozenset[PermitState]], target: PermitState) -> list[PermitState]:
    """Return the states from which ``target`` may be reached: what a compare-and-set names as the state it leaves."""
    return [state for state, targets in moves.items() if target in targets]
