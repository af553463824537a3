"""``manage.py performance_report``: the performance of both engines in a terminal."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from config.problems import Refused
from outcomes import reports
from outcomes.filters import ACCEPTED, NAMES, read_filters
from outcomes.report_table import write_report


class Command(BaseCommand):
    help = "Prints trades, win rate, P&L, Sharpe ratio and drawdown per engine: real, shadow and twin apart."

    def add_arguments(self, parser: ArgumentParser) -> None:
        for name in NAMES:
            parser.add_argument(f"--{name}", help=ACCEPTED[name].replace("%", "%%"))
        parser.add_argument("--json", action="store_true", help="print what /api/v1/reports/performance/ answers")

    def handle(self, *args: Any, **options: Any) -> None:
        given = {name: [options[name]] for name in NAMES if options[name] is not None}
        try:
            filters = read_filters(given)
            report = reports.performance(filters)
            comparison = None if options["json"] else reports.comparison(filters)
        except Refused as error:
            faults = (f"--{fault.field} is {fault.found!r}; accepted is {fault.accepted}." for fault in error.faults)
            raise CommandError(" ".join(faults)) from None
        except DatabaseError as error:
            raise CommandError(f"The database cannot be read: {error}") from None
        if comparison is None:
            self.stdout.write(json.dumps(report, indent=2))
        else:
            write_report(report, sentence=comparison["verdict"]["sentence"], file=self.stdout)
