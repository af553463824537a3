"""PURE: what a set of closed trades is worth: ratios from exact sums, undefined where they mean nothing, never NaN."""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from orchestrator.domain.amounts import PLACES, decimal_string

KINDS = ("real", "shadow", "twin")

# Sums of squares of numeric(20,8) amounts over many millions of trades stay exact.
EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Sums:
    """What the database adds up over the closed trades of one engine and kind, all of it exact.

    Money in the account's currency; ``squares`` in currency squared; ``gross_loss`` is 0 or negative; ``lowest`` and
    ``highest`` are single trades, None without one; ``max_drawdown`` is 0 or positive.
    """

    trades: int
    wins: int
    losses: int
    total: Decimal
    squares: Decimal
    gross_profit: Decimal
    gross_loss: Decimal
    lowest: Decimal | None
    highest: Decimal | None
    max_drawdown: Decimal


NOTHING_CLOSED = Sums(0, 0, 0, Decimal(0), Decimal(0), Decimal(0), Decimal(0), None, None, Decimal(0))


@dataclass(frozen=True, slots=True)
class Metrics:
    """The performance of one engine and kind; None is "undefined", never 0 (requirement 5.4, property 19).

    Money in the account's currency, rounded to 8 places; ``win_rate`` is 0 to 1; ``sharpe_ratio`` is per trade, not
    annualised; ``max_drawdown`` is the largest fall of the cumulated closed P&L from its highest point so far, which is
    at least 0 because the curve starts there.
    """

    trades: int
    wins: int
    losses: int
    scratches: int
    win_rate: float | None
    average_pnl: Decimal | None
    total_pnl: Decimal
    sharpe_ratio: float | None
    profit_factor: float | None
    max_drawdown: Decimal

    def as_json(self) -> dict[str, Any]:
        """Return the members of a report: counts and ratios as numbers, money as decimal strings."""
        return {
            "trades": self.trades,
            "wins": self.wins,
            "losses": self.losses,
            "scratches": self.scratches,
            "win_rate": self.win_rate,
            "average_pnl": None if self.average_pnl is None else decimal_string(self.average_pnl),
            "total_pnl": decimal_string(self.total_pnl),
            "sharpe_ratio": self.sharpe_ratio,
            "profit_factor": self.profit_factor,
            "max_drawdown": decimal_string(self.max_drawdown),
        }


def metrics(sums: Sums) -> Metrics:
    """Return the performance that the sums stand for.

    A win is a P&L above 0, a loss below, a scratch exactly 0; scratches count as trades, so they lower the win rate.
    """
    return Metrics(
        trades=sums.trades,
        wins=sums.wins,
        losses=sums.losses,
        scratches=sums.trades - sums.wins - sums.losses,
        win_rate=sums.wins / sums.trades if sums.trades else None,
        average_pnl=_average(sums),
        total_pnl=sums.total,
        sharpe_ratio=sharpe_ratio(sums),
        profit_factor=profit_factor(sums),
        max_drawdown=sums.max_drawdown,
    )


def sharpe_ratio(sums: Sums) -> float | None:
    """Return mean / standard deviation (ddof 1) of the P&L per trade, risk-free rate 0 (Sharpe 1994).

    None for fewer than two trades, and when all are equal: that is asked of the extremes, because a computed deviation
    of equal numbers need not come out as exactly 0.
    """
    if sums.trades <= 1 or sums.lowest == sums.highest:
        return None
    mean = EXACT.divide(sums.total, Decimal(sums.trades))
    around_mean = EXACT.subtract(sums.squares, EXACT.multiply(mean, sums.total))
    deviation = EXACT.sqrt(EXACT.divide(around_mean, Decimal(sums.trades - 1)))
    return float(EXACT.divide(mean, deviation))


def profit_factor(sums: Sums) -> float | None:
    """Return gross profit / gross loss, None without a loss."""
    return float(EXACT.divide(sums.gross_profit, -sums.gross_loss)) if sums.gross_loss else None


def _average(sums: Sums) -> Decimal | None:
    return EXACT.divide(sums.total, Decimal(sums.trades)).quantize(PLACES, context=EXACT) if sums.trades else None
