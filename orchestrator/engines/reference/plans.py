"""What an engine proposes: the `recommendation` object of the contract, and how the same plan is read back from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from typing import Any

from orchestrator.domain.amounts import decimal_string
from orchestrator.engines.reference.contracts import MULTIPLIER, Contract
from orchestrator.engines.reference.pricing import DIVIDEND_YIELD, RATE, black_scholes

CENT = Decimal("0.01")
YEAR = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Pass:
    """The decision not to trade; ``reason`` is a sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A bought option and when to sell it.

    ``entry_price``, ``stop_loss`` and ``take_profit`` are prices of the option for one share; ``confidence`` is 0 to 1;
    ``years`` to expiration at entry and ``volatility`` per year are what it was priced with; ``longest`` is the holding
    time in market time.
    """

    symbol: str
    direction: str
    contract: Contract
    quantity: int
    entry_price: Decimal
    stop_loss: Decimal
    take_profit: Decimal
    confidence: Decimal
    rationale: str
    volatility: float
    years: float
    longest: timedelta

    def value(self, *, spot: Decimal, elapsed: timedelta) -> Decimal:
        """Return the option's price in cents with the underlying at ``spot``, ``elapsed`` market time after entry."""
        return option_price(
            self.contract,
            spot=spot,
            years=max(0.0, self.years - max(timedelta(0), elapsed) / YEAR),
            volatility=self.volatility,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the contract's `recommendation`, with the assumptions of the price beside it."""
        return {
            "action": "OPEN",
            "symbol": self.symbol,
            "direction": self.direction,
            "side": "BUY",
            "quantity": str(self.quantity),
            "entry_price": str(self.entry_price),
            "instrument": {
                "type": "option",
                "option_symbol": self.contract.option_symbol,
                "right": self.contract.right,
                "strike": decimal_string(self.contract.strike),
                "expiration": self.contract.expiration.isoformat(),
                "multiplier": str(MULTIPLIER),
            },
            "stop_loss": str(self.stop_loss),
            "take_profit": str(self.take_profit),
            "max_loss": str(self.entry_price * self.quantity * MULTIPLIER),
            "confidence": str(self.confidence),
            "rationale": self.rationale,
            "max_holding_days": str(self.longest.days),
            "priced_with": {
                "model": "Black-Scholes-Merton",
                "volatility": str(self.volatility),
                "years_to_expiration": str(self.years),
                "rate": str(RATE),
                "dividend_yield": str(DIVIDEND_YIELD),
            },
        }


def read_plan(recommendation: Mapping[str, Any]) -> Plan:
    """Return the plan that `as_json` wrote."""
    instrument, priced_with = recommendation["instrument"], recommendation["priced_with"]
    expiration = date.fromisoformat(instrument["expiration"])
    root = instrument["option_symbol"][: -len("260320C00590000")]
    return Plan(
        symbol=recommendation["symbol"],
        direction=recommendation["direction"],
        contract=Contract(root, instrument["right"], Decimal(instrument["strike"]), expiration),
        quantity=int(recommendation["quantity"]),
        entry_price=Decimal(recommendation["entry_price"]),
        stop_loss=Decimal(recommendation["stop_loss"]),
        take_profit=Decimal(recommendation["take_profit"]),
        confidence=Decimal(recommendation["confidence"]),
        rationale=recommendation["rationale"],
        volatility=float(priced_with["volatility"]),
        years=float(priced_with["years_to_expiration"]),
        longest=timedelta(days=int(recommendation["max_holding_days"])),
    )


def option_price(contract: Contract, *, spot: Decimal, years: float, volatility: float) -> Decimal:
    """Return the Black-Scholes price for one share in cents."""
    price = black_scholes(
        contract.right, spot=float(spot), strike=float(contract.strike), years=years, volatility=volatility
    )
    return Decimal(price).quantize(CENT, ROUND_HALF_EVEN)


def years_until(expiration: date, *, today: date) -> float:
    """Return the calendar time to expiration in years of 365 days, rounded so that it is the same when read back."""
    return round((expiration - today) / YEAR, 6)


def affordable(price: Decimal, *, budget: Decimal, most: int) -> int:
    """Return how many contracts ``budget`` buys, at least 1 and at most ``most``."""
    return max(1, min(most, int((budget / (price * MULTIPLIER)).to_integral_value(ROUND_DOWN))))


def in_cents(price: Decimal, factor: str) -> Decimal:
    """Return ``price`` times ``factor``, to the cent."""
    return (price * Decimal(factor)).quantize(CENT, ROUND_HALF_EVEN)
