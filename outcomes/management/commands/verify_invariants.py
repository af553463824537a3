"""manage.py verify_invariants: prove on one snapshot that everything that must hold does; exit 1 with the rows if not."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from outcomes.invariants import Violation, a_worker_is_alive, check_invariants


class Command(BaseCommand):
    help = "Check every invariant on one snapshot of the database. The exit code is 1 when one does not hold."

    def handle(self, *args: Any, **options: Any) -> None:
        checked = broken = 0
        for name, violation in check_invariants():
            checked += 1
            if violation is None:
                self.stdout.write(f"ok      {name}")
            else:
                broken += 1
                self._show(violation)
        if not a_worker_is_alive():
            self.stdout.write("note    no worker is running; what waits for one is not judged")
        if broken:
            raise CommandError(f"{broken} of {checked} invariants do not hold.")
        self.stdout.write(f"{checked} invariants hold, 0 violations")

    def _show(self, violation: Violation) -> None:
        self.stdout.write(f"BROKEN  {violation.invariant}: {violation.count} rows")
        for row in violation.rows:
            self.stdout.write("          " + "  ".join(f"{name}={value}" for name, value in row.items()))
        if violation.count > len(violation.rows):
            self.stdout.write(f"          … and {violation.count - len(violation.rows)} more")
