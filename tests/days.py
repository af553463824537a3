"""Days as the database adds them up, in the plainest way: trade by trade and pair by pair."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal, localcontext

from outcomes.domain.daily import Curve, DayOfDifferences, DayOfTrades, TradeSums

FIRST_DAY = date(2026, 3, 2)  # a Monday


def exact_power(pnl: Decimal, power: int) -> Decimal:
    """Return what PostgreSQL's numeric gives: every digit."""
    with localcontext(prec=300):
        return pnl**power


def curve_of(pnls: Sequence[Decimal]) -> Curve:
    """Walk along the curve, trade by trade."""
    cumulated = peak = trough = fall = Decimal(0)
    for pnl in pnls:
        cumulated += pnl
        peak, trough = max(peak, cumulated), min(trough, cumulated)
        fall = max(fall, peak - cumulated)
    return Curve(cumulated, peak, trough, fall)


def sums_of(pnls: Sequence[Decimal]) -> TradeSums:
    return TradeSums(
        trades=len(pnls),
        wins=sum(pnl > 0 for pnl in pnls),
        losses=sum(pnl < 0 for pnl in pnls),
        squares=_added([exact_power(pnl, 2) for pnl in pnls]),
        cubes=_added([exact_power(pnl, 3) for pnl in pnls]),
        fourths=_added([exact_power(pnl, 4) for pnl in pnls]),
        gross_profit=sum((pnl for pnl in pnls if pnl > 0), Decimal(0)),
        gross_loss=sum((pnl for pnl in pnls if pnl < 0), Decimal(0)),
        downside_squares=_added([exact_power(pnl, 2) for pnl in pnls if pnl < 0]),
        lowest=min(pnls, default=None),
        highest=max(pnls, default=None),
        curve=curve_of(pnls),
    )


def days_of_trades(pnls: Mapping[date, Sequence[Decimal]]) -> list[DayOfTrades]:
    return [DayOfTrades(day, sums_of(of_day)) for day, of_day in sorted(pnls.items()) if of_day]


def one_day(pnls: Sequence[Decimal | int | str]) -> list[DayOfTrades]:
    """Return all trades as if they had closed on one day."""
    return days_of_trades({FIRST_DAY: [Decimal(pnl) for pnl in pnls]})


def days_of_differences(pairs: Sequence[Sequence[Decimal]], *, step: int = 1) -> list[DayOfDifferences]:
    return [
        DayOfDifferences(FIRST_DAY + timedelta(days=step * number), len(day), _added(day))
        for number, day in enumerate(pairs)
    ]


def steady(days: int, *, mean: float, swing: float) -> list[DayOfDifferences]:
    """Return days of two pairs each whose difference swings around ``mean``."""
    return days_of_differences([[Decimal(str(mean + (swing if n % 2 else -swing)))] * 2 for n in range(days)])


def _added(values: Sequence[Decimal]) -> Decimal:
    with localcontext(prec=300):
        return sum(values, Decimal(0))
