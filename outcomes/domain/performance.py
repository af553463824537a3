"""PURE: the performance of one engine and one kind of trades (real, shadow or twin; never pooled), from sums of days."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from orchestrator.domain.amounts import PLACES, decimal_string
from outcomes.domain.daily import EXACT, Answers, DayOfTrades, TradeSums, altogether
from outcomes.domain.intervals import average_interval, wilson_interval
from outcomes.domain.moments import kurtosis, mean, skewness, spread_undefined
from outcomes.domain.sharpe import (
    annualised_sharpe_ratio,
    minimum_track_record,
    probabilistic_sharpe_ratio,
    sharpe_ratio,
    sortino_ratio,
)
from outcomes.domain.undefined import NO_ANSWERS, NO_LOSSES, NO_TRADES, NO_WINS, Undefined

KINDS = ("real", "shadow", "twin")

Figure = int | float | Decimal | tuple[float, float] | tuple[Decimal, Decimal] | Undefined


@dataclass(frozen=True, slots=True)
class Performance:
    """Every figure by its name in the report: counts and ratios as numbers, money as Decimal, or why it is undefined."""

    figures: Mapping[str, Figure]

    def as_json(self) -> dict[str, Any]:
        """Return the members of a report: money as decimal strings, undefined as null and told apart in ``undefined``."""
        return {
            **{name: _written(figure) for name, figure in self.figures.items()},
            "undefined": {
                name: {"code": figure.code.value, "reason": figure.reason}
                for name, figure in self.figures.items()
                if isinstance(figure, Undefined)
            },
        }


def performance(days: Sequence[DayOfTrades], answers: Answers = Answers()) -> Performance:  # noqa: B008 - frozen
    """Return the performance over ``days``, which are in order (requirement 5.4, property 19).

    A win is a P&L above 0, a loss below, a scratch exactly 0; scratches count as trades, so they lower the win rate, and
    passes are no trades. Money in the account's currency. The drawdown is the largest fall of the cumulated closed P&L
    from its highest point so far, at least 0 because the curve starts there.
    """
    sums = altogether(days)
    sharpe, annualised = sharpe_ratio(sums), annualised_sharpe_ratio(days)
    shapeless = spread_undefined(sums)
    return Performance(
        {
            "trades": sums.trades,
            "wins": sums.wins,
            "losses": sums.losses,
            "scratches": sums.trades - sums.wins - sums.losses,
            "win_rate": sums.wins / sums.trades if sums.trades else NO_TRADES,
            "win_rate_interval": wilson_interval(hits=sums.wins, tries=sums.trades) if sums.trades else NO_TRADES,
            "passes": answers.passes,
            "answers": answers.answers,
            "pass_rate": answers.passes / answers.answers if answers.answers else NO_ANSWERS,
            "pass_rate_interval": (
                wilson_interval(hits=answers.passes, tries=answers.answers) if answers.answers else NO_ANSWERS
            ),
            "average_pnl": mean(sums) if sums.trades else NO_TRADES,
            "average_pnl_interval": average_interval(sums),
            "total_pnl": sums.total,
            "profit_factor": profit_factor(sums),
            "payoff_ratio": payoff_ratio(sums),
            "max_drawdown": sums.curve.drawdown,
            "sharpe_ratio": sharpe if isinstance(sharpe, Undefined) else sharpe.value,
            "sharpe_standard_error": sharpe if isinstance(sharpe, Undefined) else sharpe.standard_error,
            "skewness": shapeless or float(skewness(sums)),
            "kurtosis": shapeless or float(kurtosis(sums)),
            "probabilistic_sharpe_ratio_2012": probabilistic_sharpe_ratio(sharpe),
            "minimum_track_record_length": minimum_track_record(sharpe, observations=sums.trades),
            "annualised_sharpe_ratio": annualised if isinstance(annualised, Undefined) else annualised.value,
            "annualised_sharpe_standard_error": (
                annualised if isinstance(annualised, Undefined) else annualised.standard_error
            ),
            "sortino_ratio": sortino_ratio(sums),
        }
    )


def profit_factor(sums: TradeSums) -> float | Undefined:
    """Return gross profit / gross loss."""
    if not sums.trades:
        return NO_TRADES
    return float(EXACT.divide(sums.gross_profit, -sums.gross_loss)) if sums.losses else NO_LOSSES


def payoff_ratio(sums: TradeSums) -> float | Undefined:
    """Return the average win / the average loss, both without sign."""
    if not sums.trades:
        return NO_TRADES
    if not sums.losses:
        return NO_LOSSES
    if not sums.wins:
        return NO_WINS
    return float(
        EXACT.divide(
            EXACT.divide(sums.gross_profit, Decimal(sums.wins)), EXACT.divide(-sums.gross_loss, Decimal(sums.losses))
        )
    )


def _written(figure: Figure) -> Any:
    if isinstance(figure, Undefined):
        return None
    if isinstance(figure, tuple):
        return [_written(end) for end in figure]
    if isinstance(figure, Decimal):
        return decimal_string(figure.quantize(PLACES, context=EXACT))
    return figure
