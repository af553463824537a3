"""Following open trades: each newer alert of a symbol prices them all, and those that end are reported."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from orchestrator.domain.amounts import decimal_string
from orchestrator.domain.moments import moment_string, read_moment
from orchestrator.engines.reference.events import record_event
from orchestrator.engines.reference.exits import exit_reason
from orchestrator.engines.reference.fills import fees, quote, sold_at
from orchestrator.engines.reference.plans import Plan, read_plan


@dataclass(frozen=True, slots=True)
class Position:
    """An open trade as the engine follows it; a real one has its external_id as ``position_id``."""

    position_id: str
    real: bool
    experiment_id: str
    plan: Plan
    quantity: int
    entry_time: datetime
    market_time: datetime


def open_position(ledger: sqlite3.Connection, position: Position, *, entry_price: Decimal) -> None:
    """Begin to follow a trade; one that is known already stays as it is."""
    ledger.execute(
        "INSERT OR IGNORE INTO positions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'OPEN')",
        (
            position.position_id,
            "REAL" if position.real else "SHADOW",
            position.experiment_id,
            position.plan.symbol,
            str(entry_price),
            moment_string(position.entry_time),
            position.quantity,
            moment_string(position.market_time),
            moment_string(position.market_time),
        ),
    )


def follow_positions(
    ledger: sqlite3.Connection, *, engine: str, symbol: str, spot: Decimal, market_time: datetime, at: datetime
) -> None:
    """Price the open trades of ``symbol`` at an alert and end those that have come to their stop, target or time.

    :param spot: price of the underlying; ``market_time``: the alert's timestamp; ``at``: the engine's clock.
    """
    positions = _move_on(ledger, symbol, market_time=market_time)
    prices = [one.plan.value(spot=spot, elapsed=_elapsed(one, market_time)) for one in positions]
    quotes = {one.plan.contract.option_symbol: quote(price) for one, price in zip(positions, prices, strict=True)}
    for position, price in zip(positions, prices, strict=True):
        reason = exit_reason(position.plan, price=price, elapsed=_elapsed(position, market_time))
        if reason is not None:
            own_quote = {position.plan.contract.option_symbol: quote(price)}
            conditions = {"underlying_price": decimal_string(spot), "quotes": quotes | own_quote}
            data = _exit_data(position, price=price, reason=reason, market_conditions=conditions, at=at)
            _record_exit(ledger, position, data, engine=engine, market_time=market_time, at=at)


def _exit_data(
    position: Position, *, price: Decimal, reason: str, market_conditions: dict[str, Any], at: datetime
) -> dict[str, Any]:
    """Return the data of trade.exited. A real trade pays slippage and fee, a shadow trade has neither."""
    return {
        "experiment_id": position.experiment_id,
        "trade": {"external_id": position.position_id} if position.real else None,
        "exit_price": str(sold_at(price) if position.real else price),
        "exit_time": moment_string(max(at, position.entry_time)),
        "exit_reason": reason,
        "fees": str(fees(position.quantity)) if position.real else "0.00",
        "market_conditions": market_conditions,
    }


def _record_exit(
    ledger: sqlite3.Connection,
    position: Position,
    data: dict[str, Any],
    *,
    engine: str,
    market_time: datetime,
    at: datetime,
) -> None:
    ledger.execute(
        "INSERT INTO exits VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            position.position_id,
            position.experiment_id,
            data["exit_price"],
            data["exit_time"],
            data["exit_reason"],
            moment_string(market_time),
            json.dumps(data),
        ),
    )
    ledger.execute("UPDATE positions SET status = 'EXITED' WHERE position_id = ?", (position.position_id,))
    record_event(ledger, message_id=f"{engine}-exit-{position.position_id}", kind="trade.exited", data=data, at=at)


def _move_on(ledger: sqlite3.Connection, symbol: str, *, market_time: datetime) -> Sequence[Position]:
    """Return the open trades for which ``market_time`` is new, and note that they have been there.

    Alerts can overtake each other on their way here; one that is older than what a trade has seen does not move it.
    """
    now = moment_string(market_time)
    rows = ledger.execute(
        "SELECT positions.*, answers.body AS answer FROM positions JOIN answers USING (experiment_id)"
        " WHERE symbol = ? AND status = 'OPEN' AND judged_signal_at < ? ORDER BY entered_signal_at, positions.rowid",
        (symbol, now),
    ).fetchall()
    ledger.execute(
        "UPDATE positions SET judged_signal_at = ? WHERE symbol = ? AND status = 'OPEN' AND judged_signal_at < ?",
        (now, symbol, now),
    )
    return [
        Position(
            position_id=row["position_id"],
            real=row["kind"] == "REAL",
            experiment_id=row["experiment_id"],
            plan=read_plan(json.loads(row["answer"])["recommendation"]),
            quantity=row["quantity"],
            entry_time=read_moment(row["entry_time"], name="entry_time"),
            market_time=read_moment(row["entered_signal_at"], name="entered_signal_at"),
        )
        for row in rows
    ]


def _elapsed(position: Position, market_time: datetime) -> timedelta:
    return market_time - position.market_time
