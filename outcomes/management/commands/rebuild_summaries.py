"""``manage.py rebuild_summaries``: recompute every derived sum from the outcomes, and say what was wrong."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from orchestrator.domain.amounts import decimal_string
from outcomes.summaries import DaySum, rebuild_summaries


class Command(BaseCommand):
    help = "Recomputes the daily sums from the outcomes, corrects what differs and prints it."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            differences = rebuild_summaries()
        except DatabaseError as error:
            raise CommandError(f"The database cannot be read: {error}") from None
        for found in differences:
            key = found.key
            self.stdout.write(
                f"{key.day} engine {key.engine} {key.kind}: kept {_told(found.kept)}; the outcomes say {_told(found.recomputed)}"
            )
        self.stdout.write(f"{len(differences)} differences" + (", corrected." if differences else "."))


def _told(sums: DaySum) -> str:
    return f"{sums.trades} trades, {sums.wins} won, {sums.losses} lost, {decimal_string(sums.total_pnl)}"
