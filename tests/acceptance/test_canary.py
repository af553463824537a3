"""Recognisable secrets in a running system: whatever goes wrong, none of them is ever seen where it does not belong."""

import json
import os
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx2
import pytest
from django.db import connection

from config.embedded_postgres.layout import programs
from tests.acceptance.test_quickstart import END_SECONDS, PROJECT, printed, read_welcome
from tests.waiting import eventually

API_TOKEN = "canary-api-1f0e9d8c7b6a5f4e3d2c"
WEBHOOK_TOKEN = "canary-webhook-5a6b7c8d9e0f1a2b"
ENGINE_SECRETS = {name: b64encode(f"canary engine {name} 0123456789".encode()).decode() for name in "AB"}
SECRETS = {
    "the API token": API_TOKEN,
    "the webhook's token": WEBHOOK_TOKEN,
    "the administrator's password": "canary-admin-0a1b2c3d4e5f",
    "SECRET_KEY": "canary-key-0123456789-abcdefghijklmnopqrstuvwxyz-0123456789",
    "the database's password": "canary-database-9f8e7d6c",
    "engine A's secret": ENGINE_SECRETS["A"],
    "engine B's secret": ENGINE_SECRETS["B"],
}
ADMIN_PAGES = (
    "",
    "constance/config/",
    "webhooks/alertsource/",
    "webhooks/signal/",
    "webhooks/rejectedalert/",
    "orchestrator/experiment/",
    "orchestrator/enginecall/",
    "orchestrator/engineevent/",
    "orchestrator/enginehealth/",
    "orchestrator/incident/",
    "orchestrator/workerheartbeat/",
)
API_PAGES = ("signals", "experiments", "trades", "outcomes", "incidents", "policy-revisions", "reports/performance")

pytestmark = pytest.mark.usefixtures("database_url")


def who_is_in(text: str) -> list[str]:
    """Return the names of the secrets that stand in ``text``."""
    return [name for name, secret in SECRETS.items() if secret in text]


@contextmanager
def running(database_url: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run everything with these secrets, against engines that cannot be reached; yield it with its welcome."""
    parts = urlsplit(database_url)
    user = parts.username or "orchestrator"
    host = parts.netloc.rpartition("@")[2]
    password = SECRETS["the database's password"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ENGINE_")}
    process = subprocess.Popen(
        [sys.executable, "manage.py", "quickstart", "--no-demo", "--port", "0"],
        cwd=PROJECT,
        env={
            **kept,
            "RUN_DIR": str(folder),
            "DATABASE_URL": urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}")),
            "SECRET_KEY": SECRETS["SECRET_KEY"],
            "ADMIN_PASSWORD": SECRETS["the administrator's password"],
            "API_TOKEN": API_TOKEN,
            "WEBHOOK_TOKEN": WEBHOOK_TOKEN,
            "LOG_LEVEL": "DEBUG",
            **{f"ENGINE_{name}_URL": "http://127.0.0.1:1" for name in "AB"},
            **{f"ENGINE_{name}_SECRET": f"whsec_{ENGINE_SECRETS[name]}" for name in "AB"},
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process, read_welcome(process)
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=END_SECONDS)


def sign_in(client: httpx2.Client, address: str, password: str) -> httpx2.Response:
    page = client.get(f"{address}/admin/login/")
    form = {"csrfmiddlewaretoken": page.cookies["csrftoken"], "username": "admin", "password": password}
    return client.post(f"{address}/admin/login/?next=/admin/", data=form, headers={"referer": address})


def provoke(client: httpx2.Client, address: str) -> list[httpx2.Response]:
    """Make mistakes of every kind, with secrets in them, and return the answers."""
    webhook = f"{address}/webhooks/tradingview/{WEBHOOK_TOKEN}"
    alert = {"ticker": "SPY", "action": "buy", "interval": "15", "time": "2026-03-02T14:30:00Z", "close": 589.12}
    with_secret = alert | {"secret": WEBHOOK_TOKEN, "api_token": API_TOKEN, "passphrase": "canary-in-an-alert"}
    token = {"Authorization": f"Token {API_TOKEN}"}
    events = f"{address}/api/v1/engines/A/events/"
    signed = {"webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": f"v1,{ENGINE_SECRETS['A']}"}
    return [
        client.post(f"{webhook}/", content=json.dumps(alert)),
        client.post(f"{webhook}/", content=json.dumps(with_secret)),
        client.post(f"{webhook}/", content="{"),
        client.post(f"{webhook}/", content=json.dumps({"ticker": 1})),
        client.post(f"{webhook}/", content="x" * 100_000),
        client.get(f"{webhook}/"),
        client.post(f"{webhook}/more/", content="{}"),
        client.post(f"{webhook}x/", content="{}"),
        client.post(events, content="{}"),
        client.post(events, content="{}", headers=signed),
        client.get(f"{address}/api/v1/signals/?symbol=%00&limit=x", headers=token),
        client.get(f"{address}/api/v1/signals/", headers={"Authorization": f"Token {API_TOKEN}x"}),
        client.get(f"{address}/api/v1/no-such/{API_TOKEN}/", headers=token),
        client.post(f"{address}/api/v1/quotes/", content="[", headers=token),
        sign_in(client, address, SECRETS["the administrator's password"] + "x"),
        client.get(f"{address}/api/v1/signals/", headers={**token, "Host": "elsewhere.example"}),
    ]


def end_connections() -> None:
    """Take every connection away from the running system, so that each of its processes runs into it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND application_name IN ('', 'listener')"
        )


def test_no_secret_is_seen_in_logs_pages_answers_metrics_or_the_database(database_url: str, tmp_path: Path) -> None:
    run_folder = tmp_path / "run"
    seen: dict[str, str] = {}
    with running(database_url, run_folder) as (process, welcome):
        # what it prints once is how a person gets in; this also shows that the canaries can be found
        assert set(who_is_in(welcome)) == {"the API token", "the webhook's token", "the administrator's password"}
        address = printed(welcome, r"(http://127\.0\.0\.1:\d+)/admin/")
        with httpx2.Client(timeout=20, trust_env=False) as client:
            for place, answer in enumerate(provoke(client, address)):
                seen[f"answer {place}: {answer.status_code}"] = answer.text + str(answer.headers)
            end_connections()
            eventually(lambda: client.get(f"{address}/readyz").is_success, seconds=20)
            sign_in(client, address, SECRETS["the administrator's password"])
            for path in ADMIN_PAGES:
                page = client.get(f"{address}/admin/{path}")
                assert page.status_code == 200, path
                seen[f"/admin/{path}"] = page.text
                for link in sorted(set(re.findall(rf"/admin/{path}[0-9a-f-]{{36}}/change/", page.text)))[:3]:
                    seen[link] = client.get(f"{address}{link}").text
            for path in API_PAGES:
                page = client.get(f"{address}/api/v1/{path}/", headers={"Authorization": f"Token {API_TOKEN}"})
                assert page.status_code == 200, path
                seen[path] = page.text
            for path in ("healthz", "readyz", "metrics", "api/schema/", "api/docs/", "nowhere"):
                seen[path] = client.get(f"{address}/{path}").text
        process.terminate()
        seen["what quickstart prints later"] = process.communicate(timeout=END_SECONDS)[0]
    for log in run_folder.rglob("*"):
        if log.is_file() and log.name not in {"credentials.json", "secret_key"}:
            seen[log.name] = log.read_text(errors="replace")
    # a token of the API is how its table works; every other table is free of secrets
    dump = [str(programs() / "pg_dump"), "--data-only", "--exclude-table=authtoken_token", database_url]
    seen["the database"] = subprocess.run(dump, capture_output=True, text=True, check=True, timeout=60).stdout

    assert any("signal.received" in text for text in seen.values())
    assert any("database" in name for name in seen)
    assert {place: found for place, text in seen.items() if (found := who_is_in(text))} == {}
    assert [place for place, text in seen.items() if "canary-in-an-alert" in text] == []


def test_a_senseless_address_of_the_database_does_not_repeat_its_password(tmp_path: Path) -> None:
    """A password with a slash in it ends the host's part of the address: Python's own message quotes the rest."""
    for url in ("postgresql://user:canary/database@host/db", "postgresql://u:canary-database-9f8e7d6c@host:port/db"):
        done = subprocess.run(
            [sys.executable, "manage.py", "check"],
            cwd=PROJECT,
            env={**os.environ, "DATABASE_URL": url, "RUN_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode != 0
        assert "canary" not in done.stdout + done.stderr
