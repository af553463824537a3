"""The performance report as a table: drawn on a terminal, plain columns everywhere else."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TextIO, cast

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

COLUMNS = (
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
UNDEFINED = "-"
PLAIN_WIDTH = 160


def write_report(report: Mapping[str, Any], *, sentence: str, file: Any) -> None:
    """Write a performance report and the verdict of the comparison.

    :param file: a text file; a table with lines and colours when it is a terminal, else plain text.
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
    table = Table(box=SIMPLE_HEAD if is_terminal else None, title=_title(report["filters"]), title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in {"engine", "kind"} else "right", no_wrap=True)
    for engine, kinds in report["engines"].items():
        for kind, found in kinds.items():
            table.add_row(engine, kind, *_cells(found), end_section=kind == "twin")
    console.print(table)
    console.print("Real, shadow and twin are never added together. A twin is the simulated copy of an executed order.")
    console.print(f"{UNDEFINED} is undefined: no trade, no loss, fewer than two trades, or all of them equal.")
    console.print(sentence, soft_wrap=True)


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
