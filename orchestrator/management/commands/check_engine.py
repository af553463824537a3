"""``manage.py check_engine A|B``: does a running engine keep the wire contract?"""

import asyncio
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.domain.vocabulary import AppMode, Engine
from orchestrator.engine_check import Finding, Result, check_engine
from orchestrator.engines.python import UnusableEngine

COLOURS = {Result.HELD: "green", Result.REFUTED: "bold red", Result.NOT_CHECKED: "yellow"}


class Command(BaseCommand):
    help = (
        "Tests the contract and the idempotency of a running engine with sample alerts and paper orders, one of which it "
        "fills. Nothing is written to the database. An engine that reports by event will report experiments that the "
        "orchestrator does not know, each an incident: use a trial instance of both. Exit 1 when a check is refuted."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("engine", choices=[engine.value for engine in Engine], metavar="A|B")

    def handle(self, *args: Any, **options: Any) -> None:
        found = settings.ENGINES[options["engine"]]
        if settings.APP_MODE == AppMode.LIVE:
            raise CommandError("APP_MODE is LIVE. check_engine sends orders, so it runs with APP_MODE=PAPER only.")
        if not found.url:
            raise CommandError(f"ENGINE_{found.name}_URL is not set, so there is no engine {found.name} to check.")
        try:
            findings = asyncio.run(check_engine(found))
        except UnusableEngine as error:
            raise CommandError(str(error)) from None
        self._print(findings)
        refuted = [finding.check for finding in findings if finding.result is Result.REFUTED]
        if refuted:
            raise CommandError(f"Engine {found.name} is refuted: {'; '.join(refuted)}.")

    def _print(self, findings: list[Finding]) -> None:
        is_terminal = bool(self.stdout.isatty())
        table = Table(box=SIMPLE_HEAD if is_terminal else None)
        for column in ("check", "result", "what was seen"):
            table.add_column(column, overflow="fold")
        for finding in findings:
            table.add_row(finding.check, Text(finding.result, style=COLOURS[finding.result]), finding.detail)
        console = Console(
            file=self.stdout,  # type: ignore[arg-type] # Django's wrapper of a text file
            width=None if is_terminal else 160,
            no_color=not is_terminal,
            highlight=False,
            markup=False,
        )
        console.print(table)
