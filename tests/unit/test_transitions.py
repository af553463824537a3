"""The tables of legal moves: complete, without a way back from an end, and as DESIGN §7 draws them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from orchestrator.domain.transitions import (
    CALL_MOVES,
    ENDED_CALLS,
    ENDED_WITHOUT_EXECUTION,
    PERMIT_MOVES,
    SYNC_MOVES,
    TRADE_MOVES,
    UNSETTLED_PERMITS,
    sources,
)
from orchestrator.domain.vocabulary import CallState, PermitState, SyncState, TradeStatus

TABLES: list[tuple[type[StrEnum], Mapping[Any, frozenset[Any]]]] = [
    (PermitState, PERMIT_MOVES),
    (CallState, CALL_MOVES),
    (TradeStatus, TRADE_MOVES),
    (SyncState, SYNC_MOVES),
]


@pytest.mark.parametrize(("states", "table"), TABLES)
def test_every_state_has_its_row(states: type[StrEnum], table: Mapping[Any, frozenset[Any]]) -> None:
    assert set(table) == set(states)
    assert {target for targets in table.values() for target in targets} <= set(states)


def test_permits_move_as_the_design_draws_them() -> None:
    drawn = {
        "GRANTED": "ARMED VOID",
        "ARMED": "GRANTED EXECUTED NOT_EXECUTED UNKNOWN",
        "UNKNOWN": "EXECUTED NOT_EXECUTED",
        "EXECUTED": "",
        "NOT_EXECUTED": "",
        "VOID": "",
    }
    assert {state.value: set(targets) for state, targets in PERMIT_MOVES.items()} == {
        state: set(targets.split()) for state, targets in drawn.items()
    }


def test_a_permit_is_unsettled_exactly_until_an_end() -> None:
    ends = {state for state, targets in PERMIT_MOVES.items() if not targets}
    assert set(PermitState) - ends == UNSETTLED_PERMITS
    assert ends - {PermitState.EXECUTED} == ENDED_WITHOUT_EXECUTION


@pytest.mark.parametrize("state", sorted(UNSETTLED_PERMITS))
def test_from_every_unsettled_state_both_kinds_of_end_can_be_reached(state: PermitState) -> None:
    reached, edge = set(), {state}
    while edge:
        reached |= edge
        edge = {target for one in edge for target in PERMIT_MOVES[one]} - reached
    assert PermitState.EXECUTED in reached
    assert reached & ENDED_WITHOUT_EXECUTION


def test_only_what_was_sent_can_turn_out_to_be_executed() -> None:
    assert set(sources(PERMIT_MOVES, PermitState.EXECUTED)) == {PermitState.ARMED, PermitState.UNKNOWN}
    assert set(sources(PERMIT_MOVES, PermitState.NOT_EXECUTED)) == {PermitState.ARMED, PermitState.UNKNOWN}
    assert sources(PERMIT_MOVES, PermitState.VOID) == [PermitState.GRANTED]
    assert sources(PERMIT_MOVES, PermitState.GRANTED) == [PermitState.ARMED]


def test_an_ended_call_can_only_still_be_answered() -> None:
    assert {target for state in ENDED_CALLS for target in CALL_MOVES[state]} <= {CallState.ANSWERED}


def test_a_closed_or_void_trade_stays_so() -> None:
    assert not TRADE_MOVES[TradeStatus.CLOSED] | TRADE_MOVES[TradeStatus.VOID]
