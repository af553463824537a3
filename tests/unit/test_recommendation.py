"""An engine's answer: an OPEN with terms, a PASS with a reason, or unreadable; never something in between."""

import json
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.recommendation import (
    InputHashMismatch,
    UnreadableRecommendation,
    execution_body,
    read_recommendation,
)
from orchestrator.domain.vocabulary import Action
from tests.engine_server import TERMS

EXPERIMENT = UUID("0192f0a0-0000-83a8-a210-8b9158f818d1")
HASH = "ab" * 32
DELETED = object()
AMOUNTS = st.decimals(Decimal("0.00000001"), Decimal(10) ** 9, places=8)
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60).filter(str.strip)


def answer(*, recommendation: Any = None, **changes: Any) -> bytes:
    """Return an answer with these members changed, or left out where they are DELETED."""
    whole = {"experiment_id": str(EXPERIMENT), "input_hash": HASH, "recommendation": recommendation, "reason": "why"}
    return json.dumps({name: value for name, value in (whole | changes).items() if value is not DELETED}).encode()


def terms(**changes: Any) -> dict[str, Any]:
    """Return the terms of an OPEN; ``instrument__strike`` and the like change its instrument."""
    found = {name: value for name, value in changes.items() if not name.startswith("instrument__")}
    inner = {name.removeprefix("instrument__"): value for name, value in changes.items() if name not in found}
    instrument = {k: v for k, v in {**TERMS["instrument"], **inner}.items() if v is not DELETED}
    return {k: v for k, v in {**TERMS, "instrument": instrument, **found}.items() if v is not DELETED}


def read(body: bytes) -> Any:
    return read_recommendation(body, experiment_id=EXPERIMENT, input_hash=HASH)


@pytest.mark.requirement("7.4", "7.5")
@given(AMOUNTS, AMOUNTS, WORDS, st.sampled_from(["BUY", "SELL"]), st.dictionaries(WORDS, WORDS, max_size=3))
def test_an_open_is_read_and_kept_verbatim(
    quantity: Decimal, price: Decimal, symbol: str, side: str, others: dict[str, str]
) -> None:
    proposal = {**others, **terms(quantity=str(quantity), entry_price=str(price), symbol=symbol, side=side)}
    body = answer(recommendation=proposal)
    found = read(body)
    assert found.action is Action.OPEN
    assert found.raw == body.decode()
    assert found.terms_json == proposal
    assert (found.terms.quantity, found.terms.entry_price, found.terms.side) == (quantity, price, side)
    assert found.terms.contract.multiplier == 100
    assert found.terms.contract.expiration == date(2030, 3, 15)


def test_a_null_recommendation_with_a_reason_is_a_pass() -> None:
    found = read(answer(reason="the trend is flat"))
    assert (found.action, found.terms, found.terms_json, found.reason) == (Action.PASS, None, None, "the trend is flat")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "cannot be read"),
        (b"PASS", "cannot be read"),
        (b'{"experiment_id":1,"experiment_id":2}', "names a key twice"),
        (answer(reason=""), "needs a reason"),
        (answer(reason="  "), "needs a reason"),
        (answer(reason=None), "needs a reason"),
        (answer(reason=7), "needs a reason"),
        (answer(reason=DELETED), "needs a reason"),
        (answer(recommendation=DELETED), "no member 'recommendation'"),
        (answer(experiment_id=DELETED), "the question was about"),
        (answer(experiment_id="0192f0a0-0000-83a8-a210-8b9158f818d2"), "the question was about"),
        (answer(experiment_id=None), "the question was about"),
        (answer(experiment_id=["x"]), "the question was about"),
        (answer(recommendation="PASS"), "recommendation is a str"),
        (answer(recommendation=[]), "recommendation is a list"),
        (answer(recommendation={}), "recommendation.action"),
        (answer(recommendation=False), "recommendation is a bool"),
        (answer(recommendation=terms(action="PASS")), "PASS is recommendation: null"),
        (answer(recommendation=terms(action="open")), "accepted is OPEN"),
        (answer(recommendation=terms(quantity="-1")), "quantity is '-1'"),
        (answer(recommendation=terms(quantity=0)), "quantity is '0'"),
        (answer(recommendation=terms(quantity=DELETED)), "quantity is 'None'"),
        (answer(recommendation=terms(quantity=True)), "quantity is 'True'"),
        (answer(recommendation=terms(entry_price="NaN")), "entry_price is 'NaN'"),
        (answer(recommendation=terms(entry_price="-0.01")), "entry_price"),
        (answer(recommendation=terms(entry_price=None)), "entry_price"),
        (answer(recommendation=terms(side="HOLD")), "side is 'HOLD'"),
        (answer(recommendation=terms(side=["BUY"])), "side is"),
        (answer(recommendation=terms(direction="up")), "direction is 'up'"),
        (answer(recommendation=terms(symbol="")), "symbol is ''"),
        (answer(recommendation=terms(symbol="S" * 65)), "symbol is"),
        (answer(recommendation=terms(instrument=None)), "instrument is missing"),
        (answer(recommendation=terms(instrument__type=None)), "instrument.type"),
        (answer(recommendation=terms(instrument__right="call")), "instrument.right"),
        (answer(recommendation=terms(instrument__strike="0")), "instrument.strike"),
        (answer(recommendation=terms(instrument__option_symbol=DELETED)), "option_symbol is missing"),
        (answer(recommendation=terms(instrument__option_symbol=" ")), "option_symbol is not a text"),
        (answer(recommendation=terms(instrument__expiration="2030-02-30")), "expiration"),
        (answer(recommendation=terms(instrument__expiration="20300315")), "expiration"),
        (answer(recommendation=terms(instrument__expiration="2030-W11-5")), "expiration"),
        (answer(recommendation=terms(instrument__expiration=DELETED)), "expiration"),
        (answer(recommendation=terms(instrument__multiplier="0")), "instrument.multiplier"),
        (answer(recommendation=terms(instrument__multiplier="-100")), "instrument.multiplier"),
        (answer(recommendation=terms(stop_loss="Infinity")), "stop_loss"),
        (answer(recommendation=terms(confidence=[])), "confidence"),
        (answer(recommendation=terms()).replace(b'"4.35"', b"NaN"), "holds NaN"),
        (answer(recommendation=terms()).replace(b'"4.35"', b"1e999"), "out of range"),
    ],
)
def test_what_cannot_be_read_is_a_failure_with_a_sentence_and_never_a_pass(body: bytes, sentence: str) -> None:
    with pytest.raises(UnreadableRecommendation, match=sentence):
        read(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda c: st.lists(c) | st.dictionaries(st.sampled_from([*TERMS, "type"]), c),
        max_leaves=8,
    )
)
def test_whatever_is_proposed_is_read_or_refused(proposal: Any) -> None:
    try:
        found = read(answer(recommendation=proposal))
    except UnreadableRecommendation:
        return
    assert found.action is (Action.PASS if proposal is None else Action.OPEN)


@pytest.mark.parametrize("hashed", ["cd" * 32, HASH.upper(), None, 7, DELETED])
@pytest.mark.parametrize("proposal", [None, terms()])
def test_an_answer_for_other_bytes_is_a_mismatch_whatever_it_says(hashed: Any, proposal: Any) -> None:
    with pytest.raises(InputHashMismatch, match=HASH):
        read(answer(recommendation=proposal, input_hash=hashed))


def test_an_instrument_that_is_no_option_needs_neither_contract_nor_multiplier() -> None:
    found = read(answer(recommendation=terms(instrument={"type": "equity"})))
    assert found.terms.contract.key == ("equity", "SPY")
    assert found.terms.contract.multiplier == 1
    assert found.terms.contract.expiration is None


def test_json_numbers_are_as_good_as_decimal_strings() -> None:
    body = answer(recommendation=terms()).replace(b'"4.35"', b"4.35").replace(b'"quantity": "2"', b'"quantity": 2')
    found = read(body)
    assert (found.terms.entry_price, found.terms.quantity) == (Decimal("4.35"), 2)
    assert found.terms_json["entry_price"] == 4.35


@pytest.mark.requirement("7.2", "7.4")
def test_an_execution_carries_the_recommendation_to_the_letter() -> None:
    said = '{"action":  "OPEN","quantity":2.50,"x":"\\u00e9","entry_price":0.100000000000000000001}'
    raw = f'{{"reason":"r", "recommendation" : {said} ,"input_hash":"h"}}'
    body = execution_body(raw, envelope='{"permit_id":"p"}')
    assert said in body
    assert json.loads(body)["permit_id"] == "p"
    assert json.loads(body)["recommendation"] == json.loads(said)
