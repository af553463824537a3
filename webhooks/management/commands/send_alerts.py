"""`manage.py send_alerts FILE|-`: posts alerts, one JSON body a line, to the webhook."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.quickstart.credentials import CREDENTIALS_FILE, KeptCredentials
from webhooks.sending import Answer, Tally, WebhookUnreachable, send_alerts

DEFAULT_ADDRESS = "http://127.0.0.1:8000"
HIGHEST_RATE = 10_000.0


class Command(BaseCommand):
    help = "Posts alerts to the webhook: a file of JSON lines, or - for standard input. Empty lines are skipped."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE|-")
        parser.add_argument("--rate", type=float, help="alerts a second (default: as fast as they are answered)")
        parser.add_argument(
            "--url", help="the webhook's address with its token (default: the source `default` on this machine)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        rate = options["rate"]
        if rate is not None and not 0 < rate <= HIGHEST_RATE:
            raise CommandError(f"--rate is {rate}. Accepted: alerts a second, above 0, at most {HIGHEST_RATE:g}.")
        url = options["url"] or _own_address()
        if not url.startswith(("http://", "https://")):
            raise CommandError("--url is not an address. Accepted: http(s)://host/webhooks/tradingview/<token>/.")
        try:
            tally = send_alerts(read_bodies(options["file"]), url=url, rate=rate, on_answer=self._report)
        except WebhookUnreachable as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{options['file']} cannot be read: {error.strerror}.") from None
        except KeyboardInterrupt:
            raise CommandError("Ended before all alerts were sent.") from None
        self.stdout.write(summary(tally))
        if tally.results["refused"]:
            raise CommandError(f"Alerts refused: {tally.results['refused']}; the reasons are above.")

    def _report(self, answer: Answer) -> None:
        if answer.result == "refused":
            self.stderr.write(f"alert {answer.number}: {answer.status} {answer.detail}")


def read_bodies(name: str) -> Iterator[bytes]:
    """Yield the lines of a file, or of standard input for ``-``, that are not empty.

    :raises OSError: when it cannot be read.
    """
    if name == "-":
        yield from (line.strip() for line in sys.stdin.buffer if line.strip())
        return
    with Path(name).open("rb") as file:
        yield from (line.strip() for line in file if line.strip())


def summary(tally: Tally) -> str:
    """Return one line on how many were sent and what became of them."""
    parts = ", ".join(f"{count} {result.replace('_', ' ')}" for result, count in sorted(tally.results.items()))
    return f"Alerts sent: {tally.total}" + (f" ({parts})." if parts else ".")


def _own_address() -> str:
    kept = KeptCredentials(settings.RUN_DIR / CREDENTIALS_FILE)
    token = settings.WEBHOOK_TOKEN or kept.get("webhook_token")
    if not token:
        raise CommandError(
            "The webhook's address is not known here. Give --url http://host/webhooks/tradingview/<token>/, or set "
            "WEBHOOK_TOKEN."
        )
    return f"{kept.get('address') or DEFAULT_ADDRESS}/webhooks/tradingview/{token}/"
