"""manage.py replay_experiments [IDS …] [--since TIME]: compute everything again and compare it with what is stored."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestrator.models import Experiment
from orchestrator.replay import Revisions, differences, experiments_to_replay

NAMED = 5


class Command(BaseCommand):
    help = (
        "Recompute every hash, id, variant and decision from what is stored. "
        "Prints each difference; the exit code is 1 when there is one."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "ids", nargs="*", metavar="EXPERIMENT_ID", help="only these; all of them when none is named"
        )
        parser.add_argument(
            "--since", metavar="TIME", help="only experiments created since, ISO 8601; UTC without a zone"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        ids = [_uuid(text) for text in options["ids"]] or None
        since = None if options["since"] is None else _time(options["since"])
        if ids is not None:
            _require(ids)
        revisions: Revisions = {}
        replayed = found = 0
        for experiment in experiments_to_replay(ids, since=since):
            replayed += 1
            for difference in differences(experiment, revisions=revisions):
                found += 1
                self.stdout.write(f"experiment {difference.experiment_id}: {difference.what}")
                self.stdout.write(f"  stored:     {difference.stored}")
                self.stdout.write(f"  recomputed: {difference.recomputed}")
        summary = f"{replayed} experiments, {found} differences"
        if found:
            raise CommandError(f"{summary}.")
        self.stdout.write(summary)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise CommandError(
            f"{text[:80]!r} is not the id of an experiment. Accepted: a UUID such as 0192f0a0-0000-83a8-a210-8b9158f818d1."
        ) from None


def _time(text: str) -> datetime:
    try:
        since = datetime.fromisoformat(text.strip())
        return (since if since.tzinfo else since.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise CommandError(
            f"--since is {text[:80]!r}. Accepted: an ISO 8601 time such as 2026-03-02T14:30:00Z or 2026-03-02."
        ) from None


def _require(ids: list[UUID]) -> None:
    known = set(Experiment.objects.filter(pk__in=ids).values_list("pk", flat=True))
    unknown = [str(key) for key in ids if key not in known]
    if unknown:
        more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
        raise CommandError(f"There is no experiment {', '.join(unknown[:NAMED])}{more}.")
