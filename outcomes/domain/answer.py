"""PURE: "which engine recommended this trade, and why did it execute?" in a sentence, for every state of an experiment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.domain.vocabulary import Action, CallState, Engine, PermitState

LONGEST_QUOTE = 200


@dataclass(frozen=True, slots=True)
class Side:
    """What one engine said. ``action`` is None without an answer; ``text`` is its reason, or why there is none."""

    engine: Engine
    action: Action | None
    call_state: CallState | None
    terms: Mapping[str, Any] | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Permission:
    """The permit as it stands; ``detail`` is the engine's or the operator's word on how it ended."""

    state: PermitState
    accepted: bool = False
    detail: str = ""


def answer(
    *,
    executed_engine: Engine | None,
    reason: str,
    sides: Mapping[Engine, Side],
    permit: Permission | None,
    unauthorised: Sequence[Engine] = (),
) -> str:
    """Return who recommended, who executed and why (requirement 5.5).

    :param executed_engine: whom the policy named, None under SHADOW_ONLY; ``reason``: the policy's own sentence.
    :param unauthorised: the engines that reported real trades without a permit.
    """
    if executed_engine is None:
        parts = [
            f"Nobody executed, both engines are shadows. Why: {reason}",
            *(_shadow(side) for side in sides.values()),
        ]
    else:
        parts = [
            _executed(sides[executed_engine], permit),
            f"Why this engine: {reason}",
            _shadow(sides[executed_engine.other]),
        ]
    parts += [f"Engine {engine} reported a real trade without a permit; see the incident." for engine in unauthorised]
    return " ".join(parts)


def proposal(terms: Mapping[str, Any]) -> str:
    """Return what an OPEN proposes in a few words: ``BUY 2 SPY260320C00590000 at 4.35``."""
    instrument = terms.get("instrument")
    contract = instrument.get("option_symbol") if isinstance(instrument, Mapping) else None
    return (
        f"{terms.get('side')} {terms.get('quantity')} {contract or terms.get('symbol')} at {terms.get('entry_price')}"
    )


def _executed(side: Side, permit: Permission | None) -> str:
    """Return what became of the engine that was to execute."""
    if side.action is None and side.call_state is CallState.FAILED:
        return f"Nobody executed: engine {side.engine} was to execute, but gave no usable answer{_quote(side.text)}."
    if side.action is None:
        return f"Still undecided: engine {side.engine} is to execute, but has not answered yet."
    if side.action is Action.PASS:
        return f"Nobody executed: engine {side.engine} was to execute, but passed{_quote(side.text)}."
    return _permitted(f"ngine {side.engine} recommended {proposal(side.terms or {})}", permit)


def _permitted(recommended: str, permit: Permission | None) -> str:
    """Return what became of the permit; ``recommended`` lacks its first letter, which may have to be a capital."""
    if permit is None:
        return f"Still undecided: e{recommended}, and its permit has not been granted yet."
    why = _quote(permit.detail)
    progress = "accepted, its fill is awaited" if permit.accepted else "sent, the engine's answer is awaited"
    return {
        PermitState.GRANTED: f"Still undecided: e{recommended} and may execute it; the order has not been sent yet.",
        PermitState.ARMED: f"Still undecided: e{recommended}, and the order was {progress}.",
        PermitState.EXECUTED: f"E{recommended} and executed it.",
        PermitState.NOT_EXECUTED: f"Nobody executed: e{recommended} and was permitted to execute it, but did not{why}.",
        PermitState.VOID: f"Nobody executed: e{recommended}, but its permit ended before an order was sent{why}.",
        PermitState.UNKNOWN: f"Unknown: e{recommended} and was sent the order, but whether it executed is not known{why}; "
        "an incident stays open until the engine or an operator says so.",
    }[permit.state]


def _shadow(side: Side) -> str:
    """Return what the engine that may not execute said."""
    if side.action is Action.OPEN:
        return f"Engine {side.engine} recommended {proposal(side.terms or {})}, followed as a shadow trade."
    if side.action is Action.PASS:
        return f"Engine {side.engine} passed{_quote(side.text)}."
    if side.call_state is CallState.FAILED:
        return f"Engine {side.engine} gave no usable answer{_quote(side.text)}."
    return f"Engine {side.engine} has not answered yet."


def _quote(text: str) -> str:
    text = " ".join(text.split()).rstrip(".")
    if not text:
        return ""
    return f" ({text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + '…'})"
