"""Real money goes out only from a database that forgets nothing and that is the one it was."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from config.embedded_postgres.layout import programs
from orchestrator import database_facts
from orchestrator.database_duties import check_database_at_start, note_identity
from orchestrator.database_facts import (
    ChangedDatabase,
    UnsafeDatabase,
    check_database_before_arming,
    read_facts,
    what_is_wrong,
)
from orchestrator.models import DatabaseIdentity, ExecutionPermit, Incident, PolicyRevision
from orchestrator.revisions import current_revision, record_revision
from tests.engine_server import EngineServer
from tests.factories import make_experiment
from tests.protocol_steps import a_worker, again, granted
from tests.working import in_threads

PROJECT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def live() -> Iterator[None]:
    with override_settings(APP_MODE="LIVE"):
        yield


@pytest.fixture
def sql() -> Iterator[Callable[..., list[Any]]]:
    """Run statements in the session that the code under test uses; afterwards no session that they changed is left."""

    def run(statement: str) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    yield run
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's has it


def known_as(**changes: Any) -> DatabaseIdentity:
    """Write that the database was known as another one before."""
    identity = read_facts().identity
    fields = {
        "system_identifier": identity.system_identifier,
        "timeline": identity.timeline,
        "database_oid": identity.database_oid,
        "table_oid": identity.table_oid,
    }
    return DatabaseIdentity.objects.create(number=1, noted_by="test", **(fields | changes))


def test_on_paper_nothing_is_asked_of_the_database(sql: Callable[..., Any]) -> None:
    sql("SET synchronous_commit = off")
    known_as(timeline="0000000F")
    with CaptureQueriesContext(connection) as queries:
        check_database_at_start()
        check_database_before_arming()
    assert len(queries) == 0


@pytest.mark.usefixtures("live")
def test_a_sound_database_is_noted_at_the_first_start_and_never_again() -> None:
    check_database_at_start()
    check_database_at_start()
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        check_database_before_arming()
    assert len([query for query in queries if "current_setting" in query["sql"]]) == len(queries) - 2  # BEGIN, COMMIT
    assert DatabaseIdentity.objects.count() == 1
    assert not Incident.objects.exists()
    assert not current_revision().trading_halted


@pytest.mark.usefixtures("live")
def test_a_database_that_forgets_commits_is_refused_at_the_start(sql: Callable[..., Any]) -> None:
    sql("SET synchronous_commit = off")
    with pytest.raises(UnsafeDatabase, match="synchronous_commit is off"):
        check_database_at_start()
    with pytest.raises(CommandError, match="synchronous_commit is off"):
        call_command("run_orchestrator", "--once")
    assert not DatabaseIdentity.objects.exists()


@pytest.mark.parametrize("name", ["synchronous_commit", "fsync", "full_page_writes"])
def test_each_setting_that_may_lose_a_commit_is_named(name: str) -> None:
    sound = read_facts()
    assert what_is_wrong(sound) == ""
    changed: dict[str, Any] = {name: "off"}
    assert what_is_wrong(replace(sound, **changed)).startswith(f"{name} is off")


def test_a_standby_is_not_traded_with() -> None:
    assert "standby" in what_is_wrong(replace(read_facts(), in_recovery=True))


@pytest.mark.usefixtures("live", "engines")
def test_no_order_leaves_while_commits_may_be_forgotten_and_an_incident_says_why(
    sql: Callable[..., Any], engine_a: EngineServer
) -> None:
    check_database_at_start()
    permit = granted()
    sql("SET synchronous_commit = off")
    with a_worker() as worker:
        worker.execute()
        worker.execute()
        assert again(permit).state == "GRANTED"
        [incident] = Incident.objects.all()
        assert (incident.kind, incident.severity) == ("DATABASE_NOT_DURABLE", "CRITICAL")
        assert "synchronous_commit is off" in incident.detail["what"]
        sql("SET synchronous_commit = on")
        worker.execute()
    assert again(permit).armed_at is not None
    check_database_at_start()
    incident.refresh_from_db()
    assert incident.resolved_at is not None


@pytest.mark.usefixtures("live", "engines")
@pytest.mark.parametrize(
    "before",
    [
        {"system_identifier": "1"},
        {"timeline": "0000000F"},
        {"database_oid": 1},
        {"table_oid": 1},
    ],
    ids=lambda before: next(iter(before)),
)
def test_another_database_halts_trading_until_an_operator_lifts_it(before: dict[str, Any]) -> None:
    known_as(**before)
    permit = granted()
    with a_worker() as worker:
        worker.execute()
        worker.execute()
        assert again(permit).state == "GRANTED"
        [incident] = Incident.objects.all()
        assert (incident.kind, incident.severity) == ("DATABASE_CHANGED", "CRITICAL")
        revision = current_revision()
        assert (revision.trading_halted, revision.changed_by) == (True, "orchestrator")
        record_revision({"TRADING_HALTED": False}, changed_by="ann")
        worker.execute()
    assert again(permit).armed_at is not None
    assert Incident.objects.count() == 1


@pytest.mark.usefixtures("live")
def test_another_database_is_noticed_at_the_start_as_well() -> None:
    known_as(timeline="0000000F")
    check_database_at_start()
    assert current_revision().trading_halted
    assert "timeline went from 0000000F to 00000001" in Incident.objects.get().detail["what"]


@pytest.mark.usefixtures("live")
def test_workers_that_notice_at_the_same_time_halt_once() -> None:
    known_as(timeline="0000000F")
    in_threads(*[note_identity] * 6)
    assert DatabaseIdentity.objects.count() == 2
    assert PolicyRevision.objects.filter(changed_by="orchestrator").count() == 1
    assert Incident.objects.count() == 1


@pytest.mark.usefixtures("live")
def test_a_role_that_may_not_read_the_identifier_still_notices_what_it_can(
    sql: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    check_database_at_start()
    monkeypatch.setattr(database_facts, "may_read_identifier", lambda: False)
    assert read_facts().identity.system_identifier == ""
    with transaction.atomic():
        check_database_before_arming()
    DatabaseIdentity.objects.create(
        number=2, timeline="0000000F", database_oid=1, table_oid=1, noted_by="test", system_identifier=""
    )
    with pytest.raises(ChangedDatabase):
        check_database_before_arming()


@pytest.mark.usefixtures("live")
def test_a_role_without_any_privilege_of_its_own_can_make_the_check(sql: Callable[..., Any]) -> None:
    check_database_at_start()
    sql("CREATE ROLE plain_service")
    try:
        sql("GRANT USAGE ON SCHEMA public TO plain_service")
        sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO plain_service")
        sql("SET ROLE plain_service")
        with transaction.atomic():
            check_database_before_arming()
    finally:
        sql("RESET ROLE")
        sql("DROP OWNED BY plain_service")
        sql("DROP ROLE plain_service")


def test_a_dump_that_is_read_back_holds_everything_and_is_another_database(
    database_url: str, tmp_path: Path, live: None, sql: Callable[..., Any]
) -> None:
    """Back up, restore into a new database, verify, and see that real trading stops there until it is reconciled."""
    experiment = make_experiment()
    check_database_at_start()
    tools = programs()
    dump = tmp_path / "backup.sql"
    _run(str(tools / "pg_dump"), "--file", str(dump), database_url)
    parts = urlsplit(database_url)
    name = f"{parts.path.lstrip('/')}_restored"
    restored_url = urlunsplit(parts._replace(path=f"/{name}"))
    sql(f'CREATE DATABASE "{name}"')
    try:
        _run(str(tools / "psql"), "--quiet", "--set", "ON_ERROR_STOP=1", "--file", str(dump), restored_url)
        environment = {**os.environ, "DATABASE_URL": restored_url}
        for command in ("verify_invariants", "replay_experiments"):
            _run(sys.executable, "manage.py", command, environment=environment)
        told = _run(
            sys.executable,
            "manage.py",
            "run_orchestrator",
            "--once",
            environment={
                **environment,
                "APP_MODE": "LIVE",
                "SECRET_KEY": "a-key-for-this-test-of-more-than-fifty-characters-0123456789",
            },
        )
        assert "DATABASE_CHANGED" in told
        rows = _run(
            str(tools / "psql"),
            "--tuples-only",
            "--no-align",
            "--command",
            "SELECT trading_halted FROM policy_revisions ORDER BY number DESC LIMIT 1",
            restored_url,
        )
        assert rows.strip() == "t"
        found = _run(str(tools / "psql"), "-At", "--command", "SELECT experiment_id FROM experiments", restored_url)
        assert found.split() == [str(experiment.pk)]
    finally:
        sql(f'DROP DATABASE "{name}" WITH (FORCE)')
    assert ExecutionPermit.objects.count() == 0


def _run(*command: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
