"""``manage.py performance_report``: how both engines do, and which is better, in a terminal or for other programs."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from config.problems import Refused
from outcomes import reports
from outcomes.filters import ACCEPTED, NAMES, ReportFilters, read_filters
from outcomes.pair_rows import all_pair_rows
from outcomes.report_csv import write_pairs_csv, write_performance_csv
from outcomes.report_table import write_report
from outcomes.snapshot import one_snapshot


class Command(BaseCommand):
    help = (
        "Prints trades, win rate, P&L, Sharpe ratio and drawdown per engine (real, shadow and twin apart), and whether one "
        "engine is better."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        for name in NAMES:
            parser.add_argument(f"--{name.replace('_', '-')}", help=ACCEPTED[name].replace("%", "%%"))
        parser.add_argument(
            "--comparison", action="store_true", help="with --json or --csv: the comparison in place of the performance"
        )
        written = parser.add_mutually_exclusive_group()
        written.add_argument("--json", action="store_true", help="print what /api/v1/reports/performance/ answers")
        written.add_argument(
            "--csv", action="store_true", help="print a line per engine and kind; with --comparison, a line per pair"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        given = {name: [options[name]] for name in NAMES if options[name] is not None}
        if options["comparison"] and not (options["json"] or options["csv"]):
            raise CommandError("--comparison says what --json or --csv prints; the table shows both.")
        try:
            self._print(read_filters(given), options)
        except Refused as error:
            faults = (
                f"--{fault.field.replace('_', '-')} is {fault.found!r}; accepted is {fault.accepted}."
                for fault in error.faults
            )
            raise CommandError(" ".join(faults)) from None
        except DatabaseError as error:
            raise CommandError(f"The database cannot be read: {error}") from None

    def _print(self, filters: ReportFilters, options: dict[str, Any]) -> None:
        of_pairs = options["comparison"]
        if options["json"]:
            report = reports.comparison(filters) if of_pairs else reports.performance(filters)
            self.stdout.write(json.dumps(report, indent=2, allow_nan=False))
        elif options["csv"] and of_pairs:
            with one_snapshot():
                write_pairs_csv(all_pair_rows(filters), self.stdout)  # type: ignore[arg-type] # it has a write()
        elif options["csv"]:
            write_performance_csv(reports.performance(filters), self.stdout)  # type: ignore[arg-type]
        else:
            with one_snapshot():
                performance, comparison = reports.performance(filters), reports.comparison(filters)
            write_report(performance, comparison, file=self.stdout)
