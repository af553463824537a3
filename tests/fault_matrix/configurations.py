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
