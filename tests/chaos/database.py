"""A PostgreSQL of the run's own, which may be stopped without a word: its folder, its start, its immediate stop."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg

from config.embedded_postgres.layout import DATABASE_NAME, USER_NAME, programs
from config.embedded_postgres.server import _as_somebody_but_root
from config.quickstart.ports import claim_port

START_SECONDS = 30.0


class Database:
    """``hosts`` are the addresses it listens on beside its socket; it is durable: fsync and synchronous_commit are on."""

    def __init__(self, folder: Path, *, hosts: list[str], template: Path | None = None) -> None:
        self.folder = folder
        self.port = claim_port(0)
        self.url = f"postgresql://{USER_NAME}@/{DATABASE_NAME}?host={folder}&port={self.port}"
        self._hosts = hosts
        self._prefix = _as_somebody_but_root()
        self._process: subprocess.Popen[bytes] | None = None
        self._data = folder / "data"
        if template is not None:
            shutil.copytree(template, self._data)
        else:
            self._make()

    def url_at(self, host: str) -> str:
        """Return the address for those who come over the network."""
        return f"postgresql://{USER_NAME}@{host}:{self.port}/{DATABASE_NAME}"

    def start(self) -> None:
        """Start the server without waiting for it."""
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(*self._prefix, str(programs() / "postgres"), "-D", str(self._data), "-p", str(self.port)),
                    *(
                        "-c",
                        f"listen_addresses={','.join(self._hosts)}",
                        "-c",
                        f"unix_socket_directories={self.folder}",
                    ),
                    *(
                        "-c",
                        "max_connections=200",
                        "-c",
                        "fsync=on",
                        "-c",
                        "synchronous_commit=on",
                        "-c",
                        "timezone=UTC",
                    ),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until it answers, and make the database if it is missing."""
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                with self.connect("postgres") as connection:
                    known = connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE_NAME]).fetchone()
                    if known is None:
                        connection.execute(f'CREATE DATABASE "{DATABASE_NAME}"')
                    return
            except psycopg.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def connect(self, name: str = DATABASE_NAME) -> psycopg.Connection:
        """Return a connection in autocommit over the socket."""
        return psycopg.connect(
            host=str(self.folder), port=self.port, user=USER_NAME, dbname=name, autocommit=True, connect_timeout=5
        )

    def stop_at_once(self) -> None:
        """Stop as a power cut does, as far as the server's own processes go: no checkpoint, recovery at the next start."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """Stop in order."""
        self._end(signal.SIGINT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _make(self) -> None:
        command = [
            *(*self._prefix, str(programs() / "initdb"), f"--pgdata={self._data}", f"--username={USER_NAME}"),
            *("--auth=trust", "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
        ]
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 198.18.0.0/16 trust\n")  # the addresses of our own namespaces
