"""What one exploration is about: what the engine claims, how it lies, and which rules of the protocol are left out."""

from enum import StrEnum, auto
from typing import NamedTuple


class Lie(StrEnum):
    """What an engine, or an operator, does against what was promised."""

    FORGETS = auto()  # "not found" although it executed or accepted, whenever it is asked
    LATE = auto()  # executes after not_after although it claims to honour it
    RECANTS = auto()  # says "rejected" and executes all the same, before or afterwards
    ROGUE = auto()  # executes without having been told
    TWICE = auto()  # claims to deduplicate and does not
    MISTAKEN = auto()  # the operator says "not executed" of what was executed


class Rule(StrEnum):
    """A rule that the protocol keeps; a variant leaves one out."""

    RECORD_BEFORE_CALLING = auto()
    TIME_OUT_IS_UNKNOWN = auto()
    LOST_LEASE_IS_UNKNOWN = auto()
    NOT_FOUND_NEEDS_PROOF = auto()
    COMPARE_AND_SET = auto()
    NO_FAILOVER = auto()
    WAIT_FOR_THE_DISK = auto()
    FENCE_INTENTS = auto()
    ASKED_AFTER_THE_MARGIN = auto()
    JUDGE_BY_ASKING = auto()
    REFUSED_RETRY_PROVES_NOTHING = auto()
    REFUSED_FIRST_PROVES_NOTHING_AFTER_A_RETRY = auto()
    REFUSAL_BY_EVENT_PROVES_NOTHING_AFTER_A_RETRY = auto()
    LOOK_AT_THE_CLOCK_BEFORE_SENDING = auto()
    HALT_IN_THE_SAME_STATEMENT = auto()
    HALT_WAITS = auto()
    ACCEPTANCE_AS_RECORDED = auto()
    ACCEPTANCE_AFTER_THE_END_IS_A_CONFLICT = auto()
    NO_ORDER_BESIDE_A_TRADE = auto()
    RESEND_ONLY_TO_IDEMPOTENT = auto()
    LATE_FILL_IS_STORED = auto()
    EXIT_ONCE = auto()
    WAITING_EXIT_IS_LOOKED_AT_AGAIN = auto()


class Setting(NamedTuple):
    """``bounded``: what left before not_after has arrived or is lost when the quiet period ends, and no worker is paused
    between its last look at the clock and the first byte for longer than a halt waits. ``orphans``: at most so many orders
    are on the wire whose sender no longer listens; more are lost.
    """

    idempotent: bool = False
    queryable: bool = False
    honours: bool = False
    lies: frozenset[Lie] = frozenset()
    without: frozenset[Rule] = frozenset()
    exits: bool = False
    halts: bool = True
    bounded: bool = True
    orphans: int = 2

    def keeps(self, rule: Rule) -> bool:
        return rule not in self.without

    @property
    def halt_waits(self) -> bool:
        return self.bounded and self.keeps(Rule.HALT_WAITS)

    @property
    def is_honest(self) -> bool:
        return not self.lies

    def __str__(self) -> str:
        claims = [name for name in ("idempotent", "queryable", "honours") if getattr(self, name)]
        more = [f"lies: {', '.join(sorted(self.lies))}"] if self.lies else []
        return "; ".join([", ".join(claims) or "claims nothing", *more, *(["exits"] if self.exits else [])])
