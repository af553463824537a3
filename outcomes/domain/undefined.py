"""PURE: a figure that means nothing is said to be undefined, with a code for machines and a sentence for people."""

from dataclasses import dataclass
from enum import StrEnum


class UndefinedCode(StrEnum):
    NO_TRADES = "NO_TRADES"
    ONE_TRADE = "ONE_TRADE"
    ALL_EQUAL = "ALL_EQUAL"
    NO_LOSSES = "NO_LOSSES"
    NO_WINS = "NO_WINS"
    NO_ANSWERS = "NO_ANSWERS"
    TOO_FEW_DAYS = "TOO_FEW_DAYS"
    NOT_ABOVE_ZERO = "NOT_ABOVE_ZERO"
    NO_ERROR = "NO_ERROR"
    NO_PAIRS = "NO_PAIRS"
    ONE_CLUSTER = "ONE_CLUSTER"
    NOTHING_VARIES = "NOTHING_VARIES"
    UNBOUNDED = "UNBOUNDED"


@dataclass(frozen=True, slots=True)
class Undefined:
    """Instead of a number: why there is none."""

    code: UndefinedCode
    reason: str


NO_TRADES = Undefined(UndefinedCode.NO_TRADES, "No trade is closed yet.")
ONE_TRADE = Undefined(UndefinedCode.ONE_TRADE, "One trade alone does not show how results vary.")
ALL_EQUAL = Undefined(UndefinedCode.ALL_EQUAL, "All results are equal; nothing varies.")
NO_LOSSES = Undefined(UndefinedCode.NO_LOSSES, "There is no loss to divide by.")
NO_WINS = Undefined(UndefinedCode.NO_WINS, "There is no win to take an average of.")
NO_ANSWERS = Undefined(UndefinedCode.NO_ANSWERS, "The engine has not answered in this role yet.")
NOT_ABOVE_ZERO = Undefined(
    UndefinedCode.NOT_ABOVE_ZERO, "The Sharpe ratio is not above 0; no length of record would show that it is."
)
NO_ERROR = Undefined(
    UndefinedCode.NO_ERROR,
    "The estimated standard error is 0, as it is for some samples of two values; it proves nothing.",
)
NO_PAIRS = Undefined(UndefinedCode.NO_PAIRS, "No pair is complete yet.")
