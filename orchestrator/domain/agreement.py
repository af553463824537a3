"""How far two answers of one engine to the same bytes agree: the noise floor below which a difference proves nothing."""

from enum import StrEnum

from orchestrator.domain.recommendation import Recommendation
from orchestrator.domain.vocabulary import Action


class Agreement(StrEnum):
    """From the closest to the farthest; each says what was still the same."""

    SAME_TEXT = "SAME_TEXT"
    SAME_TERMS = "SAME_TERMS"
    SAME_TRADE = "SAME_TRADE"
    SAME_ACTION = "SAME_ACTION"
    OTHER_ACTION = "OTHER_ACTION"


MEANINGS = {
    Agreement.SAME_TEXT: "the same to the letter; perhaps from memory",
    Agreement.SAME_TERMS: "the same contract, side, quantity and price, or a pass again",
    Agreement.SAME_TRADE: "the same contract and side, another quantity or price",
    Agreement.SAME_ACTION: "both OPEN, another contract or side",
    Agreement.OTHER_ACTION: "OPEN once and PASS once",
}
# what would have been another trade, or none
ANOTHER_DECISION = frozenset({Agreement.SAME_ACTION, Agreement.OTHER_ACTION})


def agreement(first: Recommendation, second: Recommendation) -> Agreement:
    """Return how far ``second`` agrees with ``first``; reasons and other prose do not count."""
    if first.raw == second.raw:
        return Agreement.SAME_TEXT
    if first.action is not second.action:
        return Agreement.OTHER_ACTION
    if first.action is Action.PASS or first.terms == second.terms:
        return Agreement.SAME_TERMS
    if first.terms is None or second.terms is None:
        return Agreement.OTHER_ACTION
    one, two = first.terms, second.terms
    if (one.contract.key, one.side) == (two.contract.key, two.side):
        return Agreement.SAME_TRADE
    return Agreement.SAME_ACTION
