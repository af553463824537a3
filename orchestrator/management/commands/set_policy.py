"""manage.py set_policy KEY=VALUE …: change several panel keys as one revision."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.panel import CONSTANCE_KEYS
from orchestrator.domain.operator_settings import SenselessSetting
from orchestrator.panel.advice import advice
from orchestrator.revisions import current_revision, record_revision, settings_of


class Command(BaseCommand):
    help = f"Change settings of the panel as one policy revision. Keys: {', '.join(CONSTANCE_KEYS)}."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "changes",
            nargs="+",
            metavar="KEY=VALUE",
            help="for example EXECUTION_MODE=SPLIT_CAPITAL SPLIT_PERCENTAGE=30",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            revision = record_revision(_parsed(options["changes"]), changed_by="cli")
        except SenselessSetting as refusal:
            raise CommandError(f"{refusal} Nothing was changed.") from None
        if revision is None:
            self.stdout.write(f"Nothing to change: revision {current_revision().number} says so already.")
            return
        values = ", ".join(f"{key}={value}" for key, value in settings_of(revision).items())
        self.stdout.write(f"Revision {revision.number} ({revision.policy_version}): {values}.")
        for sentence in advice(revision.as_domain()):
            self.stderr.write(sentence)


def _parsed(pairs: list[str]) -> dict[str, str]:
    changes: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise CommandError(f"{pair[:80]!r} is not of the form KEY=VALUE. Nothing was changed.")
        if key in changes:
            raise CommandError(f"{key[:60]} is given twice. Nothing was changed.")
        changes[key] = value
    return changes
