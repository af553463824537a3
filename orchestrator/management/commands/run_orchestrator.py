"""The worker: ``manage.py run_orchestrator``."""

import signal
from argparse import ArgumentParser
from typing import Any, TypeVar

from django.core.management.base import BaseCommand, CommandError
from django.db import ProgrammingError

from orchestrator.alert_watch import AlertWatch
from orchestrator.database_facts import UnsafeDatabase
from orchestrator.engines.python import UnusableEngine
from orchestrator.notifications import Notifier
from orchestrator.worker import Options, StepFailed, Worker
from outcomes.counting import count_changes
from outcomes.exits import apply_exits, price_followers, settle_late_followers
from outcomes.expiry import report_expired_trades
from webhooks.spool_draining import drain_spool

STOPPING = (signal.SIGTERM, signal.SIGINT)


class Command(BaseCommand):
    help = "Turn stored signals into experiments, ask both engines, and follow what becomes of their trades."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="work until nothing is due any more, then exit")
        parser.add_argument("--batch-size", type=int, default=100, help="signals per transaction (1 to 5000)")
        parser.add_argument("--poll-interval", type=float, default=1.0, help="seconds between looks (0.01 to 3600)")
        parser.add_argument("--concurrency", type=int, default=16, help="calls in flight per engine (1 to 1000)")

    def handle(self, *args: Any, **given: Any) -> None:
        options = Options(
            once=given["once"],
            batch_size=_within("--batch-size", given["batch_size"], 1, 5000),
            poll_interval=_within("--poll-interval", given["poll_interval"], 0.01, 3600),
            concurrency=_within("--concurrency", given["concurrency"], 1, 1000),
        )
        notifier = Notifier()
        try:
            worker = Worker(
                options,
                steps=(apply_exits, price_followers),
                sweeps=(
                    drain_spool,
                    settle_late_followers,
                    report_expired_trades,
                    AlertWatch().watch_alerts,
                    count_changes,
                    notifier.send_notifications,
                ),
            )
            before = [(number, signal.signal(number, lambda *_: worker.stop())) for number in STOPPING]
            try:
                worker.run()
                notifier.finish()
            finally:
                for number, handler in before:
                    signal.signal(number, handler)
        except (UnusableEngine, UnsafeDatabase, StepFailed) as error:
            raise CommandError(str(error)) from error
        except ProgrammingError as error:
            raise CommandError(
                f"The database does not have the tables of this version: run manage.py migrate first. ({error})"
            ) from error


Number = TypeVar("Number", int, float)


def _within(name: str, value: Number, lowest: Number, highest: Number) -> Number:
    if not lowest <= value <= highest:
        raise CommandError(f"{name} is {value}. Accepted: {lowest} to {highest}.")
    return value
