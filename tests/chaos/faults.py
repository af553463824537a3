"""What goes wrong, how often, and what the two engines can do: the mix of one run as a value that travels as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

# An order. "before" and "after" say whether it was executed when the fault shows.
EXECUTE: Mapping[str, float] = {
    "filled": 34,
    "rejected": 4,
    "accepted": 10,  # 202, and an event when it is done
    "accepted, then rejected": 2,
    "filled, event first": 3,
    "filled, event twice": 4,  # the same message, and the same fill under another message
    "500 before": 4,
    "500 after": 5,
    "reset before": 3,
    "reset after": 5,
    "drip": 3,
    "garbage": 4,
    "redirect": 3,
    "another permit's answer": 4,
    "not found, then executed": 4,
    "late": 4,
    "executed late": 3,
    "never": 2,
    "never, but an event": 3,
}
# A question about an order.
QUERY: Mapping[str, float] = {
    "answered": 80,
    "500": 5,
    "reset": 5,
    "garbage": 4,
    "another permit's answer": 3,
    "late": 3,
}
# A request for a recommendation.
RECOMMEND: Mapping[str, float] = {
    "answered": 66,
    "slow": 8,
    "pass": 4,
    "accepted": 6,
    "500": 3,
    "reset": 3,
    "garbage, then answered": 2,
    "another experiment's answer": 1,
    "another hash": 1,
    "drip": 1,
    "late": 2,
    "redirect": 1,
    "never": 1,
    "answered, and an event twice": 2,
}
# Once per real trade.
EXIT: Mapping[str, float] = {"reported": 70, "reported twice": 10, "before its entry": 5, "never": 15}
# What is done to the system; namespaces only where there are some.
DISTURBANCES: Mapping[str, float] = {
    "kill worker": 30,
    "kill web": 7,
    "kill web process": 8,
    "stop worker": 20,
    "terminate connection": 10,
    "terminate all connections": 7,
    "stop PostgreSQL": 6,
    "cut off database": 7,
    "cut off engines": 7,
    "halt": 4,
}
HARMLESS = {"filled", "rejected", "accepted", "answered", "pass", "slow", "reported"}


@dataclass(frozen=True, slots=True)
class Claims:
    """What an engine is able to do and is configured as; ``idempotent`` is kept, not only claimed."""

    idempotent: bool = False
    queryable: bool = False
    honours_not_after: bool = False

    def __str__(self) -> str:
        return ", ".join(name.replace("_", " ") for name, has in asdict(self).items() if has) or "nothing"

    @property
    def settles(self) -> bool:
        """Tell whether every doubt about its orders ends without a person."""
        return self.queryable and self.honours_not_after


NOTHING, ASKABLE, ALL = Claims(), Claims(queryable=True, honours_not_after=True), Claims(True, True, True)
# In every run at least one engine does not deduplicate, and says so.
PROFILES = ((ASKABLE, NOTHING), (NOTHING, ALL), (ASKABLE, ALL))


@dataclass(frozen=True, slots=True)
class Mix:
    """The weights of everything that is drawn; ``rogue`` is the share of signals on which the shadow engine trades unasked."""

    execute: Mapping[str, float] = field(default_factory=lambda: EXECUTE)
    query: Mapping[str, float] = field(default_factory=lambda: QUERY)
    recommend: Mapping[str, float] = field(default_factory=lambda: RECOMMEND)
    exit: Mapping[str, float] = field(default_factory=lambda: EXIT)
    disturbances: Mapping[str, float] = field(default_factory=lambda: DISTURBANCES)
    rogue: float = 0.002
    outage_every_seconds: float = 40.0

    def as_json(self) -> str:
        return json.dumps(
            {name: value if isinstance(value, float) else dict(value) for name, value in asdict(self).items()}
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))
