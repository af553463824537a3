"""`manage.py lint_alert FILE|-`: what the webhook would read from a message template or a body, and how to write it better."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from webhooks.alerts.bodies import decode_body
from webhooks.alerts.linting import Lint, Outcome, Reading, lint
from webhooks.alerts.problems import Unreadable, UnreadableAlert
from webhooks.alerts.reading import SourceRules
from webhooks.alerts.timeframes import ACCEPTED, read_timeframe

LARGEST = 1_000_000  # bytes
COLOURS = {Outcome.SIGNAL: "green", Outcome.EXIT: "cyan", Outcome.REFUSED: "bold red"}


class Command(BaseCommand):
    help = (
        "Says what the webhook would read from a message template or from a body, field by field, on charts that differ; "
        "what breaks there, and a corrected template to copy. Needs no database. Exit 1 if it would be refused on any chart."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE|-")
        parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
        parser.add_argument("--default-timeframe", default="", help="what the source assumes, as in its form")
        parser.add_argument(
            "--accept-missing-timestamp", action="store_true", help="the source takes the time of receipt instead"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            timeframe = read_timeframe(options["default_timeframe"]) if options["default_timeframe"] else ""
            text = decode_body(_read_file(options["file"]))
        except Unreadable as error:
            raise CommandError(f"--default-timeframe: {error} Accepted: {ACCEPTED}.") from None
        except UnreadableAlert as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{options['file']} cannot be read: {error.strerror}.") from None
        rules = SourceRules(default_timeframe=timeframe, accept_missing_timestamp=options["accept_missing_timestamp"])
        found = lint(text, rules=rules, received_at=datetime.now(UTC))
        if options["json"]:
            self.stdout.write(json.dumps(asdict(found), indent=2, ensure_ascii=False))
        else:
            self._print(found)
        if not found.is_accepted:
            raise CommandError("It would be refused.", returncode=1)

    def _print(self, found: Lint) -> None:
        is_terminal = bool(self.stdout.isatty())
        console = Console(
            file=self.stdout,  # type: ignore[arg-type] # Django's wrapper of a text file
            width=None if is_terminal else 160,
            no_color=not is_terminal,
            highlight=False,
            markup=False,
        )
        for charts, reading in _by_outcome(found.readings):
            console.print(Text(f"{charts[:1].upper()}{charts[1:]}", style="bold"))
            console.print(Text(f"  {reading.sentence}", style=COLOURS[reading.outcome]))
            console.print(_table(reading, is_terminal=is_terminal))
        for warning in found.warnings:
            console.print(Text(f"! {warning.message}", style="yellow"))
        if found.corrected:
            console.print(Text("\nBetter written:\n", style="bold"))
            console.print(Text(found.corrected), soft_wrap=True)


def _by_outcome(readings: Sequence[Reading]) -> Iterator[tuple[str, Reading]]:
    """Yield each reading with the name of its chart; those that are refused for the same reasons are told of once."""
    alike: dict[object, list[Reading]] = {}
    for number, reading in enumerate(readings):
        reasons = tuple((problem.field, problem.code) for problem in reading.problems)
        alike.setdefault(reasons or number, []).append(reading)
    for same in alike.values():
        yield "; ".join(reading.chart for reading in same), same[0]


def _table(reading: Reading, *, is_terminal: bool) -> Table:
    box = SIMPLE_HEAD if is_terminal else None
    if reading.problems:
        table = Table("field", "what is wrong", "found", "accepted", box=box)
        for problem in reading.problems:
            at = f"{problem.path}: " if problem.path else ""
            table.add_row(
                problem.field, Text(problem.message), Text(f"{at}{problem.found or ''}"), Text(problem.accepted)
            )
        return table
    table = Table("field", "value", "from", box=box)
    for one in reading.fields:
        table.add_row(one.name, Text(one.value), Text(one.path or "the source"))
    return table


def _read_file(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read(LARGEST)
    with Path(name).open("rb") as file:
        return file.read(LARGEST)
