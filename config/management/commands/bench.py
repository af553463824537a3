"""``make bench``: what the service costs beside the least that could do the same, on a database of its own."""

import logging
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection
from rich.console import Console
from rich.table import Table

from config.bench.batches import measure_batches
from config.bench.report_speed import measure_reports
from config.bench.wakeup import measure_wake_up
from config.bench.webhook import OURS, measure_webhook
from orchestrator.revisions import current_revision
from webhooks import notifications

BATCH_SIZES = (1, 10, 100, 500)
CONNECTIONS = (1, 16, 64)
PARTS = ("reports", "webhook", "batches", "wake-up")  # the reports first: they take an empty database


class Command(BaseCommand):
    help = (
        "Measure the webhook beside Flask and FastAPI, the worker's transaction and wake-up beside bare SQL, and the reports "
        "beside pandas, each in the same run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=PARTS, help="what to measure; all of it")
        parser.add_argument(
            "--outcomes",
            type=int,
            nargs="+",
            default=[100_000],
            help="sizes for the reports, such as 100000 1000000 5000000",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        logging.getLogger().setLevel(logging.ERROR)
        original = str(connection.settings_dict["NAME"])
        connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
        try:
            current_revision()
            measures: dict[str, Callable[[], None]] = {
                "webhook": self._print_webhook,
                "batches": self._print_batches,
                "wake-up": self._print_wake_up,
                "reports": lambda: self._print_reports(options["outcomes"]),
            }
            for part in options["parts"]:
                measures[part]()
        finally:
            notifications.stop()
            connection.creation.destroy_test_db(original, verbosity=0)

    def _print_webhook(self) -> None:
        found = measure_webhook(CONNECTIONS)
        ours = {figure.connections: figure.load for figure in found if figure.server == OURS}
        table = Table(
            title="The webhook: requests per second, and milliseconds",
            caption="Flask: psycopg pool, gunicorn gthread. FastAPI: asyncpg pool, uvicorn.",
        )
        for heading in ("server", "connections", "requests/s", "p50", "p99", "p99.9", "ours ×", "our p99 ×"):
            table.add_column(heading, justify="left" if heading == "server" else "right")
        for figure in sorted(found, key=lambda one: one.connections):
            load, our = figure.load, ours[figure.connections]
            table.add_row(
                figure.server,
                str(figure.connections),
                f"{load.per_second:,.0f}",
                *(f"{value:.1f}" for value in (load.p50, load.p99, load.p999)),
                f"{our.per_second / load.per_second:.2f}",
                f"{our.p99 / load.p99:.2f}",
            )
        Console().print(table)

    def _print_reports(self, sizes: list[int]) -> None:
        table = Table(title="Both reports beside pandas and empyrical with every outcome: milliseconds")
        for heading in ("outcomes", "days", "performance", "comparison", "both with Python", "pandas", "ratio"):
            table.add_column(heading, justify="right")
        for figure in measure_reports(sizes, tell=self.stderr.write):
            table.add_row(
                f"{figure.outcomes:,}",
                f"{figure.days:,}",
                f"{figure.performance:,.0f}",
                f"{figure.comparison:,.0f}",
                f"{figure.whole:,.0f}",
                f"{figure.all_rows:,.0f}",
                f"{figure.ratio:,.1f}",
            )
        Console().print(table)

    def _print_batches(self) -> None:
        table = Table(title="Context, experiment, policy and both engine calls: signals per second")
        for heading in ("batch", "ours", "raw SQL", "ratio"):
            table.add_column(heading, justify="right")
        for figure in measure_batches(BATCH_SIZES):
            table.add_row(
                str(figure.batch_size), f"{figure.ours:,.0f}", f"{figure.raw_sql:,.0f}", f"{figure.ratio:.2f}"
            )
        Console().print(table)

    def _print_wake_up(self) -> None:
        figure = measure_wake_up()
        table = Table(title="From the commit to the claim: milliseconds")
        for heading in ("", "median", "p99"):
            table.add_column(heading, justify="right")
        table.add_row("a signal is claimed", f"{figure.claim_median:.2f}", f"{figure.claim_p99:.2f}")
        table.add_row("bare LISTEN/NOTIFY", f"{figure.bare_median:.2f}", f"{figure.bare_p99:.2f}")
        table.add_row("ratio", f"{figure.ratio:.2f}", "")
        Console().print(table)
