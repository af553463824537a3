"""Incidents in plain words: what has happened, and what an operator should look at."""

from collections.abc import Mapping
from typing import Any

from orchestrator.domain.vocabulary import IncidentKind

# Per kind: what has happened, and what an operator should look at.
WORDS: Mapping[IncidentKind, tuple[str, str]] = {
    IncidentKind.UNKNOWN_EXECUTION: (
        "The order left for the engine and no usable answer came back: it may or may not have been executed. "
        "It is never sent again on a guess.",
        "Look for the permit id at the engine or the broker. The engine's own word settles this, whenever it comes; or yours.",
    ),
    IncidentKind.UNAUTHORISED_EXECUTION: (
        "An engine reported a real fill for which it held no permit. The trade is stored as what it is.",
        "Check the position at the broker at once, and why the engine traded without being asked.",
    ),
    IncidentKind.INPUT_HASH_MISMATCH: (
        "An engine hashed other bytes than it was sent, so its answer was not used: the comparison would not be fair.",
        "Compare the engine's own record of its input with the context's stored bytes.",
    ),
    IncidentKind.UNMATCHED_EVENT: (
        "An engine reported something about a permit, trade or experiment that is not known here. The message is kept.",
        "Find out to what the engine refers; it may be connected to another orchestrator.",
    ),
    IncidentKind.CONFLICTING_EVENT: (
        "An engine reported something that contradicts what is recorded. The first fact stands, the message is kept.",
        "Compare the message with the trade and with the engine's ledger.",
    ),
    IncidentKind.CONFLICTING_ANSWER: (
        "An engine answered the same question twice, differently. The first answer stands.",
        "Compare both answers; the engine does not keep to its own word.",
    ),
    IncidentKind.MISSING_EXIT_PRICE: (
        "The lead trade has exited, but no price is known at which this trade would have exited with it. "
        "A price is never invented.",
        "Find the contract's bid and ask at the exit time.",
    ),
    IncidentKind.EXPIRED_OPEN_TRADE: (
        "An option trade is still open although its contract has expired.",
        "Ask the engine or the broker how the position ended; an exit report may be missing.",
    ),
    IncidentKind.POISON_SIGNAL: (
        "Processing a signal failed again and again, so it was set aside; the other signals go on.",
        "Read the error below; the signal itself is stored unchanged.",
    ),
    IncidentKind.POISON_WORK: (
        "A step of an experiment failed again and again, so it was set aside; the other work goes on.",
        "Read the error below; nothing that was recorded is lost.",
    ),
    IncidentKind.SIGNAL_GAP: (
        "A strategy's alerts tell where its position was and where it is; between two neighbours it moved without an alert, "
        "so one never arrived.",
        "Look for it in TradingView's alert log, and check what the sender, the proxy and the rejected alerts say of that time. "
        "If it comes late, this closes by itself.",
    ),
    IncidentKind.SILENT_SOURCE: (
        "A source has sent nothing for longer than is usual for it at this time of the week.",
        "Check whether its alerts still run in TradingView: they expire, and they stop after errors. When it sends again, "
        "this closes by itself.",
    ),
    IncidentKind.DATABASE_CHANGED: (
        "The database is not the one that real trading went on with before: it was restored, or another server took "
        "over. What was sent last may be missing in it, so trading was halted.",
        "Compare the permits and trades of the last minutes with the engines' and the broker's own records, then lift "
        "the halt in the control panel.",
    ),
    IncidentKind.DATABASE_NOT_DURABLE: (
        "The database may forget what it has committed, so no order is sent: a forgotten permit could be sent twice.",
        "Set what is named to on (in postgresql.conf, or where the database is hosted) and restart the workers.",
    ),
}


def what_happened(kind: str, detail: Any) -> str:
    """Return an incident in a sentence: its own where it brought one (``detail["what"]``), else that of its kind."""
    said = detail.get("what") if isinstance(detail, Mapping) else None
    return said if isinstance(said, str) and said else WORDS[IncidentKind(kind)][0]


def what_to_do(kind: str) -> str:
    """Return what an operator should look at."""
    return WORDS[IncidentKind(kind)][1]
