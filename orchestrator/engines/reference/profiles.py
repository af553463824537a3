"""The two engines that ship: how each decides, whether it answers at once, and where it listens by default."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from orchestrator.engines.reference.alerts import Alert, SeenPrice
from orchestrator.engines.reference.plans import Pass, Plan
from orchestrator.engines.reference.rules import decide_by_rules
from orchestrator.engines.reference.voting import decide_by_vote


class Decision(Protocol):
    """A pure function from an alert and the earlier prices of its symbol, oldest first, to a plan or a PASS."""

    def __call__(self, alert: Alert, seen: Sequence[SeenPrice], *, today: date) -> Plan | Pass: ...


@dataclass(frozen=True, slots=True)
class Profile:
    """One engine. ``delay``: seconds it takes to think by default; ``synchronous``: the response is the answer."""

    name: str
    decide: Decision
    synchronous: bool
    delay: float
    port: int


PROFILES = {
    "A": Profile("A", decide_by_rules, synchronous=False, delay=0.05, port=8101),
    "B": Profile("B", decide_by_vote, synchronous=True, delay=0.3, port=8102),
}
