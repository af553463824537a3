"""While the database is away, alerts wait on disk; when it is back they are stored in order, once each, as if nothing had been."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.test import Client, override_settings
from prometheus_client.parser import text_string_to_metric_families

from config.keys import new_key
from tests.waiting import eventually
from webhooks import keeping, lines, notifications
from webhooks.alerts.problems import Problem
from webhooks.models import AlertSource, RejectedAlert, Signal
from webhooks.sources import TRUSTED_SECONDS, create_source, hash_of_token, known_sources
from webhooks.spool import SpoolFull, read_line, the_spool
from webhooks.spool_draining import drain_spool
from webhooks.storing import NewRejection, NewSignal, lock_key

PROJECT = Path(__file__).resolve().parents[2]
TOKEN = "hook-TOKEN_0123456789"
ALERT: dict[str, Any] = {"ticker": "SPY", "action": "buy", "interval": "5", "time": "2026-03-02T14:30:00Z"}
TIMELESS = {"ticker": "SPY", "action": "buy", "interval": "5"}
QUICK_SECONDS = 2.5  # TradingView gives up after three

pytestmark = pytest.mark.django_db(transaction=True)


class Outage:
    """Shuts the test database for everyone and opens it again, from another database of the same server."""

    def __init__(self) -> None:
        parameters = connection.get_connection_params()
        self.name = parameters["dbname"]
        self.admin = psycopg.connect(**{**parameters, "dbname": "postgres"}, autocommit=True)

    def begin(self) -> None:
        self.admin.execute(f'ALTER DATABASE "{self.name}" ALLOW_CONNECTIONS false')
        self.admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [self.name])

    def end(self) -> None:
        self.admin.execute(f'ALTER DATABASE "{self.name}" ALLOW_CONNECTIONS true')
        connection.close()  # this test's own, which the outage has broken


@pytest.fixture
def outage(transactional_db: None) -> Iterator[Outage]:
    outage = Outage()
    create_source("default", TOKEN, accept_missing_timestamp=True)
    yield outage
    outage.end()
    outage.admin.close()
    notifications.stop()


@dataclass(frozen=True)
class Answer:
    """What the webhook said, and after how many seconds."""

    status: int
    seconds: float
    said: dict[str, Any]


def post(body: Any = ALERT, *, token: str = TOKEN) -> Answer:
    """Send an alert as a server's thread would handle it."""

    def handle() -> Answer:
        began = time.monotonic()
        try:
            raw = body if isinstance(body, str | bytes) else json.dumps(body)
            response = Client().generic("POST", f"/webhooks/tradingview/{token}/", raw, "application/json")
            assert response.status_code != 503 or int(response.headers["Retry-After"]) >= 1
            return Answer(response.status_code, time.monotonic() - began, json.loads(response.content))
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(handle).result()


def everything_is_stored() -> bool:
    return not the_spool().is_waiting()


def spooled_text() -> str:
    return "".join(path.read_text() for path in settings.SPOOL_DIR.iterdir() if path.is_file())


@pytest.mark.requirement("8.3")
def test_an_outage_loses_no_alert_and_changes_nothing_about_it(outage: Outage) -> None:
    assert post().status == 200
    outage.begin()
    before = datetime.now(UTC)
    secret = {**ALERT, "note": "second", "passphrase": "hunter2", "said": f"to {TOKEN}"}
    exit_alert = {**ALERT, "market_position": "flat"}
    answers = [post(body) for body in (ALERT, secret, TIMELESS, TIMELESS, exit_alert, {"ticker": "SPY"}, "{")]
    after = datetime.now(UTC)
    assert max(answer.seconds for answer in answers) < QUICK_SECONDS
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 200, 400, 400]
    assert answers[0].said["code"] == "spooled"
    assert answers[0].said["signal_id"] is None
    assert answers[4].said == {"signal_id": None, "code": "exit_alert"}
    assert len(answers[5].said["errors"]) == 2  # direction and timeframe
    assert "hunter2" not in spooled_text()
    assert TOKEN not in spooled_text()
    keeping.keeper.stop()  # else it would store them before the test has looked
    assert the_spool().state().alerts == 7
    time.sleep(0.05)
    outage.end()
    eventually(lambda: drain_spool() == 7)
    signals = list(Signal.objects.order_by("received_at"))
    assert [signal.raw_payload.get("note") for signal in signals] == [None, "second", None]
    assert all(before <= signal.received_at <= after for signal in signals[1:])
    assert signals[1].signal_hash == answers[1].said["signal_hash"]
    assert signals[1].raw_payload["passphrase"] == signals[1].raw_payload["said"][3:] == "[redacted]"
    assert signals[2].timestamp == signals[2].received_at  # the second TIMELESS was its re-delivery
    assert [kept.code for kept in RejectedAlert.objects.order_by("received_at")] == [
        "exit_alert",
        "invalid",
        "not_json",
    ]
    assert post(secret).said == {
        "signal_id": str(signals[1].pk),
        "signal_hash": signals[1].signal_hash,
        "duplicate": True,
    }
    assert post(TIMELESS).said["duplicate"] is True


def test_the_web_process_itself_empties_the_spool_when_the_database_is_back(outage: Outage) -> None:
    post()
    outage.begin()
    assert {post({**ALERT, "number": number}).said["code"] for number in range(3)} == {"spooled"}
    outage.end()
    eventually(everything_is_stored, seconds=20)
    assert Signal.objects.count() == 4
    assert post({**ALERT, "number": 9}).said["duplicate"] is False


def test_alerts_stand_behind_those_that_still_wait(outage: Outage) -> None:
    post()
    the_spool().append(make_row(at=datetime.now(UTC)))
    assert post({**ALERT, "number": 1}).said["code"] == "spooled"
    eventually(everything_is_stored)
    assert [row.symbol for row in Signal.objects.order_by("received_at")] == ["SPY", "SPOOLED", "SPY"]


def test_a_restarted_web_process_knows_its_senders_during_the_outage(outage: Outage) -> None:
    keeping.keeper.start()
    eventually((settings.SPOOL_DIR / "sources.json").exists)
    keeping.keeper.stop()  # with all it knew
    lines.close()
    assert hash_of_token(TOKEN) in (settings.SPOOL_DIR / "sources.json").read_text()
    assert TOKEN not in (settings.SPOOL_DIR / "sources.json").read_text()
    outage.begin()
    assert post().said["code"] == "spooled"
    unknown = post(token="another-token-0123")
    assert unknown.status == 503  # it may have been made a moment before the outage
    assert unknown.seconds < QUICK_SECONDS
    ((row, version, confirmed_at),) = json.loads((settings.SPOOL_DIR / "sources.json").read_text())
    known_sources.clear()
    (settings.SPOOL_DIR / "sources.json").write_text(json.dumps([[row, version, confirmed_at - TRUSTED_SECONDS]]))
    assert post().status == 503  # nobody can say any more whether the source is still enabled


def test_a_disabled_or_changed_source_is_noticed_at_once(outage: Outage) -> None:
    assert post().status == 200
    AlertSource.objects.update(default_timeframe="60")
    without = {name: value for name, value in ALERT.items() if name != "interval"}
    assert post(without).status == 200
    assert Signal.objects.get(timeframe="60").raw_payload == without
    AlertSource.objects.update(enabled=False)
    assert post({**ALERT, "number": 2}).status == 404
    assert post("{").status == 404
    assert not RejectedAlert.objects.exists()
    AlertSource.objects.update(enabled=True)
    assert post({**ALERT, "number": 2}).status == 200


def test_a_full_spool_is_a_quick_503(outage: Outage) -> None:
    post()
    outage.begin()
    with override_settings(SPOOL_MAX_BYTES=2_000):
        answers = [post({**ALERT, "number": number}) for number in range(6)]
        statuses = [answer.status for answer in answers]
        assert statuses == sorted(statuses)
        assert set(statuses) == {200, 503}
        assert max(answer.seconds for answer in answers if answer.status == 503) < 1
        assert sum(path.stat().st_size for path in settings.SPOOL_DIR.glob("arriving")) <= 2_000
        outage.end()
        eventually(everything_is_stored, seconds=20)
    assert Signal.objects.count() == 1 + statuses.count(200)


def test_a_full_disk_is_told_and_leaves_no_half_of_a_record(tmp_path: Path) -> None:
    """The kernel stops writing in the middle of a record, as it does on a full disk."""
    script = (
        "import resource, django; django.setup()\n"
        "from webhooks.spool import the_spool, SpoolFull\n"
        "from tests.integration.test_webhook_outage import make_row\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))\n"
        "kept = 0\n"
        "try:\n"
        "    while True: the_spool().append(make_row()); kept += 1\n"
        "except SpoolFull: print(kept, the_spool().state().alerts, flush=True)\n"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", "SPOOL_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    kept, found = done.stdout.split()
    assert kept == found != "0"
    assert (tmp_path / "arriving").stat().st_size <= 1500


def test_a_record_that_a_crash_has_cut_off_costs_no_other(outage: Outage) -> None:
    whole = [make_row(at=datetime.now(UTC) + timedelta(milliseconds=number)) for number in range(3)]
    spool = the_spool()
    spool.append(whole[0])
    with (spool.folder / "arriving").open("ab") as file:
        file.write(b'\n12345678 ["signal", {"signal_id": "0')
    spool.append(whole[1])
    spool.append(whole[2])
    assert drain_spool() == 3
    assert Signal.objects.count() == 3
    assert b"12345678" in (spool.folder / "unreadable").read_bytes()


def test_a_process_that_is_killed_while_it_drains_leaves_nothing_out_and_nothing_twice(outage: Outage) -> None:
    spool = the_spool()
    count = 600
    for number in range(count):
        at = datetime.now(UTC)
        spool.append(make_rejection(at) if number % 10 == 0 else make_row(at=at, own_time=number % 10 != 1))
    environment = {
        **os.environ,
        "DATABASE_URL": "",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SPOOL_DIR": str(spool.folder),
    }
    script = (
        "import sys, django; django.setup()\n"
        "from django.db import connection\n"
        "connection.settings_dict['NAME'] = sys.argv[1]\n"
        "from webhooks.spool_draining import drain_spool\n"
        "drain_spool()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, outage.name], cwd=PROJECT, env=environment, stderr=subprocess.DEVNULL
    )
    eventually(lambda: Signal.objects.exists() or process.poll() is not None, seconds=30)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stored = Signal.objects.count()
    assert 0 < stored < count * 0.9
    assert drain_spool() == count
    assert Signal.objects.count() == count * 0.9
    assert RejectedAlert.objects.count() == count * 0.1
    assert drain_spool() == 0


def test_what_the_database_never_takes_is_kept_as_rejected_and_holds_up_nobody(outage: Outage) -> None:
    spool = the_spool()
    spool.append(replace(make_row(), direction="sideways", received_at=datetime.now(UTC)))
    spool.append(make_row())
    assert drain_spool() == 2
    assert RejectedAlert.objects.get().code == "unstorable"
    assert Signal.objects.get().symbol == "SPOOLED"


def test_a_time_out_after_which_the_commit_happened_all_the_same_makes_no_second_signal(outage: Outage) -> None:
    AlertSource.objects.update(dedupe_window_seconds=0)
    for own_time in (True, False):
        row = make_row(at=datetime.now(UTC), own_time=own_time)
        the_spool().append(row)
        drain_spool()
        the_spool().append(row)
        drain_spool()
    assert Signal.objects.count() == 2


def test_an_alert_behind_a_lock_is_answered_in_time_and_stored_later(outage: Outage) -> None:
    post()
    with psycopg.connect(**connection.get_connection_params()) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [lock_key("default", json.dumps(TIMELESS))])
        answer = post(TIMELESS)
        assert answer.said["code"] == "spooled"
        assert answer.seconds < QUICK_SECONDS
    eventually(everything_is_stored, seconds=20)
    assert Signal.objects.filter(timestamp_origin="received").count() == 1


def test_monitoring_sees_what_waits_and_who_was_turned_away(outage: Outage, client: Client) -> None:
    post()
    assert post(token="nobody-knows-me").status == 404
    the_spool().append(make_row(at=datetime.now(UTC) - timedelta(seconds=60)))
    outage.begin()
    measures = {
        sample.name: sample.value
        for family in text_string_to_metric_families(client.get("/metrics").content.decode())
        for sample in family.samples
    }
    assert measures["orchestrator_spool_alerts"] == 1
    assert 59 < measures["orchestrator_spool_oldest_seconds"] < 120
    assert 0 < measures["orchestrator_spool_bytes"] < measures["orchestrator_spool_bytes_most"]
    assert measures["orchestrator_webhook_unauthenticated"] == 1
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["spool"]["alerts"] == 1
    outage.end()


def test_a_record_is_read_as_it_was_written() -> None:
    for record in (make_row(at=datetime.now(UTC)), make_row(own_time=False), make_rejection(datetime.now(UTC))):
        the_spool().append(record)
        assert read_line((the_spool().folder / "arriving").read_bytes().splitlines()[-1]) == record


def test_a_folder_that_cannot_be_written_is_told_not_hung_on() -> None:
    with override_settings(SPOOL_DIR=Path("/proc/no-such-place")), pytest.raises(SpoolFull):
        the_spool().append(make_row())


def make_row(*, at: datetime | None = None, own_time: bool = True) -> NewSignal:
    key = new_key()
    moment = at or datetime.now(UTC)
    return NewSignal(
        signal_id=key,
        source="default",
        symbol="SPOOLED",
        exchange=None,
        direction="long",
        timeframe="5",
        timestamp=moment,
        has_own_time=own_time,
        signal_hash=key.hex * 2,
        payload='{"é":1}',
        raw_body=f'{{"é":1}}{"" if own_time else key}',
        received_at=moment,
        window_seconds=0 if not own_time else 30,
        notes=("a note",),
    )


def make_rejection(at: datetime) -> NewRejection:
    problem = Problem(field="body", code="not_json", message="No.", accepted="JSON", example="{}")
    return NewRejection(
        rejected_alert_id=new_key(),
        source="default",
        code="not_json",
        body="{",
        content_type="text/plain",
        problems=(problem.as_json(),),
        received_at=at,
    )
