"""What an operator may not expect of accepted settings: sentences that are shown, and never a reason to refuse."""

from orchestrator.domain.operator_settings import LARGEST_SPLIT, SMALLEST_SPLIT
from orchestrator.domain.policy import Revision
from orchestrator.domain.vocabulary import AppMode, Engine, RequestedMode
from orchestrator.policies import current_availability
from orchestrator.queue import database_clock


def advice(revision: Revision) -> list[str]:
    """Return what is worth knowing about ``revision`` at this moment; empty when it does what it says."""
    mode = revision.execution_mode
    sentences = []
    if revision.trading_halted:
        sentences.append("TRADING_HALTED is on: whatever EXECUTION_MODE says, nothing is traded.")
    if mode is RequestedMode.AUTO and revision.app_mode is AppMode.LIVE:
        sentences.append("AUTO with APP_MODE=LIVE trades nothing; choose a mode to trade with real money.")
    if mode is RequestedMode.SPLIT_CAPITAL and revision.split_percentage in {SMALLEST_SPLIT, LARGEST_SPLIT}:
        only = Engine.A if revision.split_percentage == LARGEST_SPLIT else Engine.B
        sentences.append(f"SPLIT_PERCENTAGE {revision.split_percentage} gives every signal to engine {only}.")
    return sentences + _about_engines(revision)


def _about_engines(revision: Revision) -> list[str]:
    """Say which engine that is needed was not seen by the last probes; a decision would see the same."""
    if revision.execution_mode is RequestedMode.SHADOW_ONLY:
        return []
    availability = current_availability(at=database_clock())
    if not availability[Engine.A].ok:
        return ["Engine A is not known to be available at this moment; until it is, nothing is traded in any mode."]
    may_trade = revision.execution_mode is RequestedMode.ENGINE_B_PRIMARY or (
        revision.execution_mode is RequestedMode.SPLIT_CAPITAL and revision.split_percentage < LARGEST_SPLIT
    )
    if may_trade and not availability[Engine.B].ok:
        return [
            "Engine B is not known to be available at this moment; until it is, "
            "the signals that it would trade are followed as shadow trades only."
        ]
    return []
