"""An engine's answer: read without changing it. OPEN with terms, PASS with a reason, or unreadable; never in between."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from orchestrator.domain.amounts import UnreadableAmount, read_amount
from orchestrator.domain.strict_json import UnreadableJson, member_text, read_object
from orchestrator.domain.vocabulary import Action, Direction

LONGEST_WORD = 64


DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class UnreadableRecommendation(ValueError):
    """The answer cannot be used; it is recorded as a failure, never as a PASS."""


class InputHashMismatch(ValueError):
    """The engine answered for other bytes than it was given: a breach of fairness."""


@dataclass(frozen=True, slots=True)
class Contract:
    """What is traded: equal contracts have equal prices. ``multiplier`` is 1 when the engine names none."""

    type: str
    symbol: str
    option_symbol: str | None
    multiplier: Decimal
    expiration: date | None

    @property
    def key(self) -> tuple[str, str]:
        """Identify the contract: option_symbol, else type and symbol."""
        return ("option_symbol", self.option_symbol) if self.option_symbol else (self.type, self.symbol)


@dataclass(frozen=True, slots=True)
class Terms:
    """What an OPEN proposes, as numbers; the engine's own object is kept verbatim beside it."""

    direction: Direction
    side: str
    quantity: Decimal
    entry_price: Decimal
    contract: Contract


@dataclass(frozen=True, slots=True)
class Recommendation:
    action: Action
    raw: str
    terms_json: dict[str, Any] | None
    terms: Terms | None
    reason: str


def read_recommendation(body: bytes | str, *, experiment_id: UUID, input_hash: str) -> Recommendation:
    """Read the whole answer of an engine to one question.

    :param body: the answer as received; ``input_hash``: sha256 (64 hex digits) of the bytes that the engine was sent.
    :raises UnreadableRecommendation: when it is not a readable answer to this question.
    :raises InputHashMismatch: when the engine hashed other bytes.
    """
    try:
        answer = read_object(body)
    except UnreadableJson as error:
        raise UnreadableRecommendation(f"The answer cannot be read: {error}.") from None
    raw = body.decode() if isinstance(body, bytes) else body
    if str(answer.get("experiment_id", "")).lower() != str(experiment_id):
        raise UnreadableRecommendation(
            f"The answer names experiment {str(answer.get('experiment_id'))[:60]!r}; the question was about "
            f"{experiment_id}."
        )
    if "recommendation" not in answer:
        raise UnreadableRecommendation("The answer has no member 'recommendation'; accepted is an object or null.")
    if answer.get("input_hash") != input_hash:
        raise InputHashMismatch(
            f"The engine says it was asked with bytes of hash {str(answer.get('input_hash'))[:80]!r}; "
            f"it was sent bytes of hash {input_hash}."
        )
    proposal, reason = answer["recommendation"], answer.get("reason")
    if proposal is None:
        if not isinstance(reason, str) or not reason.strip():
            raise UnreadableRecommendation("A PASS (recommendation: null) needs a reason, a sentence; none was found.")
        return Recommendation(Action.PASS, raw, None, None, reason)
    terms = read_terms(proposal)
    return Recommendation(Action.OPEN, raw, _as_stored(proposal), terms, reason if isinstance(reason, str) else "")


def read_terms(proposal: Any) -> Terms:
    """Read the ``recommendation`` object of an OPEN.

    :raises UnreadableRecommendation: naming the member, what was found and what is accepted.
    """
    if not isinstance(proposal, Mapping):
        raise UnreadableRecommendation(
            f"recommendation is a {type(proposal).__name__}; accepted is an object, or null for a PASS."
        )
    if proposal.get("action") != Action.OPEN:
        raise UnreadableRecommendation(
            f"recommendation.action is {str(proposal.get('action'))[:40]!r}; accepted is OPEN. A PASS is "
            "recommendation: null with a reason and has no terms."
        )
    instrument = proposal.get("instrument")
    if not isinstance(instrument, Mapping):
        raise UnreadableRecommendation("recommendation.instrument is missing; accepted is an object with a type.")
    symbol = _word(proposal, "symbol")
    try:
        for name in ("stop_loss", "take_profit", "max_loss", "confidence"):
            if proposal.get(name) is not None:
                read_amount(proposal[name], name=name)
        return Terms(
            direction=Direction(_one_of(proposal, "direction", ("long", "short"))),
            side=_one_of(proposal, "side", ("BUY", "SELL")),
            quantity=read_amount(proposal.get("quantity"), name="quantity", above=True),
            entry_price=read_amount(proposal.get("entry_price"), name="entry_price"),
            contract=_read_contract(instrument, symbol),
        )
    except UnreadableAmount as error:
        raise UnreadableRecommendation(f"recommendation.{error}.") from None


def execution_body(raw: str, *, envelope: str) -> str:
    """Return the body of an execution: ``envelope`` (a JSON object's text) with the recommendation's own text in it."""
    return f'{envelope.rstrip()[:-1]},"recommendation":{member_text(raw, "recommendation")}}}'


def _read_contract(instrument: Mapping[str, Any], symbol: str) -> Contract:
    kind = _word(instrument, "type", where="instrument.")
    expiration = None
    option_symbol = instrument.get("option_symbol")
    if option_symbol is not None and not (isinstance(option_symbol, str) and option_symbol.strip()):
        raise UnreadableRecommendation("recommendation.instrument.option_symbol is not a text.")
    if kind == "option":
        _one_of(instrument, "right", ("CALL", "PUT"), where="instrument.")
        read_amount(instrument.get("strike"), name="instrument.strike", above=True)
        if option_symbol is None:
            raise UnreadableRecommendation("recommendation.instrument.option_symbol is missing for an option.")
    if kind == "option" or instrument.get("expiration") is not None:
        expiration = _read_date(instrument.get("expiration"))
    multiplier = instrument.get("multiplier")
    return Contract(
        type=kind,
        symbol=symbol,
        option_symbol=option_symbol,
        multiplier=Decimal(1)
        if multiplier is None
        else read_amount(multiplier, name="instrument.multiplier", above=True),
        expiration=expiration,
    )


def _read_date(value: Any) -> date:
    problem = UnreadableRecommendation(
        f"recommendation.instrument.expiration is {str(value)[:40]!r}; accepted is a date such as 2026-03-20."
    )
    # Python reads other forms of ISO 8601 as well, and they would not compare as text
    if not isinstance(value, str) or not DATE.fullmatch(value):
        raise problem
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise problem from None


def _one_of(members: Mapping[str, Any], name: str, accepted: tuple[str, ...], *, where: str = "") -> str:
    found = members.get(name)
    if not isinstance(found, str) or found not in accepted:
        raise UnreadableRecommendation(
            f"recommendation.{where}{name} is {str(found)[:40]!r}; accepted is {' or '.join(accepted)}."
        )
    return found


def _word(members: Mapping[str, Any], name: str, *, where: str = "") -> str:
    found = members.get(name)
    if not isinstance(found, str) or not 1 <= len(found.strip()) <= LONGEST_WORD:
        raise UnreadableRecommendation(
            f"recommendation.{where}{name} is {str(found)[:40]!r}; accepted is a text of 1 to 64 characters."
        )
    return found.strip()


def _as_stored(value: Any) -> Any:
    """Turn Decimals into the JSON numbers that they were; the raw text keeps every digit in any case."""
    if isinstance(value, dict):
        return {key: _as_stored(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_as_stored(member) for member in value]
    return float(value) if isinstance(value, Decimal) else value
