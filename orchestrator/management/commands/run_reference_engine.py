"""`manage.py run_reference_engine A|B`: one of the two engines that ship for the first run, as a process of its own."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.environment import PlainEnv
from orchestrator.engines.reference.ledger import LedgerUnavailable
from orchestrator.engines.reference.profiles import PROFILES
from orchestrator.engines.reference.running import RunSettings, run_engine
from orchestrator.engines.reference.server import PortUnavailable

DEFAULT_ORCHESTRATOR_URL = "http://127.0.0.1:8000"
LONGEST_DELAY = 600.0
HIGHEST_PORT = 65_535


class Command(BaseCommand):
    help = (
        "Runs reference engine A (rules, answers by event) or B (votes, answers at once). It trades on paper only. "
        "ENGINE_<A|B>_SECRET signs and verifies; events go to ORCHESTRATOR_URL. The database is not used."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("engine", choices=sorted(PROFILES), metavar="A|B")
        parser.add_argument("--port", type=int, help="port on 127.0.0.1; 0 is any free one (A: 8101, B: 8102)")
        parser.add_argument("--ledger", type=Path, help="SQLite file (.run/engine-a.sqlite3, .run/engine-b.sqlite3)")
        parser.add_argument("--delay", type=float, help="seconds to think about each question (A: 0.05, B: 0.3)")

    def handle(self, *args: Any, **options: Any) -> None:
        profile = PROFILES[options["engine"]]
        port = profile.port if options["port"] is None else options["port"]
        delay = profile.delay if options["delay"] is None else options["delay"]
        if not 0 <= port <= HIGHEST_PORT:
            raise CommandError(f"--port is {port}. Accepted: a whole number from 0 to {HIGHEST_PORT}.")
        if not 0 <= delay <= LONGEST_DELAY:
            raise CommandError(f"--delay is {delay}. Accepted: seconds from 0 to {LONGEST_DELAY:g}.")
        secrets = settings.ENGINES[profile.name].secrets
        if not secrets:
            raise CommandError(
                f"ENGINE_{profile.name}_SECRET is not set. Accepted: whsec_ followed by base64 of 24 to 64 bytes, "
                "the same as the orchestrator's."
            )
        ledger = options["ledger"] or settings.BASE_DIR / ".run" / f"engine-{profile.name.lower()}.sqlite3"
        try:
            run_engine(
                profile,
                RunSettings(ledger, port, delay, secrets, _orchestrator_url()),
                announce=self._announce,
            )
        except (LedgerUnavailable, PortUnavailable) as error:
            raise CommandError(str(error)) from None

    def _announce(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _orchestrator_url() -> str:
    """Return ORCHESTRATOR_URL.

    :raises CommandError: when it is not a usable address.
    """
    url: str = PlainEnv().str("ORCHESTRATOR_URL", default=DEFAULT_ORCHESTRATOR_URL)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.username:
        raise CommandError(f"ORCHESTRATOR_URL is {url!r}. Accepted: http://host:port or https://host/path.")
    return url
