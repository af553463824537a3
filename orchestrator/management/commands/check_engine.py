"""``manage.py check_engine A|B``: does a running engine keep the wire contract, and can it do what it claims?"""

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.domain.vocabulary import AppMode, Capability, Engine
from orchestrator.engine_check import Check, Finding, Result, check_engine, make_trial
from orchestrator.engines.python import UnusableEngine
from orchestrator.events import ABOUT_A_TRIAL
from orchestrator.models import EngineEvent, EngineProof, EngineTrial
from orchestrator.proofs import record_proofs
from orchestrator.queue import database_clock

COLOURS = {
    Result.HELD: "green",
    Result.NOTED: "cyan",
    Result.REFUTED: "bold red",
    Result.NOT_CHECKED: "yellow",
    "proved": "green",
    "refuted": "bold red",
    "not judged": "yellow",
}


class Command(BaseCommand):
    help = (
        "Tests the contract of a running engine with sample alerts and paper orders, one of which it fills, and keeps "
        "with the date which of its claims were proved: with real money an engine is used only while they are. What the "
        "engine reports about these questions and orders is kept and opens no incident. Exit 1 when a check is refuted."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("engine", choices=[engine.value for engine in Engine], metavar="A|B")
        parser.add_argument("--url", default="", help="ask another instance of the same engine, one in paper mode")

    def handle(self, *args: Any, **options: Any) -> None:
        found = settings.ENGINES[options["engine"]]
        if options["url"]:
            found = replace(found, url=options["url"].rstrip("/"))
        if not found.url:
            raise CommandError(f"ENGINE_{found.name}_URL is not set, so there is no engine {found.name} to check.")
        trial, began = make_trial(), database_clock()
        EngineTrial.objects.bulk_create(EngineTrial(id=one, engine=found.name) for one in trial.ids)
        try:
            findings = asyncio.run(check_engine(found, trial, must_say_paper=settings.APP_MODE == AppMode.LIVE))
        except UnusableEngine as error:
            raise CommandError(str(error)) from None
        findings.append(_events_since(found.name, began))
        proofs = record_proofs(found, findings)
        self._print(("check", "result", "what was seen"), [(one.check, one.result, one.detail) for one in findings])
        self._print(("capability", "verdict", "claimed"), [_judged(proof) for proof in proofs])
        refuted = [finding.check for finding in findings if finding.result is Result.REFUTED]
        if refuted:
            raise CommandError(f"Engine {found.name} is refuted: {'; '.join(refuted)}.")

    def _print(self, columns: tuple[str, str, str], rows: list[tuple[str, str, str]]) -> None:
        is_terminal = bool(self.stdout.isatty())
        table = Table(box=SIMPLE_HEAD if is_terminal else None)
        for column in columns:
            table.add_column(column, overflow="fold")
        for name, verdict, detail in rows:
            table.add_row(name, Text(verdict, style=COLOURS[verdict]), detail)
        console = Console(
            file=self.stdout,  # type: ignore[arg-type] # Django's wrapper of a text file
            width=None if is_terminal else 160,
            no_color=not is_terminal,
            highlight=False,
            markup=False,
        )
        console.print(table)


def _events_since(engine: str, began: datetime) -> Finding:
    """Tell whether the engine has reported anything of this: an unsigned event is not stored, but noted."""
    unsigned = EngineProof.objects.filter(
        engine=engine, capability=Capability.SIGNS_EVENTS, proved=False, checked_at__gte=began
    ).first()
    if unsigned is not None:
        return Finding(Check.SIGNS_EVENTS, Result.REFUTED, unsigned.detail.partition(": ")[2])
    if EngineEvent.objects.filter(engine=engine, received_at__gte=began, detail=ABOUT_A_TRIAL).exists():
        return Finding(Check.SIGNS_EVENTS, Result.HELD, "a signed event about a trial has come in")
    told = "no event about a trial has come in; this engine may report by answers alone, or report elsewhere"
    return Finding(Check.SIGNS_EVENTS, Result.NOT_CHECKED, told)


def _judged(proof: EngineProof) -> tuple[str, str, str]:
    verdict = {True: "proved", False: "refuted", None: "not judged"}[proof.proved]
    return proof.capability, verdict, "claimed" if proof.claimed else "not claimed"
