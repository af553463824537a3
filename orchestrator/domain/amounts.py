"""Money, prices and quantities: read exactly, refused when they are not finite, written as plain decimal strings."""

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation, Overflow
from typing import Any

PLACES = Decimal("0.00000001")
LIMIT = Decimal(10) ** 12
LONGEST_NUMBER = 60  # characters


class UnreadableAmount(ValueError):
    """A number that is missing, not finite, out of range or of the wrong kind."""


def read_amount(value: Any, *, name: str, lowest: Decimal | None = Decimal(0), above: bool = False) -> Decimal:
    """Return ``value`` (a decimal string or a JSON number) as numeric(20,8).

    :param lowest: the smallest accepted amount, None for any; with ``above`` it is excluded.
    :raises UnreadableAmount: saying what was found and what is accepted.
    """
    accepted = "a finite decimal number" + (
        "" if lowest is None else f" {'above' if above else 'of at least'} {lowest}"
    )
    problem = UnreadableAmount(f"{name} is {str(value)[:60]!r}; accepted is {accepted} and below 10^12")
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise problem
    if isinstance(value, str) and (not value.isascii() or "_" in value or len(value) > LONGEST_NUMBER):
        raise problem
    try:
        amount = Decimal(repr(value) if isinstance(value, float) else value)
        if not amount.is_finite() or abs(amount) >= LIMIT:
            raise problem
        amount = amount.quantize(PLACES, rounding=ROUND_HALF_UP)
    except (InvalidOperation, Overflow):
        raise problem from None
    if abs(amount) >= LIMIT:  # rounded up to it
        raise problem
    if lowest is not None and (amount < lowest or (above and amount == lowest)):
        raise problem
    return amount


def read_fees(value: Any, *, name: str) -> Decimal:
    """Return fees as numeric(20,8): 0 when absent, negative for a rebate.

    :raises UnreadableAmount: saying what was found and what is accepted.
    """
    return read_amount(0 if value is None else value, name=name, lowest=None)


def decimal_string(amount: Decimal) -> str:
    """Return ``amount`` without exponent and without trailing zeros: ``589.12``, ``100``, ``0``; every digit stays."""
    if not amount:
        return "0"
    written = format(amount, "f")  # Decimal.normalize() would round to 28 digits
    return written.rstrip("0").rstrip(".") if "." in written else written
