"""When a trade ends: stop, target or time, judged on the price of the option at a later alert of its symbol."""

from datetime import timedelta
from decimal import Decimal

from orchestrator.engines.reference.plans import Plan

STOP_LOSS, TAKE_PROFIT, TIME_LIMIT = "stop_loss", "take_profit", "time_limit"


def exit_reason(plan: Plan, *, price: Decimal, elapsed: timedelta) -> str | None:
    """Return why the trade ends now, None when it goes on.

    :param price: of the option for one share; ``elapsed``: market time since entry, the difference of the signals'
        timestamps.
    """
    if price <= plan.stop_loss:
        return STOP_LOSS
    if price >= plan.take_profit:
        return TAKE_PROFIT
    if elapsed >= plan.longest:
        return TIME_LIMIT
    return None
