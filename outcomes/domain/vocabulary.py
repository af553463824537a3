"""The words of the comparison: how far a pair has come, and what is compared with what."""

from enum import StrEnum


class PairState(StrEnum):
    """COMPLETE: both sides are known. VOID and NO_ANSWER: never comparable. OPEN: one side may still come."""

    OPEN = "OPEN"
    COMPLETE = "COMPLETE"
    VOID = "VOID"
    NO_ANSWER = "NO_ANSWER"


class Basis(StrEnum):
    """A minus B when both exit together, or each at its own exit; or a real trade minus its own twin, per engine."""

    SYNCHRONISED = "SYNCHRONISED"
    OWN_EXIT = "OWN_EXIT"
    EXECUTION_A = "EXECUTION_A"
    EXECUTION_B = "EXECUTION_B"
