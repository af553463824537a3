"""PURE: was the comparison of one experiment fair? One finding per rule; what cannot be judged yet is neither fair nor unfair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from orchestrator.domain.engine_input import SCHEMA
from orchestrator.domain.vocabulary import Engine

INPUT_MEMBERS = {
    "": {"schema", "experiment_id", "signal", "market_context"},
    "signal": {"signal_id", "signal_hash", "symbol", "direction", "timeframe", "timestamp", "raw_payload"},
    "market_context": {"symbol", "timestamp", "current_price", "bid", "ask", "volume", "indicators"},
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule: ``holds`` is None while what it is about has not happened."""

    check: str
    holds: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class Question:
    """How one engine was asked. ``sent_hash`` is that of the bytes that it got, ``echo`` what it says it got."""

    sent_hash: str | None
    echo: str | None
    answered_at: datetime | None


@dataclass(frozen=True, slots=True)
class Fill:
    """One simulated trade as it counts in the pair, beside what its engine recommended."""

    entry_price: Decimal
    quantity: Decimal
    recommended_price: Decimal
    recommended_quantity: Decimal


@dataclass(frozen=True, slots=True)
class Exit:
    """When and under which market conditions a trade was closed."""

    at: datetime
    market_conditions: Any


def is_fair(findings: Sequence[Finding]) -> bool | None:
    """Return False when a rule was broken, None while one cannot be judged, else True."""
    if any(finding.holds is False for finding in findings):
        return False
    return None if any(finding.holds is None for finding in findings) else True


def same_input(context_hash: str, questions: Mapping[Engine, Question]) -> Finding:
    """Judge whether both engines were sent the very bytes that are stored (requirement 1.3)."""
    sent = {engine: question.sent_hash for engine, question in questions.items()}
    wrong = [engine for engine in Engine if sent.get(engine) != context_hash]
    if wrong:
        return Finding("same_input", False, f"Engine {' and '.join(wrong)} was sent bytes of another hash.")
    return Finding("same_input", True, "Both engines were sent the same stored bytes.")


def echoed(context_hash: str, questions: Mapping[Engine, Question]) -> Finding:
    """Judge whether each engine hashed the bytes that it was sent: its own word that nothing changed on the way."""
    echoes = {engine: questions[engine].echo if engine in questions else None for engine in Engine}
    wrong = [engine for engine, echo in echoes.items() if echo not in (None, context_hash)]
    if wrong:
        return Finding("echoed", False, f"Engine {' and '.join(wrong)} answered for bytes of another hash.")
    silent = [engine for engine, echo in echoes.items() if echo is None]
    if silent:
        return Finding("echoed", None, f"Engine {' and '.join(silent)} has not echoed the hash of its input.")
    return Finding("echoed", True, "Both engines echoed the hash of the stored bytes.")


def blind(engine_input: Mapping[str, Any]) -> Finding:
    """Judge whether the input has the members of its schema and no other: no mode, role, variant or engine."""
    extra = [
        f"{part}.{name}".lstrip(".")
        for part, known in INPUT_MEMBERS.items()
        for name in sorted(set(engine_input.get(part, {}) if part else engine_input) - known)
    ]
    if extra or engine_input.get("schema") != SCHEMA:
        return Finding("blind", False, f"The input is not {SCHEMA}: {', '.join(extra) or 'its schema differs'}.")
    return Finding("blind", True, "Nothing in the input says who may trade.")


def decided_first(decided_at: datetime, questions: Mapping[Engine, Question]) -> Finding:
    """Judge whether the policy was decided before any engine answered, so that no answer could sway it."""
    answers = [question.answered_at for question in questions.values() if question.answered_at]
    if not answers:
        return Finding("decided_first", None, "No engine has answered yet.")
    if min(answers) < decided_at:
        return Finding("decided_first", False, "An engine had answered before it was decided who executes.")
    return Finding("decided_first", True, "It was decided who executes before any engine had answered.")


def nothing_from_the_future(quoted_at: datetime | None, timestamp: datetime) -> Finding:
    """Judge whether the quote that filled gaps was known at the signal's time: later knowledge would be a look ahead."""
    if quoted_at is None:
        return Finding(
            "nothing_from_the_future", True, "The market context holds what the alert carried, and no quote."
        )
    seconds = (timestamp - quoted_at).total_seconds()
    if seconds < 0:
        return Finding("nothing_from_the_future", False, f"The quote is {-seconds:g} s younger than the signal.")
    return Finding("nothing_from_the_future", True, f"The quote was {seconds:g} s old at the signal's time.")


def recomputes(what: Sequence[str]) -> Finding:
    """Judge whether every hash, id, variant and decision follows again from what is stored; ``what`` names those that do not."""
    if what:
        return Finding("recomputes", False, f"Recomputed from storage, these differ: {', '.join(what)}.")
    return Finding("recomputes", True, "Every hash, id, the variant and the decision follow again from what is stored.")


def one_executor(permitted: Engine | None, real_trades: Sequence[Engine]) -> Finding:
    """Judge whether at most the permitted engine placed a real trade, and at most one (requirement 3.5)."""
    if [engine for engine in real_trades if engine is not permitted] or len(real_trades) > 1:
        return Finding("one_executor", False, f"Real trades of engine {', '.join(real_trades)} are recorded.")
    return Finding("one_executor", True, f"Real trades: {f'one, of engine {permitted}' if real_trades else 'none'}.")


def one_fill_basis(fills: Mapping[Engine, Fill], passed: Sequence[Engine]) -> Finding:
    """Judge whether both sides of the pair were entered by one rule: at the recommended price and quantity."""
    waiting = [engine for engine in Engine if engine not in fills and engine not in passed]
    wrong = [
        engine
        for engine, fill in fills.items()
        if (fill.entry_price, fill.quantity) != (fill.recommended_price, fill.recommended_quantity)
    ]
    if wrong:
        return Finding("one_fill_basis", False, f"Engine {' and '.join(wrong)}: not entered on its recommended terms.")
    if waiting:
        return Finding("one_fill_basis", None, f"Engine {' and '.join(waiting)} has no side in the pair yet.")
    return Finding(
        "one_fill_basis", True, "Each side counts as simulated on its own recommended terms; a pass counts 0."
    )


def same_exit(exits: Mapping[Engine, Exit], expected: Sequence[Engine]) -> Finding:
    """Judge whether all simulated trades left at one instant under the same market conditions (requirement 4.2)."""
    open_ones = [engine for engine in expected if engine not in exits]
    found = list(exits.values())
    if any((other.at, other.market_conditions) != (found[0].at, found[0].market_conditions) for other in found[1:]):
        return Finding("same_exit", False, "The trades left at different times or under different market conditions.")
    if open_ones:
        return Finding("same_exit", None, f"The trade of engine {' and '.join(open_ones)} is still open.")
    if not found:
        return Finding("same_exit", True, "There was no trade to leave.")
    return Finding("same_exit", True, "All trades left at the same time under the same market conditions.")
