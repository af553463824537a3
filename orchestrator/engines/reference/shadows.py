"""Shadow trades: an engine is told of its own, follows it, and says what it is worth when the lead closes it."""

from datetime import datetime
from decimal import Decimal, InvalidOperation

from orchestrator.domain.moments import moment_string
from orchestrator.engines.reference.alerts import amount, identifier, member, moment, read_body
from orchestrator.engines.reference.following import Position, open_position
from orchestrator.engines.reference.ledger import Ledger
from orchestrator.engines.reference.questions import last_seen, own_plan


class UnknownExperiment(LookupError):
    """This engine recommended nothing for that experiment, so it has no shadow trade to follow."""


def follow_shadow_trade(ledger: Ledger, body: bytes, *, at: datetime) -> str:
    """Begin to follow the shadow trade in ``body`` and return its trade_id; the second time changes nothing.

    :raises UnreadableBody: when the body is not a shadow trade.
    :raises UnknownExperiment: when there is no own recommendation behind it.
    """
    told = read_body(body)
    trade_id, experiment_id = identifier(told, "trade_id"), identifier(told, "experiment_id")
    entry_price, entry_time = amount(told, "entry_price"), moment(told, "entry_time")
    quantity = amount(told, "quantity", above=True)
    member(told, "recommendation")
    with ledger.transaction() as tx:
        known = own_plan(tx, experiment_id)
        if known is None:
            raise UnknownExperiment(f"this engine recommended no trade for experiment {experiment_id}")
        plan, market_time = known
        tx.execute(
            "INSERT INTO shadow_trades (trade_id, experiment_id, body, requests, told_at) VALUES (?, ?, ?, 1, ?)"
            " ON CONFLICT (trade_id) DO UPDATE SET requests = requests + 1, body = coalesce(body, excluded.body),"
            " told_at = coalesce(told_at, excluded.told_at)",
            (trade_id, experiment_id, body, moment_string(at)),
        )
        closed = "SELECT 1 FROM shadow_trades WHERE trade_id = ? AND exit_told_at IS NOT NULL"
        if not tx.execute(closed, (trade_id,)).fetchone():
            position = Position(trade_id, False, experiment_id, plan, int(quantity), entry_time, market_time)
            open_position(tx, position, entry_price=entry_price)
    return trade_id


def close_shadow_trade(ledger: Ledger, trade_id: str, body: bytes, *, at: datetime) -> str | None:
    """Stop following a shadow trade that its lead has closed; return the engine's own price of its contract then.

    The underlying is that of the told market_conditions, so that the follower exits under the same ones (requirement
    4.2), else the last one seen. None when the engine knows no contract or no price. The second time returns the same.

    :raises UnreadableBody: when the body is not an exit.
    """
    told = read_body(body)
    experiment_id = identifier(told, "experiment_id")
    moment(told, "exit_time")
    underlying = _positive(member(told, "market_conditions").get("underlying_price"))
    with ledger.transaction() as tx:
        tx.execute(
            "INSERT INTO shadow_trades (trade_id, experiment_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (trade_id, experiment_id),
        )
        row = tx.execute(
            "SELECT exit_told_at, exit_price FROM shadow_trades WHERE trade_id = ?", (trade_id,)
        ).fetchone()
        price: str | None = row["exit_price"]
        known, first = own_plan(tx, experiment_id), row["exit_told_at"] is None
        if first and known is not None:
            plan, market_time = known
            seen = last_seen(tx, plan.symbol)
            if seen is not None:
                price = str(plan.value(spot=underlying or seen.price, elapsed=seen.at - market_time))
        tx.execute(
            "UPDATE shadow_trades SET exit_requests = exit_requests + 1, exit_body = coalesce(exit_body, ?),"
            " exit_told_at = coalesce(exit_told_at, ?), exit_price = ? WHERE trade_id = ?",
            (body, moment_string(at), price, trade_id),
        )
        tx.execute(
            "UPDATE positions SET status = 'CLOSED_BY_LEAD' WHERE position_id = ? AND status = 'OPEN'", (trade_id,)
        )
    return price


def _positive(value: object) -> Decimal | None:
    """Return a price told by somebody else's engine, None when it is none that can be used."""
    try:
        price = Decimal(value) if isinstance(value, str) else Decimal(0)
    except InvalidOperation:
        return None
    return price if price.is_finite() and 0 < price < 10**12 else None
