"""The engines of docs/your-own-engine.md are run as they stand there, against the check that every engine can be put to."""

import asyncio
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest

from config.environment import EngineSettings
from orchestrator.engine_check import Result, check_engine, make_trial
from orchestrator.engines.connect import connect
from orchestrator.engines.protocol import Operation, Request

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "your-own-engine.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.+?)^```", PAGE, re.MULTILINE | re.DOTALL)
START_SECONDS = 15.0
EXPERIMENT = UUID("0192f0a0-0000-83a8-a210-8b9158f818d1")


def settings_of(url: str, *, secret: str = "") -> EngineSettings:
    return EngineSettings(
        name="B",
        url=url,
        secrets=(secret,) if secret else (),
        timeout_seconds=10,
        concurrency=4,
        idempotent=True,
        queryable=True,
        honours_not_after=True,
    )


@pytest.fixture
def documented_engine(tmp_path: Path) -> Iterator[EngineSettings]:
    """Run the page's complete engine in a folder of its own; its events go nowhere."""
    secret = "whsec_" + b64encode(secrets.token_bytes(32)).decode()
    (tmp_path / "my_engine.py").write_text(PROGRAMS[0], encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PORT": str(port),
        "ENGINE_B_SECRET": secret,
        "ORCHESTRATOR_URL": "http://127.0.0.1:9",
    }
    process = subprocess.Popen(
        [sys.executable, "my_engine.py"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "the engine ended"
                assert time.monotonic() < give_up, "the engine does not listen"
                time.sleep(0.05)
        yield settings_of(f"http://127.0.0.1:{port}", secret=secret)
    finally:
        process.kill()
        process.wait()


def test_the_complete_engine_of_the_page_keeps_the_contract(documented_engine: EngineSettings) -> None:
    findings = asyncio.run(check_engine(documented_engine, make_trial()))
    assert findings
    assert [finding for finding in findings if finding.result is not Result.HELD] == []


def test_the_python_object_of_the_page_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "documented_engines.py").write_text(PROGRAMS[1], encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    engine = connect(settings_of("python:documented_engines:make"))
    body = json.dumps({"experiment_id": str(EXPERIMENT)})
    reply = asyncio.run(engine.send(Request(Operation.RECOMMEND, EXPERIMENT, body), timeout=5))
    answer = json.loads(reply.body)
    assert (reply.status, answer["recommendation"]) == (200, None)
    assert answer["input_hash"] == sha256(body.encode()).hexdigest()
    assert asyncio.run(engine.send(Request(Operation.EXECUTE, EXPERIMENT, "{}"), timeout=5)).status == 501
