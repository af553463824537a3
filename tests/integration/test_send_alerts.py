"""Sending alerts to the real webhook, and to one that is not well."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django.live_server_helper import LiveServer

from webhooks import notifications
from webhooks.models import Signal
from webhooks.sending import Answer, WebhookUnreachable, send_alerts
from webhooks.services import create_source

TOKEN = "a-token-of-a-test"


def alert(minute: int) -> bytes:
    return json.dumps(
        {"ticker": "SPY", "action": "buy", "interval": "5", "time": f"2026-03-02T14:{minute:02d}:00Z"}
    ).encode()


@pytest.fixture
def webhook(live_server: LiveServer) -> Iterator[str]:
    create_source(name="default", token=TOKEN)
    yield f"{live_server.url}/webhooks/tradingview/{TOKEN}/"
    notifications.stop()  # its connection would keep the test database from being dropped


@contextmanager
def server_that_answers(*statuses: int) -> Iterator[str]:
    """Run a server that gives these answers in turn, the last one for ever."""
    waiting = list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b'{"signal_id":"x","signal_hash":"y","duplicate":false}'
            self.send_response(waiting.pop(0) if len(waiting) > 1 else waiting[0])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/webhooks/tradingview/secret-token/"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.django_db(transaction=True)
def test_every_alert_is_answered_and_counted(webhook: str) -> None:
    answers: list[Answer] = []
    tally = send_alerts([alert(1), alert(2), alert(1), b"{}"], url=webhook, rate=None, on_answer=answers.append)
    assert tally.results == {"stored": 2, "duplicate": 1, "refused": 1}
    assert [answer.number for answer in answers] == [1, 2, 3, 4]
    assert "symbol" in answers[3].detail
    assert Signal.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_the_command_sends_a_file_and_fails_when_one_is_refused(webhook: str, tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    path.write_bytes(alert(1) + b"\n\n" + alert(2) + b"\n")
    out = StringIO()
    call_command("send_alerts", str(path), "--url", webhook, stdout=out)
    assert "Alerts sent: 2 (2 stored)" in out.getvalue()
    path.write_bytes(b"nonsense\n")
    with pytest.raises(CommandError, match="refused: 1"):
        call_command("send_alerts", str(path), "--url", webhook, stdout=out, stderr=StringIO())


@pytest.mark.django_db(transaction=True)
def test_an_unknown_token_ends_the_sending_and_is_not_repeated(live_server: LiveServer) -> None:
    with pytest.raises(WebhookUnreachable, match="does not know this token") as error:
        send_alerts([alert(1)], url=f"{live_server.url}/webhooks/tradingview/{TOKEN}/", rate=None)
    assert TOKEN not in str(error.value)


def test_a_service_that_is_away_for_a_moment_is_asked_again() -> None:
    with server_that_answers(200, 503, 200) as url:
        assert send_alerts([b"1", b"2"], url=url, rate=None).results == {"stored": 2}


def test_an_address_where_nobody_listens_is_given_up_in_seconds() -> None:
    started_at = time.monotonic()
    with pytest.raises(WebhookUnreachable, match="cannot be reached"):
        send_alerts([b"1"], url="http://127.0.0.1:9/webhooks/tradingview/token/", rate=None)
    assert time.monotonic() - started_at < 20


def test_something_else_than_the_webhook_is_told_apart() -> None:
    with server_that_answers(302) as url, pytest.raises(WebhookUnreachable, match="answered 302") as error:
        send_alerts([b"1"], url=url, rate=None)
    assert "secret-token" not in str(error.value)


def test_the_pace_is_kept_and_a_stop_ends_it() -> None:
    stop = threading.Event()
    with server_that_answers(200) as url:
        started_at = time.monotonic()
        assert send_alerts([b"1"] * 6, url=url, rate=10).total == 6
        assert 0.5 <= time.monotonic() - started_at < 5
        threading.Timer(0.3, stop.set).start()
        assert send_alerts([b"1"] * 1000, url=url, rate=10, stop=stop).total < 50


@pytest.mark.parametrize("rate", ["0", "-1", "1e9"])
def test_a_senseless_rate_is_refused(rate: str) -> None:
    with pytest.raises(CommandError, match=r"--rate.*Accepted"):
        call_command("send_alerts", "-", "--url", "http://127.0.0.1/x", f"--rate={rate}")


def test_a_missing_file_is_one_sentence() -> None:
    with pytest.raises(CommandError, match="cannot be read: No such file"):
        call_command("send_alerts", "missing.jsonl", "--url", "http://127.0.0.1:9/webhooks/tradingview/token/")
