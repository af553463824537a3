"""Which option contract is meant: its monthly expiration, its strike and its OCC symbol.

Whether an exchange lists it is not known to the reference engines; the steps are those that exchanges commonly use.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from re import compile as pattern

MULTIPLIER = Decimal(100)
FEWEST_DAYS = 30
HIGHEST_STRIKE = Decimal(99_999)
STRIKE_STEPS = (
    (Decimal(25), Decimal("0.5")),
    (Decimal(200), Decimal(1)),
    (Decimal(1000), Decimal(5)),
    (Decimal(5000), Decimal(25)),
)
WIDEST_STEP = Decimal(50)
FRIDAY, JUNE, JUNETEENTH, JUNETEENTH_SINCE = 4, 6, 19, 2022
ROOT = pattern(r"[A-Z][A-Z0-9]{0,5}")


class NoContract(ValueError):
    """No option can be named for this symbol at this price."""


@dataclass(frozen=True, slots=True)
class Contract:
    """One option series. ``right`` is CALL or PUT, ``strike`` in the currency of the underlying."""

    root: str
    right: str
    strike: Decimal
    expiration: date

    @property
    def option_symbol(self) -> str:
        """The OCC symbol without padding: root, yymmdd, C or P, strike in thousandths: ``SPY260320C00590000``."""
        return f"{self.root}{self.expiration:%y%m%d}{self.right[0]}{int(self.strike * 1000):08d}"


def choose_contract(symbol: str, *, direction: str, price: Decimal, today: date, steps_out: int = 0) -> Contract:
    """Return the call (long) or put (short) nearest to the money, ``steps_out`` strikes further out of the money.

    :param price: of the underlying; ``today``: the engine's own, for a contract that has expired cannot be bought.
    :raises NoContract: with a sentence that says why not.
    """
    root = symbol.upper().replace(".", "").replace("/", "")
    if not ROOT.fullmatch(root):
        raise NoContract(
            f"{symbol} cannot be the root of an option symbol (a letter, then up to five letters or digits)"
        )
    right, sign = ("CALL", 1) if direction == "long" else ("PUT", -1)
    step = strike_step(price)
    strike = (price / step).quantize(Decimal(1), ROUND_HALF_EVEN) * step + sign * steps_out * step
    if not 0 < strike <= HIGHEST_STRIKE:
        raise NoContract(f"no strike can be written for {symbol} at a price of {price}")
    return Contract(root, right, strike, monthly_expiration(today + timedelta(days=FEWEST_DAYS)))


def strike_step(price: Decimal) -> Decimal:
    """Return the distance of two strikes at this price of the underlying."""
    return next((step for below, step in STRIKE_STEPS if price < below), WIDEST_STEP)


def monthly_expiration(earliest: date) -> date:
    """Return the first monthly expiration on or after ``earliest``: third Friday, or Thursday before a holiday."""
    expiration = _expiration_of(earliest.year, earliest.month)
    if expiration >= earliest:
        return expiration
    following = earliest.replace(day=1) + timedelta(days=31)
    return _expiration_of(following.year, following.month)


def _expiration_of(year: int, month: int) -> date:
    first = date(year, month, 1)
    friday = first + timedelta(days=(FRIDAY - first.weekday()) % 7 + 14)
    closed = friday == _easter(year) - timedelta(days=2) or (
        year >= JUNETEENTH_SINCE and (month, friday.day) == (JUNE, JUNETEENTH)
    )
    return friday - timedelta(days=1) if closed else friday


def _easter(year: int) -> date:
    """Return Easter Sunday of the Gregorian calendar (the anonymous algorithm, Meeus 1991)."""
    century, in_century = divmod(year, 100)
    moon = (19 * (year % 19) + century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    weekday = (32 + 2 * (century % 4) + 2 * (in_century // 4) - moon - in_century % 4) % 7
    late = (year % 19 + 11 * moon + 22 * weekday) // 451
    month, day = divmod(moon + weekday - 7 * late + 114, 31)
    return date(year, month, day + 1)
