"""How far two answers of one engine agree."""

import json
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest

from orchestrator.domain.agreement import Agreement, agreement
from orchestrator.domain.recommendation import Recommendation, read_recommendation
from tests.factories import OPTION, make_terms

EXPERIMENT = UUID("0192f0a0-0000-83a8-a210-8b9158f818d1")
HASH = sha256(b"input").hexdigest()


def answer(terms: dict[str, Any] | None, reason: str = "because") -> Recommendation:
    body = {"experiment_id": str(EXPERIMENT), "input_hash": HASH, "recommendation": terms, "reason": reason}
    return read_recommendation(json.dumps(body), experiment_id=EXPERIMENT, input_hash=HASH)


@pytest.mark.parametrize(
    ("second", "level"),
    [
        (answer(make_terms()), Agreement.SAME_TEXT),
        (answer(make_terms(rationale="other words", confidence="0.1")), Agreement.SAME_TERMS),
        (answer(make_terms(quantity="3")), Agreement.SAME_TRADE),
        (answer(make_terms(entry_price="4.36")), Agreement.SAME_TRADE),
        (answer(make_terms(side="SELL")), Agreement.SAME_ACTION),
        (answer(make_terms(instrument=OPTION | {"option_symbol": "SPY260320P00590000"})), Agreement.SAME_ACTION),
        (answer(None), Agreement.OTHER_ACTION),
    ],
)
def test_an_open_is_compared_by_what_would_have_been_traded(second: Recommendation, level: Agreement) -> None:
    first = answer(make_terms())
    assert agreement(first, second) is level
    assert agreement(second, first) is level


def test_a_pass_for_another_reason_is_the_same_decision() -> None:
    assert agreement(answer(None, "too late"), answer(None, "too early")) is Agreement.SAME_TERMS
