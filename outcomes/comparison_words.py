"""How the figures of the reports are written on the page of the comparison."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from outcomes.charts.shapes import counted, with_minus
from outcomes.domain.verdict import VerdictCode

NONE = "-"
SMALLEST_SHOWN = 0.001
HEADLINES = {
    VerdictCode.TOO_EARLY: "Too early to say which engine is better.",
    VerdictCode.A_BETTER: "Engine A is better.",
    VerdictCode.B_BETTER: "Engine B is better.",
    VerdictCode.NOT_CLEAR: "There is no clear difference between the engines yet.",
    VerdictCode.NOT_MEASURABLE: "The difference cannot be measured.",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure as it is written; ``why`` says why it is undefined."""

    text: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Basis:
    """One way to compare the same pairs; only the first is the verdict's."""

    name: str
    unit: str
    mean: str
    low: str
    high: str
    pairs: str
    days: str
    p_value: str
    why: str


def headline(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the verdict in one sentence, what is missing, and the difference in R and currency."""
    verdict, in_r, in_currency = report["verdict"], report["difference"]["R"], report["difference"]["currency"]
    rest = verdict["sentence"]
    for beginning in (
        "Too early to say: ",
        "Engine A is better: ",
        "Engine B is better: ",
        "No clear difference yet: ",
    ):
        rest = rest.removeprefix(beginning)
    return {
        "code": verdict["code"],
        "sentence": HEADLINES[VerdictCode(verdict["code"])],
        "rest": with_minus(rest[:1].upper() + rest[1:]),
        "missing": _missing(verdict, report["method"]["cluster"].lower()),
        "r": signed(in_r["mean"], 3),
        "r_interval": _known(in_r, 3),
        "currency": money(in_currency["mean"]),
        "currency_interval": _known(in_currency, 2),
    }


def bases(report: Mapping[str, Any]) -> list[Basis]:
    """Return the difference on each basis of exits, in R first."""
    named = (("Exits together (the verdict)", "difference"), ("Each at its own exit (not the verdict)", "own_exits"))
    return [
        _basis(name, unit, report[key][unit], 3 if unit == "R" else 2)
        for name, key in named
        for unit in ("R", "currency")
    ]


def performance_rows(report: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, list[Cell]]]]]:
    """Return, per engine and kind, the figures in the order of ``COLUMNS``."""
    return [
        (engine, [(kind, [_cell(name, found) for name in COLUMNS]) for kind, found in kinds.items()])
        for engine, kinds in report["engines"].items()
    ]


def method(performance: Mapping[str, Any], comparison: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Return what stands behind each "(how is this computed?)": figure and source."""
    of_trades, of_pairs = performance["method"]["sources"], comparison["method"]["sources"]

    def chosen(sources: Mapping[str, str], *names: str) -> list[tuple[str, str]]:
        return [(name.replace("_", " "), sources[name]) for name in names]

    return {
        "verdict": chosen(of_pairs, "pairs", "R", "standard_error", "interval", "p_value", "needed"),
        "curves": chosen(of_trades, "max_drawdown"),
        "pairs": chosen(of_pairs, "pairs", "R"),
        "performance": [(name.replace("_", " "), told) for name, told in of_trades.items()],
        "trust": chosen(of_pairs, "assignment", "execution_cost", "autocorrelation", "wins_more_often"),
    }


def signed(value: float | str | None, places: int) -> str:
    """Return a number with its sign, a real minus; None as a dash."""
    if value is None:
        return NONE
    text = f"{Decimal(value):+,.{places}f}"
    return with_minus(text) if any(digit in "123456789" for digit in text) else text[1:]


def money(value: str | None) -> str:
    return signed(value, 2)


def percent(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:.1f} %"


def probability(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.3f}" if value >= SMALLEST_SHOWN else f"below {SMALLEST_SHOWN}"


def between(interval: Sequence[Any], places: int) -> str:
    low, high = interval
    return f"{signed(low, places)} to {signed(high, places)}"


def duration(seconds: float | None) -> str:
    """Return a stretch of time in the largest sensible unit."""
    if seconds is None:
        return NONE
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _known(found: Mapping[str, Any], places: int) -> str:
    """Return how sure a difference is, or why that cannot be said."""
    return f"95 %: {between(found['interval'], places)}" if found["interval"] else str(found["reason"])


def _missing(verdict: Mapping[str, Any], noun: str) -> str:
    lacking = [
        counted(number, name)
        for number, name in ((verdict["days_needed"], noun), (verdict["pairs_needed"], "complete pair"))
        if number
    ]
    return f"Missing for a first verdict: {' and '.join(lacking)}." if lacking else ""


def _basis(name: str, unit: str, found: Mapping[str, Any], places: int) -> Basis:
    low, high = found["interval"] or (None, None)
    return Basis(
        name=name,
        unit=unit,
        mean=signed(found["mean"], places),
        low=signed(low, places),
        high=signed(high, places),
        pairs=f"{found['pairs']:,}",
        days=f"{found['days']:,}",
        p_value=probability(found["p_value"]),
        why=found["reason"] or "",
    )


def _cell(name: str, found: Mapping[str, Any]) -> Cell:
    value = found[name]
    if value is None:
        return Cell(NONE, found["undefined"][name]["reason"])
    return Cell(COLUMNS[name][1](value))


# figure of the performance report: its heading, and how it is written
COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "trades": ("Trades", "{:,}".format),
    "win_rate": ("Win rate", percent),
    "win_rate_interval": ("95 %", lambda ends: f"{percent(ends[0])} to {percent(ends[1])}"),
    "average_pnl": ("Average P&L", money),
    "total_pnl": ("Total P&L", money),
    "profit_factor": ("Profit factor", "{:,.3f}".format),
    "max_drawdown": ("Max drawdown", lambda fall: f"{Decimal(fall):,.2f}"),
    "sharpe_ratio": ("Sharpe per trade", lambda ratio: signed(ratio, 3)),
    "sharpe_standard_error": ("± SE", "{:,.3f}".format),
}
