"""Engine B: four simple agents vote on the alert's direction; a majority for it opens, anything else is a PASS.

- the messenger votes as the alert says;
- momentum votes with the change over the last three prices seen of that symbol;
- mean reversion votes against a price more than 1.5 standard deviations from the mean of the last ten seen;
- trend votes with the side of the slow average on which the price stands (the alert's `sma_slow` or `sma`, else the
  mean of the last ten seen).

An agent without enough to go by abstains. With three votes or more beyond the contrary ones the contract is one strike
out of the money, else nearest to the money. It is bought for up to 8 000, but at least one contract, and sold at 60 %
or 180 % of its price, or after 28 days of market time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from statistics import fmean, stdev

from orchestrator.engines.reference.alerts import Alert, SeenPrice
from orchestrator.engines.reference.plans import Pass, Plan
from orchestrator.engines.reference.purchases import Terms, plan_purchase
from orchestrator.engines.reference.volatility import volatility_from_history

MOMENTUM_PRICES, MEMORY, FEWEST_FOR_MEAN, FAR = 3, 10, 5, 1.5
STRONG = 3
TERMS = Terms(budget=Decimal(8_000), stop="0.60", target="1.80", longest=timedelta(days=28))


@dataclass(frozen=True, slots=True)
class Vote:
    """One agent's opinion: 1 is long, -1 is short, 0 abstains."""

    agent: str
    opinion: int

    def __str__(self) -> str:
        return f"{self.agent} {('abstains', 'long', 'short')[self.opinion]}"


def decide_by_vote(alert: Alert, seen: Sequence[SeenPrice], *, today: date) -> Plan | Pass:
    """Return engine B's decision on ``alert``.

    :param seen: earlier prices of that symbol, oldest first.
    """
    if alert.price is None:
        return Pass("Without a price of the underlying no agent can vote.")
    votes = cast_votes(alert, alert.price, [float(one.price) for one in seen])
    support = sum(vote.opinion for vote in votes) * (1 if alert.direction == "long" else -1)
    told = ", ".join(map(str, votes))
    if support <= 0:
        return Pass(f"No majority for {alert.direction}: {told}.")
    latest = SeenPrice(alert.at, alert.price)
    return plan_purchase(
        alert,
        alert.price,
        TERMS,
        volatility=lambda: volatility_from_history([*seen[-MEMORY:], latest]),
        confidence=Decimal("0.50") + Decimal("0.10") * support,
        rationale=f"Vote for {alert.direction} by {support}: {told}.",
        today=today,
        steps_out=int(support >= STRONG),
    )


def cast_votes(alert: Alert, price: Decimal, seen: Sequence[float]) -> list[Vote]:
    """Return the four votes; ``seen`` are earlier prices, oldest first."""
    now, memory = float(price), seen[-MEMORY:]
    slow = alert.indicator("sma_slow") or alert.indicator("sma")
    mean = fmean(memory) if len(memory) >= FEWEST_FOR_MEAN else None
    return [
        Vote("messenger", 1 if alert.direction == "long" else -1),
        Vote("momentum", _sign(now - seen[-MOMENTUM_PRICES]) if len(seen) >= MOMENTUM_PRICES else 0),
        Vote("mean reversion", _against_extremes(now, memory)),
        Vote("trend", _sign(now - float(slow)) if slow else _sign(now - mean) if mean else 0),
    ]


def _against_extremes(now: float, memory: Sequence[float]) -> int:
    if len(memory) < FEWEST_FOR_MEAN:
        return 0
    away, spread = now - fmean(memory), stdev(memory)
    return -_sign(away) if abs(away) > FAR * spread else 0


def _sign(x: float) -> int:
    return (x > 0) - (x < 0)
