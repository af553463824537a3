"""An engine's word on an execution: filled with a trade, rejected, accepted for later, or not readable."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any
from uuid import UUID

from orchestrator.domain.amounts import UnreadableAmount, read_amount, read_fees
from orchestrator.domain.moments import UnreadableMoment, read_moment
from orchestrator.domain.strict_json import UnreadableJson, read_object

LONGEST_REFERENCE = 200


class UnreadableExecution(ValueError):
    """Nothing follows from the answer: the execution stays unknown."""


@dataclass(frozen=True, slots=True)
class Fill:
    """The real trade that an engine says it placed; prices and fees in the contract's currency."""

    external_id: str
    entry_price: Decimal
    entry_time: datetime
    quantity: Decimal
    fees: Decimal


@dataclass(frozen=True, slots=True)
class Filled:
    fill: Fill
    exit: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    reason: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The engine took it on and has not said yet what became of it."""


@dataclass(frozen=True, slots=True)
class NeverSeen:
    """A query was answered with "not found"."""


ExecutionWord = Filled | Rejected | Accepted | NeverSeen


def read_execution(status: int, body: bytes, *, permit_id: UUID, is_query: bool = False) -> ExecutionWord:
    """Read the answer to ``POST /executions`` or, as a query, to ``GET /executions/<permit_id>``.

    :raises UnreadableExecution: for every other status, for garbage, and for another permit's answer.
    """
    if is_query and status == HTTPStatus.NOT_FOUND:
        return NeverSeen()
    if status not in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
        raise UnreadableExecution(f"status {status} says nothing about the effect")
    try:
        answer = read_object(body) if body.strip() else {}
    except UnreadableJson as error:
        raise UnreadableExecution(f"the answer cannot be read: {error}") from None
    named = answer.get("permit_id")
    if str(permit_id) != (str(permit_id) if named is None and status == HTTPStatus.ACCEPTED else str(named).lower()):
        raise UnreadableExecution(f"the answer is about permit {str(named)[:60]!r}, asked was {permit_id}")
    if status == HTTPStatus.ACCEPTED:
        return Accepted()
    if answer.get("status") == "REJECTED":
        return Rejected(str(answer.get("reason") or "no reason given")[:1000])
    if answer.get("status") == "FILLED":
        left = answer.get("exit")
        return Filled(read_fill(answer.get("trade")), left if isinstance(left, Mapping) else None)
    raise UnreadableExecution(f"status is {str(answer.get('status'))[:40]!r}; accepted is FILLED or REJECTED")


def read_fill(trade: Any) -> Fill:
    """Read the ``trade`` object of a fill.

    :raises UnreadableExecution: naming the member, what was found and what is accepted.
    """
    if not isinstance(trade, Mapping):
        raise UnreadableExecution(f"trade is {str(trade)[:40]!r}; accepted is an object")
    external_id = trade.get("external_id")
    if not isinstance(external_id, str) or not 1 <= len(external_id) <= LONGEST_REFERENCE:
        raise UnreadableExecution(f"trade.external_id is {str(external_id)[:40]!r}; accepted is a text of 1 to 200")
    try:
        return Fill(
            external_id=external_id,
            entry_price=read_amount(trade.get("entry_price"), name="trade.entry_price"),
            entry_time=read_moment(trade.get("entry_time"), name="trade.entry_time"),
            quantity=read_amount(trade.get("quantity"), name="trade.quantity", above=True),
            fees=read_fees(trade.get("fees"), name="trade.fees"),
        )
    except (UnreadableAmount, UnreadableMoment) as error:
        raise UnreadableExecution(str(error)) from None
