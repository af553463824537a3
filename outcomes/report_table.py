"""The performance report as a table: drawn on a terminal, plain columns everywhere else."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TextIO, cast

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

TEXT_COLUMNS = frozenset({"engine", "kind", "A minus B, per signal", "counted"})
PERFORMANCE_COLUMNS = (
    "engine",
    "kind",
    "trades",
    "wins",
    "losses",
    "scratches",
    "win rate",
    "average P&L",
    "total P&L",
    "Sharpe/trade",
    "profit factor",
    "max drawdown",
)
DIFFERENCE_COLUMNS = ("A minus B, per signal", "pairs", "days", "mean", "at least", "at most", "p-value")
UNDEFINED = "-"
PLAIN_WIDTH = 160


def write_report(performance: Mapping[str, Any], comparison: Mapping[str, Any], *, file: Any) -> None:
    """Write the performance of both engines, the verdict, what it follows from, and what to know before believing it.

    :param file: a text file; tables with lines and colours when it is a terminal, else plain text.
    """
    is_terminal = bool(file.isatty())
    console = Console(
        file=cast("TextIO", file),
        width=None if is_terminal else PLAIN_WIDTH,
        no_color=not is_terminal,
        force_terminal=is_terminal,
        highlight=False,
        markup=False,
    )
    table = _table(PERFORMANCE_COLUMNS, title=_title(performance["filters"]), is_terminal=is_terminal)
    for engine, kinds in performance["engines"].items():
        for kind, found in kinds.items():
            table.add_row(engine, kind, *_cells(found), end_section=kind == "twin")
    console.print(table)
    console.print("Real, shadow and twin are never added together. A twin is the simulated copy of an executed order.")
    console.print(f"{UNDEFINED} is undefined: no trade, no loss, fewer than two trades, or all of them equal.\n")
    table = _table(DIFFERENCE_COLUMNS, title="Which engine is better?", is_terminal=is_terminal)
    for name, found in _differences(comparison):
        table.add_row(name, *_difference_cells(found, is_money=name.endswith("currency")))
    console.print(comparison["verdict"]["sentence"], soft_wrap=True, style="bold" if is_terminal else None)
    console.print(table)
    for sentence in _sentences(comparison):
        console.print(sentence, soft_wrap=True)


def _table(columns: tuple[str, ...], *, title: str, is_terminal: bool) -> Table:
    table = Table(box=SIMPLE_HEAD if is_terminal else None, title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column in TEXT_COLUMNS else "right", no_wrap=True)
    return table


def _differences(comparison: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [
        ("exits together, in R", comparison["difference"]["R"]),
        ("exits together, in currency", comparison["difference"]["currency"]),
        ("each at its own exit, in R", comparison["own_exits"]["R"]),
        ("each at its own exit, in currency", comparison["own_exits"]["currency"]),
    ]


def _difference_cells(found: Mapping[str, Any], *, is_money: bool) -> list[str]:
    written = _money if is_money else _ratio
    low, high = found["interval"] or (None, None)
    p_value = UNDEFINED if found["p_value"] is None else f"{found['p_value']:.3f}"
    return [f"{found['pairs']:,}", f"{found['days']:,}", written(found["mean"]), written(low), written(high), p_value]


def _sentences(comparison: Mapping[str, Any]) -> list[str]:
    pairs, cost = comparison["pairs"], comparison["execution_cost"]
    oldest = pairs["oldest_open_seconds"]
    age = f" (the oldest for {oldest / 3600:,.1f} hours)" if oldest is not None else ""
    passes = pairs["passes"]
    return [
        f"Pairs: {pairs['complete']:,} complete, {pairs['open']:,} open{age}, not comparable: {pairs['not_comparable']['void']:,} "
        f"void, {pairs['not_comparable']['no_answer']:,} without an answer. {pairs['complete_without_r']:,} have no R. "
        f"Passes: A {passes['A']:,}, B {passes['B']:,}, both {passes['both']:,}.",
        f"Real trades against their own twins: {cost['sentence']}",
        *(f"Note: {told}" for told in _caveats(comparison)),
    ]


def _caveats(comparison: Mapping[str, Any]) -> list[str]:
    return [str(caveat["sentence"]) if isinstance(caveat, Mapping) else str(caveat) for caveat in comparison["caveats"]]


def _title(filters: Mapping[str, str | None]) -> str:
    chosen = ", ".join(f"{name} {value}" for name, value in filters.items() if value is not None)
    return f"Closed trades: {chosen or 'all'}"


def _cells(found: Mapping[str, Any]) -> list[str]:
    return [
        *(f"{found[name]:,}" for name in ("trades", "wins", "losses", "scratches")),
        UNDEFINED if found["win_rate"] is None else f"{found['win_rate']:.1%}",
        _money(found["average_pnl"]),
        _money(found["total_pnl"]),
        _ratio(found["sharpe_ratio"]),
        _ratio(found["profit_factor"]),
        _money(found["max_drawdown"]),
    ]


def _money(amount: str | None) -> str:
    return UNDEFINED if amount is None else f"{Decimal(amount):,.2f}"


def _ratio(value: float | None) -> str:
    return UNDEFINED if value is None else f"{value:,.3f}"
