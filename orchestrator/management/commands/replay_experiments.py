"""manage.py replay_experiments [IDS …] [--since TIME]: compute everything again and compare it with what is stored.

With ``--engines`` the engines are asked again as well, with the stored bytes and without trading.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestrator.asking_again import repeat_questions
from orchestrator.domain.agreement import MEANINGS
from orchestrator.domain.vocabulary import Engine
from orchestrator.engines.python import UnusableEngine
from orchestrator.models import Experiment
from orchestrator.replay import Revisions, differences, experiments_to_replay
from outcomes.domain.intervals import wilson_interval

NAMED = 5
MOST_REPEATED = 10_000


class Command(BaseCommand):
    help = (
        "Recompute every hash, id, variant and decision from what is stored. "
        "Prints each difference; the exit code is 1 when there is one. With --engines, the engines are asked again with "
        "the stored bytes, without trading, and it is told how often each agrees with itself: a difference between the "
        "engines that is smaller proves nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "ids", nargs="*", metavar="EXPERIMENT_ID", help="only these; all of them when none is named"
        )
        parser.add_argument(
            "--since", metavar="TIME", help="only experiments created since, ISO 8601; UTC without a zone"
        )

        parser.add_argument("--engines", action="store_true", help="ask both engines again, without trading")
        parser.add_argument(
            "--limit", type=int, default=100, help="with --engines: at most so many experiments per engine, the newest"
        )
        parser.add_argument(
            "--new-keys",
            action="store_true",
            help="with --engines: ask under new idempotency keys, for an engine that answers a known key from memory",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["limit"] <= MOST_REPEATED:
            raise CommandError(f"--limit is {options['limit']}. Accepted: a whole number from 1 to {MOST_REPEATED}.")
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
        if options["engines"]:
            self._ask_again(ids, since=since, limit=options["limit"], under_new_keys=options["new_keys"])
        summary = f"{replayed} experiments, {found} differences"
        if found:
            raise CommandError(f"{summary}.")
        self.stdout.write(summary)

    def _ask_again(self, ids: list[UUID] | None, *, since: datetime | None, limit: int, under_new_keys: bool) -> None:
        """Ask the engines that have an address once more, and tell how often each agreed with itself."""
        there = [engine for engine in Engine if settings.ENGINES[engine].url]
        for name in sorted(set(Engine) - set(there)):
            self.stdout.write(f"engine {name}: not asked again, ENGINE_{name}_URL is not set")
        try:
            results = repeat_questions(
                there, experiment_ids=ids, since=since, limit=limit, under_new_keys=under_new_keys
            )
        except UnusableEngine as error:
            raise CommandError(str(error)) from None
        for one in results:
            self.stdout.write(f"engine {one.engine}: asked again {one.asked} times, {one.answered} answers")
            for level, meaning in MEANINGS.items():
                if one.levels[level]:
                    self.stdout.write(f"  {one.levels[level]:>6}  {meaning}")
            for reason, number in one.unanswered.most_common(NAMED):
                self.stdout.write(f"  {number:>6}  not comparable: {reason[:200]}")
            if one.answered:
                low, high = wilson_interval(hits=one.other_decisions, tries=one.answered)
                self.stdout.write(
                    f"  decided otherwise in {one.other_decisions / one.answered:.1%} "
                    f"(95 % between {low:.1%} and {high:.1%}): the noise floor of engine {one.engine}"
                )


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
