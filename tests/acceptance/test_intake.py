"""The intake as quickstart serves it, without a proxy in front: real processes, real sockets, a database that is stopped."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.acceptance.test_quickstart import Installation, end, printed, read_welcome
from tests.waiting import eventually
from webhooks.keeping import REFRESH_SECONDS

PROJECT = Path(__file__).resolve().parents[2]
TOKEN = "hook-TOKEN_0123456789"
PATH = f"/webhooks/tradingview/{TOKEN}/"
SECRET = "hunter2-hunter2"
ALERT: dict[str, Any] = {"ticker": "SPY", "action": "buy", "interval": "5", "time": "2026-03-02T14:30:00Z"}
TIMELESS = {"ticker": "SPY", "action": "buy", "interval": "5"}
QUICK_SECONDS = 2.8  # TradingView gives up after three
AT_ONCE = 20


@dataclass
class Service:
    """A running quickstart without worker and demo."""

    installation: Installation
    port: int
    database: str

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database, autocommit=True, connect_timeout=10) as opened:
            return opened.execute(sql.encode()).fetchall()

    def signals(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT raw_payload, received_at FROM signals ORDER BY received_at, signal_id")

    def web_server(self) -> int:
        """Return the process that quickstart has started and that starts the web's workers."""
        found = {number: command for number, command in self.installation.processes().items() if "granian" in command}
        return min(found)

    def web_workers(self) -> list[int]:
        main = self.web_server()
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        return [int(child) for child in children if "granian" in _command(child) or "spawn_main" in _command(child)]

    def database_processes(self) -> list[int]:
        """Return the database's processes, the postmaster first."""
        folder = self.installation.folder / "my database"
        main = int(next(folder.rglob("postmaster.pid")).read_text().split()[0])
        return [main, *map(int, Path(f"/proc/{main}/task/{main}/children").read_text().split())]

    def spool(self) -> Path:
        return self.installation.folder / "run" / "spool"

    def is_drained(self) -> bool:
        return not any((self.spool() / name).exists() for name in ("arriving", "draining"))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=15)


def _command(process: str) -> str:
    return Path("/proc", process, "cmdline").read_text().replace("\0", " ")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    installation = Installation(tmp_path_factory.mktemp("intake"))
    environment = {**installation.environment(), "WEBHOOK_TOKEN": TOKEN}
    process = subprocess.Popen(
        [sys.executable, "manage.py", "quickstart", "--no-demo", "--no-worker", "--port", "0"],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        port = int(printed(read_welcome(process), r"http://127\.0\.0\.1:(\d+)/admin/"))
        database = subprocess.run(
            [sys.executable, "manage.py", "database_url"],
            cwd=PROJECT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        running = Service(installation, port, database.stdout.strip())
        running.rows("UPDATE alert_sources SET accept_missing_timestamp = true RETURNING id")
        yield running
        end(process)
    finally:
        for left in installation.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)


@pytest.fixture(autouse=True)
def _nobody_is_left_stopped(service: Service) -> Iterator[None]:
    yield
    for process in service.database_processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)


@dataclass(frozen=True)
class Answer:
    status: int
    seconds: float
    body: bytes

    @property
    def said(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


def request(body: bytes, *, method: str = "POST", path: str = PATH, headers: str = "") -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body
    )


def read_answer(opened: socket.socket, *, began: float = 0.0) -> Answer:
    """Read one answer.

    :raises ConnectionError: when the server hangs up before it is complete.
    """
    got = b""
    while b"\r\n\r\n" not in got:
        got += _some(opened)
    head, _, body = got.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    while length and len(body) < int(length[1]):
        body += _some(opened)
    return Answer(int(head.split()[1]), time.monotonic() - began, body)


def _some(opened: socket.socket) -> bytes:
    if piece := opened.recv(65_536):
        return piece
    raise ConnectionError("the server has hung up")


def post(service: Service, body: Any, **given: str) -> Answer:
    """Send an alert over a connection of its own."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    began = time.monotonic()
    with service.connect() as opened:
        opened.sendall(request(raw, **given))
        return read_answer(opened, began=began)


@pytest.mark.requirement("10.1", "property-24")
@pytest.mark.parametrize("body", [ALERT, TIMELESS], ids=["with its time", "without a time"])
def test_fifty_rounds_of_twenty_identical_requests_at_once_leave_fifty_signals(
    service: Service, body: dict[str, Any]
) -> None:
    ((before,),) = service.rows("SELECT count(*) FROM signals")
    with contextlib.ExitStack() as stack:
        senders = [stack.enter_context(service.connect()) for _ in range(AT_ONCE)]
        for number in range(50):
            sent = request(json.dumps({**body, "round": number}).encode())
            for sender in senders:  # all but the last byte, so that they are complete at the same moment
                sender.sendall(sent[:-1])
            for sender in senders:
                sender.sendall(sent[-1:])
            answers = [read_answer(sender) for sender in senders]
            assert {answer.status for answer in answers} == {200}
            # On a slow machine one may have waited too long for the database: it is stored from the spool, and is no other signal.
            # Without a time its hash is known only then.
            stored = [answer.said for answer in answers if answer.said.get("code") != "spooled"]
            hashes = {answer.said["signal_hash"] for answer in answers}
            assert len(hashes - {None}) == 1
            assert None not in hashes or len(stored) < AT_ONCE
            assert len({said["signal_id"] for said in stored}) == 1
            assert Counter(said["duplicate"] for said in stored) == Counter({False: 1, True: len(stored) - 1})
    eventually(service.is_drained, seconds=30)
    assert service.rows("SELECT count(*) FROM signals") == [(before + 50,)]
    assert len(service.web_workers()) > 1


def test_fifty_senders_of_a_byte_a_second_do_not_delay_an_honest_alert(service: Service) -> None:
    whole = request(json.dumps(ALERT).encode())
    head_end = whole.index(b"\r\n\r\n") + 4
    chunked = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n".encode()
    beginnings = [whole[:20], whole[: head_end + 5], chunked]
    with contextlib.ExitStack() as stack:
        drips = [stack.enter_context(service.connect()) for _ in range(50)]
        for place, drip in enumerate(drips):
            drip.sendall(beginnings[place % 3])
        slowest = 0.0
        for number in range(12):
            for drip in drips:
                with contextlib.suppress(OSError):  # some have been shut out by then, which is right
                    drip.sendall(b"x")
            answer = post(service, {**ALERT, "honest": number})
            assert answer.status == 200
            slowest = max(slowest, answer.seconds)
            time.sleep(0.25)
        assert slowest < 1
        eventually(lambda: all(_is_shut_out(drip) for drip in drips), seconds=15)


def _is_shut_out(drip: socket.socket) -> bool:
    drip.setblocking(False)
    try:
        while drip.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def test_pages_that_wait_do_not_delay_an_alert(service: Service) -> None:
    page = request(b"", method="GET", path="/metrics")
    with contextlib.ExitStack() as stack:
        with psycopg.connect(service.database) as opened:
            opened.execute("LOCK TABLE incidents IN ACCESS EXCLUSIVE MODE")
            readers = [stack.enter_context(service.connect()) for _ in range(40)]
            for reader in readers:
                reader.sendall(page)
            assert select.select(readers, [], [], 0.5)[0] == []
            answer = post(service, {**ALERT, "beside": "pages that wait"})
            assert answer.status == 200
            assert answer.seconds < QUICK_SECONDS
            assert select.select(readers, [], [], 0)[0] == []
        assert {read_answer(reader).status for reader in readers} == {200}


def test_odd_requests_get_an_answer_that_is_no_server_error(service: Service) -> None:
    gzipped = bytes.fromhex("1f8b0800000000000000")
    big = b'{"a":"' + b"x" * 10_000_000 + b'"}'
    assert post(service, gzipped, headers="Content-Encoding: gzip\r\n").status == 400
    assert post(service, big).status == 413
    assert post(service, big, path="/api/v1/quotes/").status == 413
    for method in ("PUT", "OPTIONS", "DELETE", "PATCH", "TRACE", "BREW"):
        assert post(service, b"{}", method=method).status == 405
    head = request(b"", method="HEAD")
    with service.connect() as opened:
        opened.sendall(head)
        assert b" 405 " in opened.recv(1000)
    for token in ("..%2f..%2fadmin", "%00", "%ff%fe", "../../admin", "x" * 5000, "%2e%2e/", TOKEN + "%00", "a/b"):
        assert post(service, b"{}", path=f"/webhooks/tradingview/{token}/").status == 404
    # as many heads as one likes may say anything about themselves
    assert post(service, b"{}", headers="X: y\r\n" * 90).status == 400
    assert post(service, ALERT, headers="Content-Type: \x01\r\n").status in {200, 400}


def test_memory_is_bounded_whatever_is_sent(service: Service) -> None:
    def resident() -> int:
        return sum(
            int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{worker}/status").read_text())[0])
            for worker in service.web_workers()
        )

    post(service, ALERT)
    before = resident()
    huge = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10000000\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        senders = [stack.enter_context(service.connect()) for _ in range(30)]
        piece, grown = b"x" * 200_000, 0
        for sender in senders:
            sender.sendall(huge)
        for number in range(45):  # nine of the ten megabytes that each has promised
            for sender in senders:
                with contextlib.suppress(OSError):
                    sender.sendall(piece)
            if number % 5 == 0:
                grown = max(grown, resident() - before)
    assert grown < 60_000  # kilobytes; all of it would be 270,000


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP], ids=["stopped and started", "renewed"])
def test_a_restart_under_load_loses_no_request_that_was_accepted(service: Service, how: signal.Signals) -> None:
    answered: dict[int, int] = {}
    broken: list[int] = []
    stopping = threading.Event()

    def send(first: int) -> None:
        for number in range(first, first + 10_000):
            if stopping.is_set():
                return
            try:
                answered[number] = post(service, {**ALERT, "under_load": f"{how} {number}"}).status
            except OSError:
                broken.append(number)
                time.sleep(0.05)

    senders = [threading.Thread(target=send, args=(10_000 * place,)) for place in range(6)]
    for sender in senders:
        sender.start()
    time.sleep(1)
    old = set(service.web_workers())
    os.kill(service.web_server(), how)
    eventually(lambda: _are_new(service, old), seconds=40)
    time.sleep(1)
    stopping.set()
    for sender in senders:
        sender.join(30)
    assert set(answered.values()) == {200}
    stored = {
        int(text.rpartition(" ")[2])
        for (text,) in service.rows("SELECT raw_payload->>'under_load' FROM signals WHERE raw_payload ? 'under_load'")
        if text.startswith(f"{how} ")
    }
    assert set(answered) <= stored
    assert stored <= set(answered) | set(broken)


def _are_new(service: Service, old: set[int]) -> bool:
    with contextlib.suppress(OSError, ValueError):
        workers = set(service.web_workers())
        return len(workers) == len(old) and not workers & old and post(service, b"{").status == 400
    return False


@pytest.mark.requirement("8.3")
def test_alerts_sent_to_a_stopped_database_and_a_killed_web_server_are_all_stored_once(service: Service) -> None:
    """Every process of the database stops dead: nothing is refused, nothing answers. Then the web server is killed as well."""
    ((before,),) = service.rows("SELECT count(*) FROM signals")
    known = service.spool() / "sources.json"
    eventually(lambda: '"accept_missing_timestamp": true' in known.read_text(), seconds=20)
    time.sleep(REFRESH_SECONDS * 1.2)  # the other web process reads the rule that the fixture has set as well
    stopped = service.database_processes()
    for process in stopped:
        os.kill(process, signal.SIGSTOP)
    sent: list[dict[str, Any]] = []

    def send(number: int) -> None:
        body = {**(TIMELESS if number % 3 == 0 else ALERT), "number": f"outage {number}", "secret": SECRET}
        answer = post(service, body)
        assert answer.status == 200, answer.body
        assert answer.said["code"] == "spooled"
        assert answer.seconds < QUICK_SECONDS
        sent.append(body)

    for number in range(5):
        send(number)
    old = set(service.web_workers())
    for process in [service.web_server(), *old]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    eventually(lambda: _answers(service), seconds=40)
    for number in range(5, 10):
        send(number)
    assert post(service, b"{").status == 400
    lying = "".join(path.read_text() for path in service.spool().iterdir() if path.name in ("arriving", "draining"))
    assert "outage 9" in lying
    assert SECRET not in lying
    assert TOKEN not in lying
    for process in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)
    eventually(service.is_drained, seconds=30)
    stored = [row[0]["number"] for row in service.signals() if str(row[0].get("number", "")).startswith("outage")]
    assert stored == [body["number"] for body in sent]
    assert service.rows("SELECT count(*) FROM signals") == [(before + len(sent),)]
    direct = post(service, {**ALERT, "number": "afterwards"})
    assert direct.said["duplicate"] is False


def _answers(service: Service) -> bool:
    with contextlib.suppress(OSError):
        return post(service, b"", method="GET", path="/healthz").status == 200
    return False


FIELD = st.sampled_from(["ticker", "symbol", "action", "side", "interval", "time", "close", "type", "x", "\u202e", ""])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["buy", "SPY", "5", "flat"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELD | st.text(max_size=5), inner, max_size=6),
    max_leaves=12,
)


def test_no_body_makes_a_server_error(service: Service) -> None:
    with httpx2.Client(timeout=20, trust_env=False, base_url=f"http://127.0.0.1:{service.port}") as client:

        @given(
            body=st.binary(max_size=300)
            | JSON.map(lambda value: json.dumps(value).encode())
            | st.text().map(str.encode),
            content_type=st.sampled_from(["application/json", "text/plain", "multipart/form-data", "\x7f", ""]),
        )
        @hypothesis_settings(max_examples=150, suppress_health_check=list(HealthCheck))
        def sends(body: bytes, content_type: str) -> None:
            headers = {"Content-Type": content_type}
            assert client.post(PATH, content=body, headers=headers).status_code in {200, 400}

        sends()


def test_no_request_after_the_description_makes_a_server_error(service: Service, tmp_path: Path) -> None:
    """Schemathesis makes requests of the OpenAPI description, fitting ones and others."""
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "schemathesis.cli",
                "run",
                f"http://127.0.0.1:{service.port}/api/schema/?format=json",
            ),
            *("--checks", "not_a_server_error", "--max-examples", "15", "--phases", "fuzzing", "--workers", "2"),
            *("--include-path-regex", "^/(webhooks|api/v1/(engines|quotes|signals))", "--no-color"),
            *("--generation-deterministic", "--request-timeout", "10"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
