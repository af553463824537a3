"""The reports as CSV: for a spreadsheet, which must never take a text for a formula."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any, TextIO

from orchestrator.domain.amounts import decimal_string
from orchestrator.domain.moments import moment_string
from outcomes.pair_rows import PairRow

# what a spreadsheet takes for the beginning of a formula (OWASP, CSV injection)
BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def write_performance_csv(report: Mapping[str, Any], file: TextIO) -> None:
    """Write a performance report, a line per engine and kind; undefined is an empty cell."""
    writer = csv.writer(file, lineterminator="\n")
    lines = [
        {"engine": engine, "kind": kind, **_flat(found)}
        for engine, kinds in report["engines"].items()
        for kind, found in kinds.items()
    ]
    filters = {f"filter_{name}": value for name, value in report["filters"].items()}
    writer.writerow([*lines[0], *filters])
    for line in lines:
        writer.writerow([_cell(value) for value in (*line.values(), *filters.values())])


def write_pairs_csv(pairs: Iterable[PairRow], file: TextIO) -> None:
    """Write pairs, a line each, in the order of completion; without capital at risk the cells in R are empty."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(PairRow.__dataclass_fields__)
    for pair in pairs:
        writer.writerow([_cell(value) for value in asdict(pair).values()])


def write_table_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]], file: TextIO) -> None:
    """Write a table of words, numbers, days and moments; None is an empty cell."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(value) for value in row])


def neutral(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(BEGINS_A_FORMULA) else text


def _flat(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures with both ends of an interval apart; why one is undefined is left to the JSON."""
    flat: dict[str, Any] = {}
    for name, value in found.items():
        if name == "undefined":
            continue
        if name.endswith("_interval"):
            flat[f"{name}_low"], flat[f"{name}_high"] = map(_amount, value or (None, None))
        else:
            flat[name] = _amount(value)
    return flat


def _amount(value: Any) -> Any:
    """Return a decimal string as the number that it is: a loss begins with a minus and is no formula."""
    return Decimal(value) if isinstance(value, str) else value


def _cell(value: Any) -> Any:
    match value:
        case None:
            return ""
        case Decimal():
            return decimal_string(value)
        case datetime():
            return moment_string(value)
        case str():
            return neutral(value)
        case _:
            return value
