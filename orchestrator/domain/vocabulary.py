"""The words of the domain, spelt once: engines, modes, states, kinds."""

from enum import StrEnum


class Engine(StrEnum):
    A = "A"
    B = "B"

    @property
    def other(self) -> "Engine":
        return Engine.B if self is Engine.A else Engine.A


class Direction(StrEnum):
    LONG = "long"
    SHORT = "short"


class AppMode(StrEnum):
    PAPER = "PAPER"
    LIVE = "LIVE"


class ExecutionMode(StrEnum):
    """What a policy row says happened."""

    SHADOW_ONLY = "SHADOW_ONLY"
    ENGINE_A_PRIMARY = "ENGINE_A_PRIMARY"
    ENGINE_B_PRIMARY = "ENGINE_B_PRIMARY"
    SPLIT_CAPITAL = "SPLIT_CAPITAL"


class RequestedMode(StrEnum):
    """What an operator asks for in the panel: AUTO, or one of the execution modes."""

    AUTO = "AUTO"
    SHADOW_ONLY = "SHADOW_ONLY"
    ENGINE_A_PRIMARY = "ENGINE_A_PRIMARY"
    ENGINE_B_PRIMARY = "ENGINE_B_PRIMARY"
    SPLIT_CAPITAL = "SPLIT_CAPITAL"


class ShadowEngine(StrEnum):
    A = "A"
    B = "B"
    BOTH = "BOTH"


class ReasonCode(StrEnum):
    HALTED = "HALTED"
    STALE_SIGNAL = "STALE_SIGNAL"
    ENGINE_A_UNAVAILABLE = "ENGINE_A_UNAVAILABLE"
    ENGINE_B_UNAVAILABLE = "ENGINE_B_UNAVAILABLE"
    CONFIGURED = "CONFIGURED"
    PAPER_ENGINE_A = "PAPER_ENGINE_A"
    LIVE_NEEDS_EXPLICIT_MODE = "LIVE_NEEDS_EXPLICIT_MODE"
    SPLIT = "SPLIT"


class CallKind(StrEnum):
    RECOMMENDATION = "RECOMMENDATION"
    SHADOW_TRADE = "SHADOW_TRADE"
    SHADOW_EXIT = "SHADOW_EXIT"


class CallState(StrEnum):
    PENDING = "PENDING"
    SENT = "SENT"
    ACCEPTED = "ACCEPTED"
    ANSWERED = "ANSWERED"
    FAILED = "FAILED"


class Action(StrEnum):
    OPEN = "OPEN"
    PASS = "PASS"  # noqa: S105 - a recommendation, not a password


class PermitState(StrEnum):
    GRANTED = "GRANTED"
    ARMED = "ARMED"
    EXECUTED = "EXECUTED"
    NOT_EXECUTED = "NOT_EXECUTED"
    UNKNOWN = "UNKNOWN"
    VOID = "VOID"


class TradeStatus(StrEnum):
    OPEN = "OPEN"
    CLOSED = "CLOSED"
    VOID = "VOID"


class Purpose(StrEnum):
    SHADOW = "SHADOW"
    TWIN = "TWIN"


class EventType(StrEnum):
    RECOMMENDATION_COMPLETED = "recommendation.completed"
    EXECUTION_FILLED = "execution.filled"
    EXECUTION_REJECTED = "execution.rejected"
    TRADE_EXITED = "trade.exited"


class Verdict(StrEnum):
    APPLIED = "APPLIED"
    DUPLICATE = "DUPLICATE"
    WAITING = "WAITING"
    CONFLICT = "CONFLICT"
    UNMATCHED = "UNMATCHED"


class IncidentKind(StrEnum):
    UNKNOWN_EXECUTION = "UNKNOWN_EXECUTION"
    UNAUTHORISED_EXECUTION = "UNAUTHORISED_EXECUTION"
    INPUT_HASH_MISMATCH = "INPUT_HASH_MISMATCH"
    UNMATCHED_EVENT = "UNMATCHED_EVENT"
    CONFLICTING_EVENT = "CONFLICTING_EVENT"
    CONFLICTING_ANSWER = "CONFLICTING_ANSWER"
    MISSING_EXIT_PRICE = "MISSING_EXIT_PRICE"
    EXPIRED_OPEN_TRADE = "EXPIRED_OPEN_TRADE"
    POISON_SIGNAL = "POISON_SIGNAL"
    POISON_WORK = "POISON_WORK"
    SIGNAL_GAP = "SIGNAL_GAP"
    SILENT_SOURCE = "SILENT_SOURCE"
    DATABASE_CHANGED = "DATABASE_CHANGED"
    DATABASE_NOT_DURABLE = "DATABASE_NOT_DURABLE"


class Severity(StrEnum):
    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"


class Channel(StrEnum):
    """The ways in which operators are told of a new incident."""

    MAIL = "MAIL"
    WEBHOOK = "WEBHOOK"


class Capability(StrEnum):
    """What an engine may claim: the first three by its settings, the others by speaking the contract at all."""

    IDEMPOTENT = "IDEMPOTENT"
    QUERYABLE = "QUERYABLE"
    HONOURS_NOT_AFTER = "HONOURS_NOT_AFTER"
    ECHOES_HASH = "ECHOES_HASH"
    VERIFIES_SIGNATURES = "VERIFIES_SIGNATURES"
    ANSWERS_IN_TIME = "ANSWERS_IN_TIME"
    SIGNS_EVENTS = "SIGNS_EVENTS"


class SyncState(StrEnum):
    PENDING = "PENDING"
    DONE = "DONE"
    NOT_APPLICABLE = "NOT_APPLICABLE"
    BLOCKED = "BLOCKED"
