"""``manage.py rebuild_summaries``: recompute every derived sum from the outcomes, and say what was wrong."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from outcomes.summaries import rebuild_summaries


class Command(BaseCommand):
    help = "Recomputes the pairs and every sum from the outcomes, corrects what differs and prints it."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            differences = rebuild_summaries()
        except DatabaseError as error:
            raise CommandError(f"The database cannot be read: {error}") from None
        for found in differences:
            self.stdout.write(f"{found.row}: kept {found.kept}; the outcomes say {found.recomputed}")
        self.stdout.write(f"{len(differences)} differences" + (", corrected." if differences else "."))
