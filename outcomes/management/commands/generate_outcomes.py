"""``manage.py generate_outcomes``: fill an empty database with made-up outcomes, to measure the reports with."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError
from django.db import connection

from orchestrator.domain.vocabulary import AppMode
from outcomes.generating import NotEmpty, generate_outcomes


class Command(BaseCommand):
    help = (
        "Fills an empty database with made-up experiments and outcomes, the same for the same seed. It refuses a database "
        "that holds signals, and APP_MODE=LIVE; --into must name the database, so that no other one is filled by mistake."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("outcomes", type=int, help="how many, 100 to 20,000,000")
        parser.add_argument("--into", required=True, help="the name of the database that is in use")
        parser.add_argument("--days", type=int, default=1000, help="working days, 1 to 10,000")
        parser.add_argument("--seed", default="1", help="any text")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted, days = options["outcomes"], options["days"]
        if not 100 <= wanted <= 20_000_000:  # noqa: PLR2004 - said in the help
            raise CommandError(f"outcomes is {wanted}; accepted is 100 to 20,000,000.")
        if not 1 <= days <= 10_000:  # noqa: PLR2004 - said in the help
            raise CommandError(f"--days is {days}; accepted is 1 to 10,000.")
        if settings.APP_MODE == AppMode.LIVE:
            raise CommandError("APP_MODE is LIVE; made-up outcomes have no place beside real money.")
        name = str(connection.settings_dict["NAME"])
        if options["into"] != name:
            raise CommandError(f"--into is {options['into']!r}, but the database in use is {name!r}.")
        try:
            loaded = generate_outcomes(
                wanted, days=days, seed=options["seed"], tell=lambda so_far: self.stdout.write(f"{so_far:,} outcomes")
            )
        except NotEmpty as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used: {error}") from None
        self.stdout.write(f"{loaded.experiments:,} experiments, {loaded.outcomes:,} outcomes, counted.")
