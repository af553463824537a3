"""`manage.py quickstart`: everything up, on one machine, with one command."""

import logging
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from config.quickstart.display import make_display
from config.quickstart.ports import HIGHEST_PORT, PortUnavailable
from config.quickstart.preparing import Plan, QuickstartFailed
from config.quickstart.running import run


class Command(BaseCommand):
    help = (
        "Starts the database, the web server and the worker, and unless --no-demo two reference engines to which the "
        "sample alerts are sent. Ctrl-C ends everything; the data is kept."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="of the web server; 0 is any free one")
        parser.add_argument(
            "--no-demo", action="store_true", help="no reference engines, no sample alerts; ENGINE_…_URL are used"
        )
        parser.add_argument("--no-worker", action="store_true", help="leave out the worker")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0 <= options["port"] <= HIGHEST_PORT:
            raise CommandError(f"--port is {options['port']}. Accepted: a whole number from 0 to {HIGHEST_PORT}.")
        logging.getLogger().setLevel(logging.WARNING)  # the processes have their logs; this one has a person
        plan = Plan(port=options["port"], demo=not options["no_demo"], worker=not options["no_worker"])
        try:
            run(plan, make_display(sys.stdout))
        except (QuickstartFailed, PortUnavailable) as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used: {error}") from None
