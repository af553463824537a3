"""The embedded PostgreSQL server: started once for all, stopped after the last, and never blocked by what was killed."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from django.db import OperationalError

from config.embedded_postgres import server
from config.embedded_postgres.layout import LONGEST_SOCKET_PATH_BYTES, EmbeddedPostgresError, Layout
from config.embedded_postgres.leftovers import server_processes
from config.embedded_postgres.locks import is_locked
from config.embedded_postgres.server import keep_server, leave_server, server_url, use_server
from config.postgres_backend.base import DatabaseWrapper

PROJECT = Path(__file__).resolve().parents[2]
STAY = (
    "import sys, time; from pathlib import Path; from config.embedded_postgres.server import use_server\n"
    "print(use_server(Path(sys.argv[1])), flush=True); time.sleep(600)"
)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A folder for a server, with a space in its path; whatever runs on it is ended afterwards."""
    folder = tmp_path / "my data"
    yield folder
    leave_server(folder, stop_seconds=20)
    for process in server_processes(folder / "data"):
        kill(process)


def query(folder: Path, statement: str) -> object:
    with psycopg.connect(server_url(folder), connect_timeout=5) as connection:
        row = connection.execute(statement).fetchone()
        assert row is not None
        return row[0]


def eventually(condition: Callable[[], bool], *, seconds: float = 15) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def user_process(directory: Path) -> subprocess.Popen[str]:
    """Start a process that uses the server, and wait until it does."""
    process = subprocess.Popen(
        [sys.executable, "-c", STAY, str(directory)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip()
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def postmaster(directory: Path) -> int:
    return int((directory / "data" / "postmaster.pid").read_text().split()[0])


def keeper_of(directory: Path) -> int:
    status = Path("/proc", str(postmaster(directory)), "status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("PPid:")))


def kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def kill_everything(directory: Path) -> None:
    """Kill the keeper and every process of the server, as a power cut would."""
    for process in (keeper_of(directory), *server_processes(directory / "data")):
        kill(process)
    assert eventually(lambda: not is_locked(Layout(directory).keeper_lock))


def test_a_server_starts_by_itself_keeps_its_promises_and_stops(directory: Path) -> None:
    folder = use_server(directory)
    assert query(folder, "SHOW fsync") == "on"
    assert query(folder, "SHOW listen_addresses") == ""
    assert query(folder, "SHOW TimeZone") == "UTC"
    assert query(folder, "SELECT current_database()") == "orchestrator"
    assert directory.stat().st_mode & 0o077 == 0
    leave_server(directory, stop_seconds=20)
    assert not server_processes(directory / "data")


def test_many_processes_that_start_at_once_share_one_server(directory: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        users = list(pool.map(user_process, [directory] * 6))
    try:
        assert len({postmaster(directory)}) == 1
        parents = [process for process in server_processes(directory / "data") if process == postmaster(directory)]
        assert parents == [postmaster(directory)]
        assert "another" not in (directory / "server.log").read_text()
    finally:
        for user in users:
            end(user)
    assert eventually(lambda: not server_processes(directory / "data"))


def test_the_server_stays_while_one_of_its_users_lives(directory: Path) -> None:
    user = user_process(directory)
    use_server(directory)
    leave_server(directory, stop_seconds=5)
    assert query(directory, "SELECT 1") == 1
    end(user)
    assert eventually(lambda: not server_processes(directory / "data"))


def test_a_connected_stranger_keeps_the_server_and_an_asked_for_time_does_too(directory: Path) -> None:
    use_server(directory)
    with psycopg.connect(server_url(directory)) as connection:
        leave_server(directory)
        time.sleep(4)
        assert connection.execute("SELECT 1").fetchone() == (1,)
        keep_server(directory, seconds=60)
    time.sleep(4)
    assert query(directory, "SELECT 1") == 1
    use_server(directory)
    leave_server(directory, stop_seconds=20)
    assert not server_processes(directory / "data")


def test_committed_rows_survive_the_killing_of_everything(directory: Path) -> None:
    user = user_process(directory)
    with psycopg.connect(server_url(directory), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    kill_everything(directory)
    end(user)
    assert (directory / "data" / "postmaster.pid").exists()
    assert query(use_server(directory), "SELECT answer FROM kept") == 42


def test_a_user_whose_server_was_killed_gets_it_back_at_its_next_connection(directory: Path) -> None:
    use_server(directory)
    os.kill(postmaster(directory), signal.SIGKILL)
    assert eventually(lambda: not is_locked(Layout(directory).keeper_lock))
    assert query(use_server(directory), "SELECT 1") == 1


def test_a_server_whose_keeper_was_killed_shuts_down_and_starts_again(directory: Path) -> None:
    use_server(directory)
    before = postmaster(directory)
    kill(keeper_of(directory))
    assert eventually(lambda: not is_locked(Layout(directory).keeper_lock))
    assert query(use_server(directory), "SELECT 1") == 1
    assert postmaster(directory) != before


def test_a_pid_file_that_names_a_living_stranger_does_not_block_the_start(directory: Path) -> None:
    use_server(directory)
    pid_file = directory / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    kill_everything(directory)
    stranger = subprocess.Popen(["/bin/sleep", "600"])
    try:
        for path in (pid_file, directory / ".s.PGSQL.5432.lock"):
            path.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        assert query(use_server(directory), "SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_path_too_long_for_a_socket_gets_a_short_private_one(tmp_path: Path) -> None:
    directory = tmp_path / ("long" * 30) / "data"
    try:
        folder = use_server(directory)
        assert len(os.fsencode(folder / ".s.PGSQL.5432")) <= LONGEST_SOCKET_PATH_BYTES
        assert folder.stat().st_mode & 0o777 == 0o700
        assert query(folder, "SELECT 1") == 1
        leave_server(directory, stop_seconds=20)
        assert use_server(directory) == folder, "the address stays the same"
    finally:
        leave_server(directory, stop_seconds=20)
        shutil.rmtree(folder)


def test_a_half_made_data_folder_is_made_again(directory: Path) -> None:
    (directory / "data.unfinished" / "base").mkdir(parents=True)
    assert query(use_server(directory), "SELECT 1") == 1
    assert not (directory / "data.unfinished").exists()


def test_data_of_another_version_is_left_alone_with_a_sentence(directory: Path) -> None:
    (directory / "data").mkdir(parents=True)
    (directory / "data" / "PG_VERSION").write_text("15\n")
    with pytest.raises(EmbeddedPostgresError, match=r"was made by PostgreSQL 15"):
        use_server(directory)


def test_a_folder_of_somebody_else_is_refused_with_a_sentence(tmp_path: Path) -> None:
    folder = Path("/usr")  # root's
    if os.geteuid() == 0:
        folder = tmp_path
        os.chown(folder, 12345, 12345)
    with pytest.raises(EmbeddedPostgresError, match="belongs to another user"):
        use_server(folder)


def forbid(folder: Path, monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
    """Put programs first in PATH that fail like the real ones on a system that forbids what they do."""
    folder.mkdir()
    for name in programs:
        (folder / name).write_text(f"#!/bin/sh\necho '{name}: Operation not permitted' >&2\nexit 1\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_root_who_may_not_become_anybody_is_told_to_set_database_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(tmp_path / "bin", monkeypatch, "unshare", "setpriv")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(EmbeddedPostgresError, match="set DATABASE_URL"):
        server._as_somebody_but_root()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user id")
def test_root_in_a_container_without_user_namespaces_runs_the_server_as_nobody(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(tmp_path / "bin", monkeypatch, "unshare")
    assert query(use_server(directory), "SELECT 1") == 1
    assert (directory / "data").stat().st_uid not in (0, directory.stat().st_uid)
    assert directory.stat().st_mode & 0o077 == 0, "nobody else who is `nobody` comes to the socket"
    os.kill(keeper_of(directory), signal.SIGKILL)
    assert eventually(lambda: not is_locked(Layout(directory).keeper_lock))
    assert query(use_server(directory), "SELECT 1") == 1


def test_a_server_that_cannot_start_is_an_operational_error_for_django(directory: Path) -> None:
    (directory / "data").mkdir(parents=True)
    (directory / "data" / "PG_VERSION").write_text("15\n")
    connection = DatabaseWrapper(
        {"EMBEDDED_POSTGRES_DIR": directory, "NAME": "orchestrator", "USER": "orchestrator", "OPTIONS": {}}
    )
    with pytest.raises(OperationalError, match="PostgreSQL 15"):
        connection.get_connection_params()
