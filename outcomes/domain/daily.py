"""PURE: the sums of days from which every figure of a report follows, so that a report reads days and never trades."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal

# Sums of fourth powers of numeric(20,8) amounts, and what is made of them, stay exact over billions of trades.
EXACT = Context(prec=250, rounding=ROUND_HALF_EVEN)
NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Curve:
    """A stretch of the cumulated closed P&L, counted from its own beginning at 0, in the order of closing.

    ``peak`` and ``trough`` are the highest and lowest point, the beginning included (so 0 or above, 0 or below);
    ``drawdown`` is the largest fall inside, 0 or positive. One trade: ``Curve(pnl, max(pnl, 0), min(pnl, 0), max(-pnl, 0))``.
    """

    total: Decimal = NOTHING
    peak: Decimal = NOTHING
    trough: Decimal = NOTHING
    drawdown: Decimal = NOTHING

    def then(self, later: "Curve") -> "Curve":
        """Return this stretch followed by a later one; grouping does not matter, order does."""
        return Curve(
            total=EXACT.add(self.total, later.total),
            peak=max(self.peak, EXACT.add(self.total, later.peak)),
            trough=min(self.trough, EXACT.add(self.total, later.trough)),
            drawdown=max(
                self.drawdown,
                later.drawdown,
                EXACT.subtract(self.peak, EXACT.add(self.total, later.trough)),
            ),
        )


@dataclass(frozen=True, slots=True)
class TradeSums:
    """What the closed trades of one engine and one kind add up to, every sum exact; P&L in currency.

    ``squares``, ``cubes`` and ``fourths`` are sums of powers of the P&L; ``gross_loss`` is 0 or negative;
    ``downside_squares`` is the sum of min(P&L, 0)²; ``lowest`` and ``highest`` are single trades, None without one.
    """

    trades: int = 0
    wins: int = 0
    losses: int = 0
    squares: Decimal = NOTHING
    cubes: Decimal = NOTHING
    fourths: Decimal = NOTHING
    gross_profit: Decimal = NOTHING
    gross_loss: Decimal = NOTHING
    downside_squares: Decimal = NOTHING
    lowest: Decimal | None = None
    highest: Decimal | None = None
    curve: Curve = Curve()

    @property
    def total(self) -> Decimal:
        return self.curve.total

    def then(self, later: "TradeSums") -> "TradeSums":
        """Return these trades followed by later ones."""
        return TradeSums(
            trades=self.trades + later.trades,
            wins=self.wins + later.wins,
            losses=self.losses + later.losses,
            squares=EXACT.add(self.squares, later.squares),
            cubes=EXACT.add(self.cubes, later.cubes),
            fourths=EXACT.add(self.fourths, later.fourths),
            gross_profit=EXACT.add(self.gross_profit, later.gross_profit),
            gross_loss=EXACT.add(self.gross_loss, later.gross_loss),
            downside_squares=EXACT.add(self.downside_squares, later.downside_squares),
            lowest=_known(min, self.lowest, later.lowest),
            highest=_known(max, self.highest, later.highest),
            curve=self.curve.then(later.curve),
        )


@dataclass(frozen=True, slots=True)
class DayOfTrades:
    """The trades of one engine and kind that closed on one day (UTC date of the exit), at least one."""

    day: date
    sums: TradeSums


@dataclass(frozen=True, slots=True)
class Answers:
    """How often an engine was heard in one role, and how often it passed; failed calls are not answers.

    Kind "real" (and "twin"): where the policy named the engine to execute; kind "shadow": where it did not.
    """

    answers: int = 0
    passes: int = 0


@dataclass(frozen=True, slots=True)
class DayOfDifferences:
    """The complete pairs of one day of completion: how many, and the sum of A minus B, in one unit (R or currency)."""

    day: date
    pairs: int
    difference: Decimal


@dataclass(frozen=True, slots=True)
class DayOfWins:
    """The discordant pairs of one day: those in which only A made money (P&L above 0), and those in which only B did."""

    day: date
    only_a: int
    only_b: int


@dataclass(frozen=True, slots=True)
class DayOfPairs:
    """The complete pairs of one day (UTC date on which the second side was known), on one basis of exits; A minus B.

    ``pairs_in_r`` are those of which both sides have a result in R. A PASS is complete with 0, in both units.
    """

    day: date
    pairs: int
    difference: Decimal
    pairs_in_r: int
    difference_in_r: Decimal
    only_a: int
    only_b: int
    passed_a: int
    passed_b: int
    passed_both: int


@dataclass(frozen=True, slots=True)
class IncompletePairs:
    """The pairs that no mean contains: open ones with the age of the oldest in seconds (None without one), and others."""

    open: int = 0
    oldest_open_seconds: float | None = None
    void: int = 0
    no_answer: int = 0


@dataclass(frozen=True, slots=True)
class DayOfAssignments:
    """The experiments of one day (UTC date of creation) whose policy version gives engine A ``share`` percent, 0 to 100."""

    day: date
    share: int
    variant_a: int
    variant_b: int


def altogether(days: Iterable[DayOfTrades]) -> TradeSums:
    """Return what days in their order add up to."""
    sums = TradeSums()
    for day in days:
        sums = sums.then(day.sums)
    return sums


def in_r(days: Iterable[DayOfPairs]) -> list[DayOfDifferences]:
    """Return the days with pairs that have a result in R on both sides."""
    return [DayOfDifferences(day.day, day.pairs_in_r, day.difference_in_r) for day in days if day.pairs_in_r]


def in_currency(days: Iterable[DayOfPairs]) -> list[DayOfDifferences]:
    return [DayOfDifferences(day.day, day.pairs, day.difference) for day in days if day.pairs]


def wins(days: Iterable[DayOfPairs]) -> list[DayOfWins]:
    return [DayOfWins(day.day, day.only_a, day.only_b) for day in days if day.pairs]


def _known(choose: Callable[[Decimal, Decimal], Decimal], one: Decimal | None, other: Decimal | None) -> Decimal | None:
    if one is None or other is None:
        return other if one is None else one
    return choose(one, other)
