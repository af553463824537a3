"""How both engines buy once they have decided to: which contract, how many, and when to sell it again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from orchestrator.engines.reference.alerts import Alert
from orchestrator.engines.reference.contracts import NoContract, choose_contract
from orchestrator.engines.reference.plans import Pass, Plan, affordable, in_cents, option_price, years_until

LEAST_PRICE = Decimal("0.05")
MOST_CONTRACTS = 20


@dataclass(frozen=True, slots=True)
class Terms:
    """What an engine spends at most, the shares of the price at which it sells, and how long it holds at most."""

    budget: Decimal
    stop: str
    target: str
    longest: timedelta


def plan_purchase(
    alert: Alert,
    price: Decimal,
    terms: Terms,
    *,
    volatility: Callable[[], float],
    confidence: Decimal,
    rationale: str,
    today: date,
    steps_out: int = 0,
) -> Plan | Pass:
    """Return the plan to buy the call (long) or put (short) that suits an alert, or why there is none.

    :param price: of the underlying. :param volatility: per year; asked for when there is a contract.
    :param steps_out: strikes out of the money.
    """
    try:
        contract = choose_contract(
            alert.symbol, direction=alert.direction, price=price, today=today, steps_out=steps_out
        )
    except NoContract as error:
        return Pass(f"No contract: {error}.")
    per_year, years = volatility(), years_until(contract.expiration, today=today)
    premium = option_price(contract, spot=price, years=years, volatility=per_year)
    if premium < LEAST_PRICE:
        return Pass(f"{contract.option_symbol} would cost {premium}, less than {LEAST_PRICE}.")
    return Plan(
        symbol=alert.symbol,
        direction=alert.direction,
        contract=contract,
        quantity=affordable(premium, budget=terms.budget, most=MOST_CONTRACTS),
        entry_price=premium,
        stop_loss=in_cents(premium, terms.stop),
        take_profit=in_cents(premium, terms.target),
        confidence=confidence,
        rationale=rationale,
        volatility=per_year,
        years=years,
        longest=terms.longest,
    )
