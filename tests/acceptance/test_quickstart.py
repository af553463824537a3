"""`manage.py quickstart` as a person uses it: started, used, ended, killed, started again."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

PROJECT = Path(__file__).resolve().parents[2]
START_SECONDS = 90
END_SECONDS = 30
ALERT = {"ticker": "SPY", "action": "buy", "interval": "15", "time": "2026-03-02T14:30:00Z", "close": 589.12}


@dataclass
class Installation:
    """A place of its own for data, logs and credentials; its processes are known by their RUN_DIR."""

    folder: Path

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ENGINE_")}
        for name in ("DATABASE_URL", "ADMIN_PASSWORD", "API_TOKEN", "WEBHOOK_TOKEN"):
            kept.pop(name, None)
        return {
            **kept,
            "RUN_DIR": str(self.folder / "run"),
            "EMBEDDED_POSTGRES_DIR": str(self.folder / "my database"),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "manage.py", "quickstart", "--no-demo", *arguments],
            cwd=PROJECT,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def processes(self) -> dict[int, str]:
        """Return the id and command of every living process that was started for this installation."""
        mark = f"RUN_DIR={self.folder / 'run'}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
        return found

    def is_quiet_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while self.processes() and time.monotonic() < end:
            time.sleep(0.1)
        return not self.processes()


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    place = Installation(tmp_path)
    yield place
    for process in place.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def read_welcome(process: subprocess.Popen[str]) -> str:
    """Return what was printed up to the end of the welcome.

    The process prints it once its pages answer; the test's own time limit is the limit for that.
    """
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if "Ctrl-C ends everything" in line:
            return "".join(seen)
    raise AssertionError("quickstart ended early:\n" + "".join(seen))


def printed(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    assert found, text
    return found.group(1)


def end(process: subprocess.Popen[str]) -> str:
    process.terminate()
    output, _ = process.communicate(timeout=END_SECONDS)
    return output


def test_it_starts_everything_and_ends_everything_and_keeps_the_data(installation: Installation) -> None:
    first = installation.start("--port", "0")
    welcome = read_welcome(first)
    address = printed(welcome, r"(http://127\.0\.0\.1:\d+)/admin/")
    token = printed(welcome, r"Authorization: Token (\w+)")
    webhook = printed(welcome, r"(http://\S+/webhooks/tradingview/\S+/)")
    password = printed(welcome, r"password\s+(\S+)")
    with httpx2.Client(timeout=10, trust_env=False) as client:
        assert client.get(f"{address}/admin/login/").is_success
        stored = client.post(webhook, content=json.dumps(ALERT))
        assert stored.status_code == 200, stored.text
        signals = client.get(f"{address}/api/v1/signals/", headers={"Authorization": f"Token {token}"}).json()
        assert [row["signal_id"] for row in signals["results"]] == [stored.json()["signal_id"]]
    commands = " ".join(installation.processes().values())
    assert "run_orchestrator" in commands
    assert "run_reference_engine" not in commands
    assert (installation.folder / "run" / "credentials.json").stat().st_mode & 0o777 == 0o600
    end(first)
    assert first.returncode == 0
    assert installation.processes() == {}

    second = installation.start("--port", "0", "--no-worker")
    welcome = read_welcome(second)
    assert password == printed(welcome, r"password\s+(\S+)")
    assert token == printed(welcome, r"Authorization: Token (\w+)")
    assert webhook.rsplit("/", 2)[1] == printed(welcome, r"/webhooks/tradingview/(\S+)/")
    assert "run_orchestrator" not in " ".join(installation.processes().values())
    with httpx2.Client(timeout=10, trust_env=False) as client:
        again = client.post(printed(welcome, r"(http://\S+/webhooks/tradingview/\S+/)"), content=json.dumps(ALERT))
        assert again.json() == {**stored.json(), "duplicate": True}
    end(second)
    assert second.returncode == 0
    assert installation.processes() == {}


def test_a_killed_quickstart_leaves_no_process_and_the_next_one_starts(installation: Installation) -> None:
    process = installation.start("--port", "0")
    read_welcome(process)
    process.kill()
    process.communicate()
    assert installation.is_quiet_within(20), installation.processes()
    again = installation.start("--port", "0")
    read_welcome(again)
    end(again)
    assert again.returncode == 0


def test_a_worker_that_dies_is_reported_and_started_again(installation: Installation) -> None:
    process = installation.start("--port", "0")
    read_welcome(process)
    [worker] = [number for number, command in installation.processes().items() if "run_orchestrator" in command]
    os.kill(worker, signal.SIGKILL)
    assert process.stdout is not None
    for line in process.stdout:
        if "started again" in line:
            break
    else:
        raise AssertionError("the death of the worker went unnoticed")
    time.sleep(0.5)
    assert "run_orchestrator" in " ".join(installation.processes().values())
    end(process)
    assert installation.processes() == {}


def test_a_taken_port_gets_one_sentence_and_nothing_is_started(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = installation.start("--port", str(port))
        output, _ = process.communicate(timeout=START_SECONDS)
    assert process.returncode != 0
    assert f"Port {port} is taken" in output
    assert len(output.strip().splitlines()) == 1
    assert installation.processes() == {}


def test_a_senseless_setting_gets_a_sentence_and_no_traceback(installation: Installation) -> None:
    for name, value in (("APP_MODE", "MAYBE"), ("WEBHOOK_TOKEN", "no/slashes/please"), ("ENGINE_A_URL", "ftp://x")):
        done = subprocess.run(
            [sys.executable, "manage.py", "quickstart", "--no-demo"],
            cwd=PROJECT,
            env={**installation.environment(), name: value},
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        assert done.returncode != 0
        assert name in done.stderr
        assert "Accepted" in done.stderr
        assert "Traceback" not in done.stderr
