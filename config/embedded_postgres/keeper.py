"""The keeper: the process that starts the embedded server, keeps it while it is used, and stops it afterwards.

Run as ``python -m config.embedded_postgres.keeper DIRECTORY SOCKET_FOLDER``. It prints ``ready`` once the server
answers, or a sentence that says why it does not, and lives on in the background.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import psycopg

from config.embedded_postgres.layout import (
    DATABASE_NAME,
    MAJOR_VERSION,
    PORT,
    READY,
    START_SECONDS,
    STOP_SECONDS,
    USER_NAME,
    EmbeddedPostgresError,
    Layout,
    programs,
)
from config.embedded_postgres.leftovers import clear_leftovers
from config.embedded_postgres.locks import open_lock, try_lock, unlock

POLL_SECONDS = 0.25
# Commands that follow each other find the server running.
LINGER_SECONDS = 3.0
LARGEST_LOG_BYTES = 10_000_000
PR_SET_PDEATHSIG = 1

SERVER_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "max_wal_size": "1GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] %d ",
}


def main(directory: str, folder: str) -> None:
    """Start the server in the background, report on standard output, and keep it until nobody uses it."""
    if os.fork():
        os._exit(0)  # the keeper is nobody's child and in nobody's session, so that no Ctrl-C reaches it
    os.setsid()
    layout = Layout(Path(directory))
    keeper_lock = open_lock(layout.keeper_lock)
    if not try_lock(keeper_lock):
        _tell("Another keeper is at work already.")
        return
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _end)
    server = None
    try:
        # The starter did the same, but may not see what runs under another user id, as we may not see into another
        # namespace.
        clear_leftovers(layout.data, socket_folder=Path(folder))
        _initialise(layout)
        server = _start_server(layout, Path(folder))
        _wait_until_it_answers(server, layout, Path(folder))
        _write(layout.ready, folder)
        _tell(READY)
        _let_go_of_the_caller()
        _keep(server, layout, Path(folder))
    except EmbeddedPostgresError as error:
        _tell(str(error))
    finally:
        for path in (layout.ready, layout.keep_seconds):
            path.unlink(missing_ok=True)
        if server is not None:
            _stop_server(server)


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def _initialise(layout: Layout) -> None:
    """Make the data folder, all of it or nothing."""
    version = layout.data / "PG_VERSION"
    if version.exists():
        found = version.read_text().strip()
        if found != MAJOR_VERSION:
            raise EmbeddedPostgresError(
                f"{layout.data} was made by PostgreSQL {found}; this is {MAJOR_VERSION}. Set EMBEDDED_POSTGRES_DIR to "
                "another folder, or move the data with pg_dump."
            )
        return
    unfinished = layout.directory / "data.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    made = subprocess.run(  # noqa: S603
        [
            programs() / "initdb",
            f"--pgdata={unfinished}",
            f"--username={USER_NAME}",
            "--auth=trust",  # nobody but us can reach the socket
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--no-instructions",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if made.returncode:
        raise EmbeddedPostgresError(
            f"The embedded database cannot be made in {layout.directory}: {_last_words(made.stderr)} Set "
            "EMBEDDED_POSTGRES_DIR to another folder, or DATABASE_URL to a PostgreSQL database."
        )
    unfinished.rename(layout.data)


def _start_server(layout: Layout, folder: Path) -> subprocess.Popen[bytes]:
    if layout.log.exists() and layout.log.stat().st_size > LARGEST_LOG_BYTES:
        layout.log.replace(layout.log.with_suffix(".log.old"))
    quoted = '"' + str(folder).replace('"', '""') + '"'
    command = [str(programs() / "postgres"), "-D", str(layout.data), "-c", f"unix_socket_directories={quoted}"]
    for name, value in SERVER_SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    libc = ctypes.CDLL(None, use_errno=True)

    def shut_down_with_the_keeper() -> None:
        # SIGINT is PostgreSQL's fast shutdown. A server without its keeper would never be stopped by anybody.
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)

    with layout.log.open("ab") as log:
        return subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=shut_down_with_the_keeper,  # noqa: PLW1509  (the keeper has one thread)
            start_new_session=True,
        )


def _wait_until_it_answers(server: subprocess.Popen[bytes], layout: Layout, folder: Path) -> None:
    """Wait for the end of the start, which after a crash includes recovery, and make the database if it is missing."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            with _connect(folder) as connection:
                known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE_NAME]).fetchone()
                if not known:
                    connection.execute(f'CREATE DATABASE "{DATABASE_NAME}"')
        except psycopg.OperationalError as error:
            if server.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
                continue
            raise EmbeddedPostgresError(
                f"The embedded database does not start: {_last_words(_tail(layout.log))} The whole story is in "
                f"{layout.log}. DATABASE_URL can name another PostgreSQL database."
            ) from error
        else:
            return


def _connect(folder: Path) -> psycopg.Connection:
    return psycopg.connect(
        host=str(folder), port=PORT, user=USER_NAME, dbname="postgres", connect_timeout=5, autocommit=True
    )


def _let_go_of_the_caller() -> None:
    """Close the pipe to the process that asked for the server; it waits for that."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _keep(server: subprocess.Popen[bytes], layout: Layout, folder: Path) -> None:
    """Return when the server has ended, lost its ground, or nobody needs it, then with the users' lock held exclusively.

    Lost its ground: its folder or its programs were removed, so that it cannot load what it needs any more.

    Needed is: a process holds the users' lock, or somebody is connected (psql, with the printed address), or the time
    to keep it is not over.
    """
    users_lock = open_lock(layout.users_lock)
    last_used_at = time.monotonic()
    program = programs() / "postgres"
    while server.poll() is None and layout.users_lock.exists() and program.exists():
        if not try_lock(users_lock):
            last_used_at = time.monotonic()
        elif _anybody_connected(folder):
            last_used_at = time.monotonic()
            unlock(users_lock)
        elif time.monotonic() >= last_used_at + _seconds_to_keep(layout):
            return
        else:
            unlock(users_lock)
        time.sleep(POLL_SECONDS)


def _seconds_to_keep(layout: Layout) -> float:
    """Return for how many seconds after its last use the server is kept."""
    try:
        return float(layout.keep_seconds.read_text())
    except (OSError, ValueError):
        return LINGER_SECONDS


def _anybody_connected(folder: Path) -> bool:
    try:
        with _connect(folder) as connection:
            found = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ).fetchone()
    except psycopg.OperationalError:
        return False
    return bool(found and found[0])


def _stop_server(server: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if server.poll() is None:
            server.send_signal(number)
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue


def _tail(path: Path) -> str:
    return path.read_text(errors="replace")[-2000:]


def _last_words(text: str) -> str:
    """Return the last line of ``text`` that tells of a failure, as a sentence."""
    lines = [line for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "error:" in line] or lines or ["no reason was given"]
    return telling[-1].strip().rstrip(".") + "."


def _write(path: Path, text: str) -> None:
    """Write ``path`` so that a reader sees all of it or nothing."""
    fresh = path.with_suffix(".fresh")
    fresh.write_text(text)
    fresh.replace(path)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
