"""The webhook beside the least that Flask and FastAPI need for the same insert: real servers, one database, one run."""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx2
from django.conf import settings

from config.bench.load import LoadFigure
from config.database import current_url
from config.quickstart.ports import LOOPBACK, claim_port
from config.server import server_command
from webhooks.sources import create_source, new_token

START_SECONDS = 30.0
ROUNDS = 3
SECONDS = 3.0
WARM_UP_SECONDS = 1.5
ALERTS_BETWEEN_RUNS = 1_000_000
OURS = "ours"
COMMANDS = {
    OURS: lambda port: server_command("config.rsgi:application", host=LOOPBACK, port=port),
    "Flask": lambda port: [
        *("-m", "gunicorn", "--workers", "2", "--threads", "8", "--worker-class", "gthread", "--log-level", "error"),
        *("--keep-alive", "30", "--bind", f"{LOOPBACK}:{port}", "config.bench.rivals.flask_app:app"),
    ],
    "FastAPI": lambda port: [
        *("-m", "uvicorn", "--workers", "2", "--no-access-log", "--log-level", "error"),
        *("--host", LOOPBACK, "--port", str(port), "config.bench.rivals.fastapi_app:app"),
    ],
}


@dataclass(frozen=True, slots=True)
class WebhookFigure:
    """One server at one number of connections: the medians of the rounds."""

    server: str
    connections: int
    load: LoadFigure


def measure_webhook(
    connections: Sequence[int], *, rounds: int = ROUNDS, seconds: float = SECONDS
) -> list[WebhookFigure]:
    """Measure the three servers in turn, one at a time, at each number of connections."""
    token = new_token()
    create_source("bench", token)
    figures: dict[tuple[str, int], list[LoadFigure]] = {}
    first = 1
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for server, command in COMMANDS.items():
                with _serving(command, token, Path(folder)) as port:
                    _load(port, token, connections=8, seconds=WARM_UP_SECONDS, first=first)
                    for number in connections:
                        first += ALERTS_BETWEEN_RUNS
                        found = _load(port, token, connections=number, seconds=seconds, first=first)
                        figures.setdefault((server, number), []).append(found)
                    first += ALERTS_BETWEEN_RUNS
    return [WebhookFigure(server, number, _median(found)) for (server, number), found in figures.items()]


@contextmanager
def _serving(command: "object", token: str, folder: Path) -> Iterator[int]:
    port = claim_port(0)
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, *command(port)],  # type: ignore[operator]
        env=_environment(token, folder),
        cwd=settings.BASE_DIR,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "server.log").open("ab"),
        start_new_session=True,
    )
    try:
        _wait_for(port, process, folder / "server.log")
        yield port
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _environment(token: str, folder: Path) -> Mapping[str, str]:
    url = urlsplit(current_url(settings.DATABASES["default"]))
    name = str(settings.DATABASES["default"]["NAME"])
    return {
        **os.environ,
        "DATABASE_URL": urlunsplit(url._replace(path=f"/{name}")),
        "WEBHOOK_TOKEN": token,
        "RUN_DIR": str(folder),
    }


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx2.get(f"http://{LOOPBACK}:{port}/healthz", timeout=1, trust_env=False)
        except httpx2.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"The server does not answer. Its log ends with:\n{log.read_text()[-2000:]}")


def _load(port: int, token: str, *, connections: int, seconds: float, first: int) -> LoadFigure:
    arguments = (LOOPBACK, port, f"/webhooks/tradingview/{token}/", connections, seconds, first)
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "config.bench.load", *map(str, arguments)],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    found = LoadFigure(**json.loads(done.stdout))
    if found.failed:
        raise RuntimeError(f"{found.failed} requests were not answered with 200.")
    return found


def _median(found: Sequence[LoadFigure]) -> LoadFigure:
    names = ("per_second", "p50", "p99", "p999")
    return LoadFigure(**{name: statistics.median(getattr(one, name) for one in found) for name in names}, failed=0)
