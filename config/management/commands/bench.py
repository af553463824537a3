"""``make bench``: what the service costs beside the least that could do the same, on a database of its own."""

import logging
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection
from rich.console import Console
from rich.table import Table

from config.bench.batches import measure_batches
from config.bench.wakeup import measure_wake_up
from config.bench.webhook import OURS, measure_webhook
from orchestrator.revisions import current_revision
from webhooks import notifications

BATCH_SIZES = (1, 10, 100, 500)
CONNECTIONS = (1, 16, 64)
PARTS = ("webhook", "batches", "wake-up")


class Command(BaseCommand):
    help = (
        "Measure the webhook beside Flask and FastAPI, and the worker's transaction and wake-up beside bare SQL, each in the "
        "same run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=PARTS, help="what to measure; all of it")

    def handle(self, *args: Any, **options: Any) -> None:
        logging.getLogger().setLevel(logging.ERROR)
        original = str(connection.settings_dict["NAME"])
        connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
        try:
            current_revision()
            measures = {
                "webhook": self._print_webhook,
                "batches": self._print_batches,
                "wake-up": self._print_wake_up,
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
