"""Executing a permit: at most one fill for it, ever; the same permit again gets the same answer."""

import json
import sqlite3
from collections.abc import Callable
from datetime import datetime
from typing import Any

from orchestrator.domain.moments import moment_string
from orchestrator.engines.reference.alerts import UnreadableBody, identifier, member, moment, read_body
from orchestrator.engines.reference.fills import bought_at, fees
from orchestrator.engines.reference.following import Position, open_position
from orchestrator.engines.reference.ledger import Ledger
from orchestrator.engines.reference.profiles import Profile
from orchestrator.engines.reference.questions import own_plan, own_recommendation


class OtherExecution(ValueError):
    """The permit was used before for another experiment."""


def execute_permit(profile: Profile, ledger: Ledger, body: bytes, *, clock: Callable[[], datetime]) -> str:
    """Fill or reject a permit and return the answer; what was answered once stays so.

    :param clock: the engine's. It is read when the ledger is ours, so that no wait carries a fill past ``not_after``.
    :raises UnreadableBody: when the body is not an execution; nothing was done then.
    :raises OtherExecution: when the permit belongs to another experiment.
    """
    order = read_body(body)
    permit_id, experiment_id = identifier(order, "permit_id"), identifier(order, "experiment_id")
    not_after, recommendation = moment(order, "not_after"), member(order, "recommendation")
    if order.get("app_mode") not in {"PAPER", "LIVE"}:
        raise UnreadableBody("app_mode is missing or unknown; accepted is PAPER or LIVE")
    with ledger.transaction() as tx:
        at = clock()
        answered = _answered_before(tx, permit_id, experiment_id, at=at)
        if answered is not None:
            return answered
        reason = _why_not(tx, experiment_id, recommendation, app_mode=order["app_mode"], not_after=not_after, at=at)
        external_id = f"{profile.name}-{permit_id}" if reason is None else None
        if external_id is None:
            answer: dict[str, Any] = {"permit_id": permit_id, "status": "REJECTED", "reason": reason}
        else:
            answer = _filled(tx, permit_id, experiment_id, external_id=external_id, at=at)
        told, now = json.dumps(answer), moment_string(at)
        tx.execute(
            "INSERT INTO executions (permit_id, experiment_id, body, not_after, first_received_at, last_received_at,"
            " status, external_id, answer) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (permit_id, experiment_id, body, moment_string(not_after), now, now, answer["status"], external_id, told),
        )
    return told


def execution_report(ledger: Ledger, permit_id: str) -> dict[str, Any] | None:
    """Return what was answered for a permit, with its exit once it has exited; None when it was never seen."""
    with ledger.transaction() as tx:
        row = tx.execute(
            "SELECT answer, data FROM executions LEFT JOIN exits ON position_id = external_id WHERE permit_id = ?",
            (permit_id,),
        ).fetchone()
    if row is None:
        return None
    report: dict[str, Any] = json.loads(row["answer"])
    return report if row["data"] is None else report | {"exit": json.loads(row["data"])}


def _answered_before(ledger: sqlite3.Connection, permit_id: str, experiment_id: str, *, at: datetime) -> str | None:
    """Count a repeated attempt and return what the first one was answered; None for the first."""
    known = ledger.execute("SELECT experiment_id, answer FROM executions WHERE permit_id = ?", (permit_id,)).fetchone()
    if known is None:
        return None
    if known["experiment_id"] != experiment_id:
        raise OtherExecution(f"permit {permit_id} belongs to experiment {known['experiment_id']}")
    ledger.execute(
        "UPDATE executions SET attempts = attempts + 1, last_received_at = ? WHERE permit_id = ?",
        (moment_string(at), permit_id),
    )
    return str(known["answer"])


def _why_not(
    ledger: sqlite3.Connection,
    experiment_id: str,
    recommendation: dict[str, Any],
    *,
    app_mode: str,
    not_after: datetime,
    at: datetime,
) -> str | None:
    """Return why the order is rejected, None when it is filled."""
    own = own_recommendation(ledger, experiment_id)
    filled = "SELECT permit_id FROM executions WHERE experiment_id = ? AND status = 'FILLED'"
    if at > not_after:
        return f"It arrived at {moment_string(at)}, after its not_after of {moment_string(not_after)}."
    if app_mode == "LIVE":
        return "This reference engine fills on paper only; it has no broker and takes no real money."
    if own is None:
        return "This engine did not recommend a trade for this experiment."
    if own != recommendation:
        return "The recommendation in the order is not the one that this engine made."
    if ledger.execute(filled, (experiment_id,)).fetchone():
        return "This experiment was executed under another permit."
    return None


def _filled(
    ledger: sqlite3.Connection, permit_id: str, experiment_id: str, *, external_id: str, at: datetime
) -> dict[str, Any]:
    """Open the real trade and return the answer."""
    known = own_plan(ledger, experiment_id)
    if known is None:
        raise LookupError(experiment_id)
    plan, market_time = known
    entry_price = bought_at(plan.entry_price)
    open_position(
        ledger,
        Position(external_id, True, experiment_id, plan, plan.quantity, entry_time=at, market_time=market_time),
        entry_price=entry_price,
    )
    return {
        "permit_id": permit_id,
        "status": "FILLED",
        "trade": {
            "external_id": external_id,
            "entry_price": str(entry_price),
            "entry_time": moment_string(at),
            "quantity": str(plan.quantity),
            "fees": str(fees(plan.quantity)),
        },
    }
