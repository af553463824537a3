"""The columns of the matrix: what the engine that trades is able to do, and whether it answers at once or later."""

from dataclasses import dataclass

CAPABILITIES: dict[str, frozenset[str]] = {
    "none": frozenset(),
    "queryable": frozenset({"queryable"}),
    "idempotent": frozenset({"idempotent"}),
    "honours": frozenset({"honours_not_after"}),
    "all": frozenset({"queryable", "idempotent", "honours_not_after"}),
}


@dataclass(frozen=True, slots=True)
class Configuration:
    """One column; ``later`` engines answer 202 and report by event, or when they are asked."""

    capabilities: str
    later: bool

    @property
    def name(self) -> str:
        return f"{self.capabilities} {'async' if self.later else 'sync'}"

    def can(self, capability: str) -> bool:
        return capability in CAPABILITIES[self.capabilities]


CONFIGURATIONS = tuple(Configuration(name, later) for later in (False, True) for name in CAPABILITIES)


def reaches(configuration: Configuration, point: str) -> bool:
    """Tell whether the way of an alert leads through a point with such an engine."""
    can = configuration.can
    needs = {
        # asking about an open trade, and what follows from the answer
        "exit.claim": can("queryable"),
        "permit.not_executed": can("queryable"),
        "execution": can("queryable"),
        # asking about a doubted order, or sending it again
        "permit.claim": can("queryable") or can("idempotent"),
        "permit.put_back": can("queryable") or can("idempotent"),
        "permit.not_found": can("queryable") and can("honours_not_after"),
        # who answers at once is neither waited for nor asked, and sends no answers by event
        "permit.accept": configuration.later,
        "permit.accept_late": configuration.later,
        "event.apply_answers": configuration.later,
        "event.apply_execution": configuration.later,
        "recommendation": configuration.later,
        # who reports a fill by event has it recorded with the event
        "permit.fill": not configuration.later or can("queryable"),
    }
    return needs.get(point.partition(":")[0], True)
