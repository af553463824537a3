"""Which way an alert points: long, short, or out of a position (an exit alert)."""

from enum import StrEnum


class Direction(StrEnum):
    """The two ways a signal can point."""

    LONG = "long"
    SHORT = "short"
