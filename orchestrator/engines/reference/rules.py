"""Engine A: the alert's direction, filtered by what the alert itself carries.

The rules, in order; the first that fits decides:

1. No price of the underlying: PASS.
2. Average true range below 0.9 % of the price: PASS, too quiet to earn an option's premium back.
3. RSI outside 42 to 70 for a long, or outside 30 to 58 for a short: PASS, exhausted or not turned yet.
4. Otherwise buy the call (long) or put (short) nearest to the money for up to 10 000, but at least one contract; sell
   it at half its price, at one and a half times its price, or after 21 days of market time.

An indicator that the alert does not carry filters nothing.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

from orchestrator.engines.reference.alerts import Alert, SeenPrice
from orchestrator.engines.reference.plans import Pass, Plan
from orchestrator.engines.reference.purchases import Terms, plan_purchase
from orchestrator.engines.reference.volatility import volatility_from_range

QUIETEST_RANGE = Decimal("0.009")
RSI_WINDOW = {"long": (Decimal(42), Decimal(70)), "short": (Decimal(30), Decimal(58))}
TERMS = Terms(budget=Decimal(10_000), stop="0.50", target="1.50", longest=timedelta(days=21))


def decide_by_rules(alert: Alert, seen: Sequence[SeenPrice], *, today: date) -> Plan | Pass:
    """Return engine A's decision on ``alert``; what was ``seen`` before does not matter to it."""
    if alert.price is None:
        return Pass("The alert carries no price of the underlying, and none was given.")
    atr, rsi = alert.indicator("atr"), alert.indicator("rsi")
    if atr is not None and atr < QUIETEST_RANGE * alert.price:
        return Pass(f"Too quiet: the average true range of {atr:.2f} is below 0.9 % of the price.")
    lowest, highest = RSI_WINDOW[alert.direction]
    if rsi is not None and not lowest <= rsi <= highest:
        return Pass(f"RSI {rsi:.2f} is outside {lowest} to {highest}, where a {alert.direction} is taken.")
    price = alert.price
    return plan_purchase(
        alert,
        price,
        TERMS,
        volatility=lambda: volatility_from_range(atr, price),
        confidence=_confidence(alert.direction, rsi),
        rationale=(
            f"Rules: {alert.direction} as alerted"
            + (f", RSI {rsi:.2f} within {lowest} to {highest}" if rsi is not None else "")
            + (f", average true range {atr:.2f}" if atr is not None else "")
            + "; nearest to the money."
        ),
        today=today,
    )


def _confidence(direction: str, rsi: Decimal | None) -> Decimal:
    """Return 0.50 without an RSI, else 0.50 to 0.90: the further beyond 50 in the trade's direction, the surer."""
    if rsi is None:
        return Decimal("0.50")
    beyond = (rsi - 50) if direction == "long" else (50 - rsi)
    return (Decimal("0.50") + min(Decimal(20), max(Decimal(0), beyond)) / 50).quantize(Decimal("0.01"))
