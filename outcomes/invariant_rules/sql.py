"""What the rules are made of: a named query, and the expressions that several of them share."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """``name`` is what is promised, ``query`` selects the rows that break it, with what helps an operator to find them.

    ``%(grace)s`` is the number of seconds after which work that is due must have been taken up: the lease plus the
    longest back-off. Any other percent sign is doubled.
    """

    name: str
    query: str


def sha256(text: str) -> str:
    """Return the expression for the hash of a text, 64 hex digits."""
    return f"encode(sha256(convert_to({text}, 'UTF8')), 'hex')"


def bucket(digest: str) -> str:
    """Return the expression for the bucket, 0 to 99, of an assignment hash."""
    high, low = (f"('x' || substr({digest}, {start}, 8))::bit(32)::bigint::numeric" for start in (1, 9))
    return f"mod({high} * 4294967296 + {low}, 100)"


def derived(source: str, digest: str) -> str:
    """Return the expression for the UUIDv8 of the time of one id and the bytes of one hash (DESIGN §5)."""
    return (
        f"(substr(replace({source}::text, '-', ''), 1, 12) || '8' || substr({digest}, 2, 1) || substr({digest}, 3, 2)"
        f" || translate(substr({digest}, 5, 1), '0123456789abcdef', '89ab89ab89ab89ab') || substr({digest}, 6, 15))::uuid"
    )


def a_worker_was_there(due: str) -> str:
    """Return the condition that one worker has been alive for the whole grace period that began at ``due``."""
    return (
        "EXISTS (SELECT FROM worker_heartbeats AS worker"
        f" WHERE GREATEST(worker.started_at, {due}) + make_interval(secs => %(grace)s) < worker.beat_at)"
    )


# Every trade of either kind with its outcome; a trade without one, and an outcome without a trade, are in it as well.
ALL_TRADES = """(SELECT 'real' AS kind, trade_id, trade.experiment_id, trade.engine, trade.status, trade.terms,
           trade.entry_price, trade.entry_time, trade.quantity, outcome.outcome_id,
           outcome.experiment_id AS outcome_experiment_id, outcome.engine AS outcome_engine, outcome.side,
           outcome.entry_price AS outcome_entry_price, outcome.exit_price, outcome.quantity AS outcome_quantity,
           outcome.multiplier, outcome.fees, outcome.pnl, outcome.entry_time AS outcome_entry_time, outcome.exit_time,
           outcome.exit_reason, outcome.market_conditions, trade.authorised
      FROM real_trades AS trade FULL JOIN real_trade_outcomes AS outcome USING (trade_id)
    UNION ALL
    SELECT 'shadow', trade_id, trade.experiment_id, trade.engine, trade.status, trade.terms,
           trade.entry_price, trade.entry_time, trade.quantity, outcome.outcome_id,
           outcome.experiment_id, outcome.engine, outcome.side,
           outcome.entry_price, outcome.exit_price, outcome.quantity,
           outcome.multiplier, outcome.fees, outcome.pnl, outcome.entry_time, outcome.exit_time,
           outcome.exit_reason, outcome.market_conditions, NULL
      FROM shadow_trades AS trade FULL JOIN shadow_trade_outcomes AS outcome USING (trade_id))"""
