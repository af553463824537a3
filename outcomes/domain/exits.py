"""Exits: how one is read, whose exit counts for the experiment, and at which price a follower leaves with its lead."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from orchestrator.domain.amounts import UnreadableAmount, read_amount, read_fees
from orchestrator.domain.moments import UnreadableMoment, read_moment
from orchestrator.domain.recommendation import Contract
from orchestrator.domain.strict_json import UnreadableJson, read_object
from orchestrator.domain.transitions import UNSETTLED_PERMITS
from orchestrator.domain.vocabulary import Engine, PermitState

LONGEST_REASON = 200


class UnreadableExit(ValueError):
    """The exit cannot be used; the message says what was found and what is accepted."""


@dataclass(frozen=True, slots=True)
class Exit:
    """What an engine reports; ``external_id`` is None for its shadow trade. Price and fees in the contract's currency."""

    external_id: str | None
    price: Decimal
    time: datetime
    reason: str
    fees: Decimal
    market_conditions: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an experiment stands, as far as it decides who leads.

    ``followed`` are the engines with a shadow trade or twin that is not void; ``awaited`` those whose recommendation may
    still come; ``permit`` is None when there is none.
    """

    variant: Engine
    executed_engine: Engine | None
    permit: PermitState | None
    has_real_trade: bool
    followed: Collection[Engine]
    awaited: Collection[Engine]


@dataclass(frozen=True, slots=True)
class Lead:
    engine: Engine
    is_real: bool


class Undecided(Exception):
    """It cannot be said yet who leads; exits wait in the inbox."""


def lead_of(standing: Standing) -> Lead | None:
    """Return whose exit counts for the experiment: the real trade; else the variant's shadow; else the only one.

    :raises Undecided: while a real trade may still come of it, or the variant's engine has not answered.
    """
    if standing.has_real_trade and standing.executed_engine is not None:
        return Lead(standing.executed_engine, is_real=True)
    if standing.permit in UNSETTLED_PERMITS:
        raise Undecided(f"the permit is {standing.permit}")
    if standing.permit is None and standing.executed_engine in standing.awaited:
        raise Undecided("the executed engine has not answered yet")
    for engine in (standing.variant, standing.variant.other):
        if engine in standing.followed:
            return Lead(engine, is_real=False)
        if engine in standing.awaited:
            raise Undecided(f"engine {engine} has not answered yet")
    return None


def follower_price(
    follower: Contract, *, lead: Contract, lead_price: Decimal, market_conditions: Mapping[str, Any]
) -> Decimal | None:
    """Return the price at which a follower exits: the lead's for the same contract, else the mid of its own quote.

    None when neither is known: a price is never invented.
    """
    if follower.key == lead.key:
        return lead_price
    quotes = market_conditions.get("quotes")
    quote = quotes.get(follower.option_symbol or follower.symbol) if isinstance(quotes, Mapping) else None
    if not isinstance(quote, Mapping) or quote.get("bid") is None or quote.get("ask") is None:
        return None
    try:
        bid, ask = read_amount(quote["bid"], name="bid"), read_amount(quote["ask"], name="ask")
    except UnreadableAmount:
        return None
    return read_amount((bid + ask) / 2, name="mid")


def read_exit(data: Mapping[str, Any]) -> Exit:
    """Read the data of ``trade.exited``.

    :raises UnreadableExit: naming the member, what was found and what is accepted.
    """
    trade = data.get("trade")
    if trade is not None and not isinstance(trade, Mapping):
        raise UnreadableExit("trade is neither null (the shadow trade) nor an object with an external_id")
    external_id = trade.get("external_id") if trade is not None else None
    if trade is not None and not (isinstance(external_id, str) and external_id):
        raise UnreadableExit(
            f"trade.external_id is {str(external_id)[:40]!r}; accepted is the trade's reference, a text"
        )
    conditions = data.get("market_conditions")
    if conditions is not None and not isinstance(conditions, dict):
        raise UnreadableExit("market_conditions is not an object")
    reason = data.get("exit_reason")
    if not isinstance(reason, str) or not 1 <= len(reason.strip()) <= LONGEST_REASON:
        raise UnreadableExit(f"exit_reason is {str(reason)[:40]!r}; accepted is a text of 1 to 200 characters")
    try:
        return Exit(
            external_id=external_id,
            price=read_amount(data.get("exit_price"), name="exit_price"),
            time=read_moment(data.get("exit_time"), name="exit_time"),
            reason=reason.strip(),
            fees=read_fees(data.get("fees"), name="fees"),
            market_conditions=conditions or {},
        )
    except (UnreadableAmount, UnreadableMoment) as error:
        raise UnreadableExit(str(error)) from None


def read_exit_price(response: str) -> Decimal | None:
    """Return the price that an engine answered for its shadow trade; None when it knows none, or none that is usable."""
    try:
        price = read_object(response).get("exit_price")
        return None if price is None else read_amount(price, name="exit_price")
    except (UnreadableJson, UnreadableAmount):
        return None
