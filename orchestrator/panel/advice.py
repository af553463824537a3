"""What an operator may not expect of accepted settings: sentences that are shown, and never a reason to refuse."""

from django.conf import settings

from orchestrator.domain.operator_settings import LARGEST_SPLIT, SMALLEST_SPLIT
from orchestrator.domain.policy import Revision
from orchestrator.domain.vocabulary import AppMode, Engine, RequestedMode


def advice(revision: Revision) -> list[str]:
    """Return what is worth knowing about ``revision``, most important first; empty when it does what it says."""
    sentences = []
    mode = revision.execution_mode
    if revision.trading_halted:
        sentences.append("TRADING_HALTED is on: whatever EXECUTION_MODE says, nothing is traded.")
    if mode is RequestedMode.AUTO and revision.app_mode is AppMode.LIVE:
        sentences.append("AUTO with APP_MODE=LIVE trades nothing; choose a mode to trade with real money.")
    if mode is RequestedMode.SPLIT_CAPITAL and revision.split_percentage in {SMALLEST_SPLIT, LARGEST_SPLIT}:
        only = Engine.A if revision.split_percentage else Engine.B
        sentences.append(f"SPLIT_PERCENTAGE {revision.split_percentage} gives every signal to engine {only}.")
    sentences.extend(
        f"ENGINE_{engine}_URL is not set, so engine {engine} is unavailable and cannot be waited for: "
        "signals that need it are followed as shadow trades only."
        for engine in sorted(_needed(revision))
        if not settings.ENGINES[engine].url
    )
    return sentences


def _needed(revision: Revision) -> set[Engine]:
    """Return the engines without which nothing can be traded under ``revision``."""
    match revision.execution_mode:
        case RequestedMode.SHADOW_ONLY:
            return set()
        case RequestedMode.ENGINE_B_PRIMARY:
            return set(Engine)
        case RequestedMode.SPLIT_CAPITAL if revision.split_percentage < LARGEST_SPLIT:
            return set(Engine)
        case _:
            return {Engine.A}
