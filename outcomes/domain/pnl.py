"""Profit and loss of one closed trade, exact to eight places."""

from decimal import ROUND_HALF_UP, Decimal, localcontext

from orchestrator.domain.amounts import LIMIT, PLACES


class AmountOutOfRange(ValueError):
    """A result does not fit numeric(20,8)."""


def profit_and_loss(
    *, entry_price: Decimal, exit_price: Decimal, quantity: Decimal, multiplier: Decimal, side: str, fees: Decimal
) -> Decimal:
    """Return (exit − entry) × quantity × multiplier × (+1 BUY, −1 SELL) − fees, in the contract's currency.

    :raises AmountOutOfRange: when it, or the fees, are 10^12 or more, either way.
    """
    with localcontext(prec=80):
        sign = 1 if side == "BUY" else -1
        exact = (exit_price - entry_price) * quantity * multiplier * sign - fees
        pnl = exact.quantize(PLACES, rounding=ROUND_HALF_UP)
        for name, amount in (("the profit or loss", pnl), ("the sum of fees", fees)):
            if abs(amount) >= LIMIT:
                raise AmountOutOfRange(f"{name} is {amount:.0f}; accepted is below 10^12 either way")
        return pnl
