"""What a fill on paper costs: a fixed slippage and fee, so that the same order always fills alike."""

from decimal import ROUND_HALF_EVEN, Decimal

from orchestrator.engines.reference.plans import CENT

SLIPPAGE = Decimal("0.005")
FEE_PER_CONTRACT = Decimal("0.65")


def slippage(price: Decimal) -> Decimal:
    """Return half a percent of the price, at least one cent, to the cent."""
    return max(CENT, (price * SLIPPAGE).quantize(CENT, ROUND_HALF_EVEN))


def bought_at(price: Decimal) -> Decimal:
    """Return what is paid for one share's option that is worth ``price``."""
    return price + slippage(price)


def sold_at(price: Decimal) -> Decimal:
    """Return what is received for it; never below 0."""
    return max(Decimal("0.00"), price - slippage(price))


def fees(quantity: int) -> Decimal:
    """Return the fee of one side of a trade of ``quantity`` contracts."""
    return FEE_PER_CONTRACT * quantity


def quote(price: Decimal) -> dict[str, str]:
    """Return bid, ask and last of an option that is worth ``price``: the slippage on either side of it."""
    return {"bid": str(sold_at(price)), "ask": str(bought_at(price)), "last": str(price)}
