"""The execution policy, version v1.0: who executes, who follows, and why. A pure function of what it is given."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.domain.vocabulary import AppMode, Engine, ExecutionMode, ReasonCode, RequestedMode, ShadowEngine

RULES_VERSION = "v1.0"


@dataclass(frozen=True, slots=True)
class Revision:
    """What operators asked for, as one numbered snapshot. ``max_signal_age_seconds`` in seconds, split 0 to 100 percent."""

    number: int
    execution_mode: RequestedMode
    split_percentage: int
    trading_halted: bool
    max_signal_age_seconds: int
    app_mode: AppMode

    @property
    def policy_version(self) -> str:
        return f"{RULES_VERSION}-r{self.number}"


@dataclass(frozen=True, slots=True)
class Availability:
    """The stored fact about one engine's health that a decision relies on; ``checked_at`` is None when never probed."""

    ok: bool
    checked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Decision:
    execution_mode: ExecutionMode
    executed_engine: Engine | None
    shadow_engine: ShadowEngine
    reason_code: ReasonCode
    reason: str


def decide(  # noqa: PLR0911 - one return per row of the table of rules
    revision: Revision, variant: Engine, availability: Mapping[Engine, Availability], signal_age_seconds: float
) -> Decision:
    """Return who may execute one signal: the first rule that applies (requirements 3.1 to 3.5, 12.3, 12.4).

    :param signal_age_seconds: database clock at the decision minus the time of receipt, in seconds; equal is not older.
    """
    requested = revision.execution_mode
    if revision.trading_halted:
        return _shadow_only(ReasonCode.HALTED, "Trading is halted in the panel, so nobody executes.")
    if signal_age_seconds > revision.max_signal_age_seconds:
        return _shadow_only(
            ReasonCode.STALE_SIGNAL,
            f"The signal was {signal_age_seconds:.3f} s old at the decision; "
            f"at most {revision.max_signal_age_seconds} s are allowed.",
        )
    if not availability[Engine.A].ok:
        return _shadow_only(ReasonCode.ENGINE_A_UNAVAILABLE, "Engine A is unavailable, so there is nothing to compare.")
    if requested is RequestedMode.SHADOW_ONLY:
        return _shadow_only(ReasonCode.CONFIGURED, "The panel asks for SHADOW_ONLY.")
    if requested is RequestedMode.AUTO:
        if revision.app_mode is AppMode.LIVE:
            return _shadow_only(
                ReasonCode.LIVE_NEEDS_EXPLICIT_MODE, "The panel says AUTO; with real money a mode must be chosen."
            )
        return _execute(
            ExecutionMode.ENGINE_A_PRIMARY,
            Engine.A,
            ReasonCode.PAPER_ENGINE_A,
            "The panel says AUTO, APP_MODE is PAPER and engine A is available, so engine A executes.",
        )
    executed = {RequestedMode.ENGINE_A_PRIMARY: Engine.A, RequestedMode.ENGINE_B_PRIMARY: Engine.B}.get(
        requested, variant
    )
    if not availability[executed].ok:
        return _shadow_only(ReasonCode.ENGINE_B_UNAVAILABLE, f"Engine {executed} would execute, but it is unavailable.")
    if requested is RequestedMode.SPLIT_CAPITAL:
        return _execute(
            ExecutionMode.SPLIT_CAPITAL,
            executed,
            ReasonCode.SPLIT,
            f"SPLIT_CAPITAL gives engine A {revision.split_percentage} % of the signals; "
            f"this one is assigned to engine {executed}.",
        )
    return _execute(
        ExecutionMode(requested.value), executed, ReasonCode.CONFIGURED, f"The panel asks for {requested.value}."
    )


def decision_inputs(
    revision: Mapping[str, Any], variant: Engine, availability: Mapping[Engine, Availability], signal_age_seconds: float
) -> dict[str, Any]:
    """Return everything that a decision saw, as it is stored in ``execution_policies.inputs``."""
    return {
        "revision": dict(revision),
        "variant": variant.value,
        "availability": {
            engine.value: {"ok": fact.ok, "checked_at": fact.checked_at and fact.checked_at.isoformat()}
            for engine, fact in availability.items()
        },
        "signal_age_seconds": signal_age_seconds,
    }


def decide_again(inputs: Mapping[str, Any]) -> Decision:
    """Return the decision that stored inputs lead to; replay compares it with the stored one (requirement 6.1).

    :raises (KeyError, ValueError, TypeError): when the inputs are not what ``decision_inputs`` writes.
    """
    row = inputs["revision"]
    revision = Revision(
        number=row["number"],
        execution_mode=RequestedMode(row["execution_mode"]),
        split_percentage=row["split_percentage"],
        trading_halted=row["trading_halted"],
        max_signal_age_seconds=row["max_signal_age_seconds"],
        app_mode=AppMode(row["app_mode"]),
    )
    availability = {
        engine: Availability(
            ok=inputs["availability"][engine.value]["ok"],
            checked_at=None,
        )
        for engine in Engine
    }
    return decide(revision, Engine(inputs["variant"]), availability, inputs["signal_age_seconds"])


def _shadow_only(code: ReasonCode, reason: str) -> Decision:
    return Decision(ExecutionMode.SHADOW_ONLY, None, ShadowEngine.BOTH, code, reason)


def _execute(mode: ExecutionMode, executed: Engine, code: ReasonCode, reason: str) -> Decision:
    return Decision(mode, executed, ShadowEngine(executed.other.value), code, reason)
