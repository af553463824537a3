"""What has to be there before the processes start: the database, the accounts, the ports, and what to start."""

import os
import sys
from dataclasses import dataclass

import psycopg
from django.conf import settings
from django.core.management import call_command

from config.database import CONNECT_TIMEOUT_SECONDS, current_url
from config.embedded_postgres.layout import EmbeddedPostgresError
from config.quickstart.accounts import ADMIN_NAME, Accounts, ensure_accounts
from config.quickstart.children import Child
from config.quickstart.credentials import CREDENTIALS_FILE, KeptCredentials
from config.quickstart.display import Display
from config.quickstart.engines import ReferenceEngine, plan_engines
from config.quickstart.ports import LOOPBACK, claim_port
from config.server import server_command


class QuickstartFailed(Exception):
    """The system cannot run; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. ``port`` of the web server, 0 for any free one."""

    port: int
    demo: bool
    worker: bool


@dataclass(frozen=True, slots=True)
class System:
    """A prepared system: its address and token, the processes to start in this order, the first words to a person."""

    address: str
    webhook_token: str
    children: list[Child]
    welcome: str


def prepare(plan: Plan, display: Display) -> System:
    """Bring the database up to date, make what is missing, and say what to start.

    :raises QuickstartFailed: when the database cannot be reached, or the demo makes no sense here.
    :raises PortUnavailable: when the web server's port is taken.
    """
    if plan.demo and settings.HTTPS_ONLY:
        raise QuickstartFailed(
            "Plain HTTP is refused here (HTTPS_ONLY, which APP_MODE=LIVE turns on), so the sample alerts cannot be "
            "posted. Use --no-demo."
        )
    port = claim_port(plan.port)
    address = f"http://{LOOPBACK}:{port}"
    kept = KeptCredentials(settings.RUN_DIR / CREDENTIALS_FILE)
    display.say("Preparing the database …")
    _reach_database()
    call_command("migrate", verbosity=0, interactive=False)
    accounts = ensure_accounts(
        kept,
        admin_password=settings.ADMIN_PASSWORD,
        api_token=settings.API_TOKEN,
        webhook_token=settings.WEBHOOK_TOKEN,
    )
    kept.keep("address", address)
    engines = plan_engines(kept, os.environ) if plan.demo else []
    display.say("Starting " + ("the web server" if not plan.worker else "the web server and the worker") + " …")
    return System(
        address=address,
        webhook_token=accounts.webhook_token,
        children=_children(plan, port, address, engines, accounts),
        welcome=_welcome(address, accounts, engines),
    )


def _reach_database() -> None:
    """Connect once, outside the pool, which would only say that it has waited in vain.

    :raises QuickstartFailed: with the reason, when the database cannot be reached.
    """
    try:
        with psycopg.connect(current_url(settings.DATABASES["default"]), connect_timeout=CONNECT_TIMEOUT_SECONDS):
            return
    except EmbeddedPostgresError as error:
        raise QuickstartFailed(str(error)) from error
    except psycopg.OperationalError as error:
        raise QuickstartFailed(f"The database cannot be used: {error}") from error


def _children(plan: Plan, port: int, address: str, engines: list[ReferenceEngine], accounts: Accounts) -> list[Child]:
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "RUN_DIR": str(settings.RUN_DIR),
        "ORCHESTRATOR_URL": address,
    }
    if "EMBEDDED_POSTGRES_DIR" in settings.DATABASES["default"]:  # a relative one would be another one for a child
        environment["EMBEDDED_POSTGRES_DIR"] = str(settings.DATABASES["default"]["EMBEDDED_POSTGRES_DIR"])
    for engine in engines:
        environment.update(engine.environment)

    def child(name: str, log: str, *command: str) -> Child:
        return Child(name, [sys.executable, *command], environment, settings.BASE_DIR, settings.RUN_DIR / log)

    found = []
    for engine in engines:
        # A ledger belongs to one database: the source's id tells them apart.
        ledger = settings.RUN_DIR / f"engine-{engine.name.lower()}-{accounts.source_id.hex[-8:]}.sqlite3"
        found.append(
            child(
                f"reference engine {engine.name}",
                f"engine-{engine.name.lower()}.log",
                *("manage.py", "run_reference_engine", engine.name),
                *("--port", str(engine.port), "--ledger", str(ledger)),
            )
        )
    found.append(
        child(
            "web server",
            "web.log",
            *server_command("config.quickstart.web:application", host=LOOPBACK, port=port),
        )
    )
    if plan.worker:
        found.append(child("worker", "worker.log", "manage.py", "run_orchestrator"))
    return found


def _welcome(address: str, accounts: Accounts, engines: list[ReferenceEngine]) -> str:
    password = (
        accounts.admin_password
        or "unchanged since you set it (another: .venv/bin/python manage.py changepassword admin)"
    )
    token = accounts.webhook_token or "<the token that you set; only its hash is kept>"
    lines = [
        "",
        f"  Dashboard and admin   {address}/admin/",
        f"    user                {ADMIN_NAME}",
        f"    password            {password}",
        f"  API                   {address}/api/docs/",
        f"    header              Authorization: Token {accounts.api_token}",
        f"  TradingView webhook   {address}/webhooks/tradingview/{token}/",
        *(f"  Reference engine {engine.name}    http://{LOOPBACK}:{engine.port}" for engine in engines),
        f"  Logs                  {settings.RUN_DIR}",
        "",
        "  Ctrl-C ends everything.",
        "",
    ]
    return "\n".join(lines)
