"""An engine's durable memory: one SQLite file, every commit on disk before anything is answered (synchronous=FULL).

Times are text, ``YYYY-MM-DDTHH:MM:SS.ffffffZ`` in UTC, so that they sort; prices are decimal strings; bodies are the
bytes as received. A connection is shared by the threads of one process, one transaction at a time; a second process is
refused.
"""

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Self

SCHEMA = """
CREATE TABLE IF NOT EXISTS questions (
    experiment_id TEXT PRIMARY KEY,
    body BLOB NOT NULL,                -- the engine input, the bytes as received
    input_hash TEXT NOT NULL,          -- sha256 of them, the engine's own
    requests INTEGER NOT NULL DEFAULT 1,
    received_at TEXT NOT NULL,
    symbol TEXT NOT NULL,
    signal_at TEXT NOT NULL,           -- the signal's timestamp: market time
    price TEXT                         -- of the underlying, NULL when not known
);
CREATE INDEX IF NOT EXISTS questions_of_a_symbol ON questions (symbol, signal_at);
CREATE TABLE IF NOT EXISTS answers (
    experiment_id TEXT PRIMARY KEY REFERENCES questions,
    action TEXT NOT NULL CHECK (action IN ('OPEN', 'PASS')),
    body TEXT NOT NULL,                -- {"experiment_id","input_hash","recommendation","reason"}
    answered_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS executions (
    permit_id TEXT PRIMARY KEY,
    experiment_id TEXT NOT NULL,
    body BLOB NOT NULL,                -- of the first request
    attempts INTEGER NOT NULL DEFAULT 1,
    not_after TEXT NOT NULL,
    first_received_at TEXT NOT NULL,
    last_received_at TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('FILLED', 'REJECTED')),
    external_id TEXT UNIQUE,
    answer TEXT NOT NULL,
    CHECK ((status = 'FILLED') = (external_id IS NOT NULL))
);
CREATE UNIQUE INDEX IF NOT EXISTS one_fill_per_experiment ON executions (experiment_id) WHERE status = 'FILLED';
CREATE TABLE IF NOT EXISTS shadow_trades (
    trade_id TEXT PRIMARY KEY,
    experiment_id TEXT NOT NULL,
    body BLOB,                         -- NULL when its exit was told and it never was
    requests INTEGER NOT NULL DEFAULT 0,
    told_at TEXT,
    exit_body BLOB,                    -- as told when its lead closed it
    exit_requests INTEGER NOT NULL DEFAULT 0,
    exit_told_at TEXT,
    exit_price TEXT                    -- as answered then; NULL: not known
);
CREATE TABLE IF NOT EXISTS positions (
    position_id TEXT PRIMARY KEY,      -- external_id of a real trade, trade_id of a shadow trade
    kind TEXT NOT NULL CHECK (kind IN ('REAL', 'SHADOW')),
    experiment_id TEXT NOT NULL REFERENCES answers,
    symbol TEXT NOT NULL,
    entry_price TEXT NOT NULL,
    entry_time TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    entered_signal_at TEXT NOT NULL,   -- market time of the entry
    judged_signal_at TEXT NOT NULL,    -- market time it was last priced at: older alerts move it no more
    status TEXT NOT NULL CHECK (status IN ('OPEN', 'EXITED', 'CLOSED_BY_LEAD'))
);
CREATE INDEX IF NOT EXISTS open_positions_of_a_symbol ON positions (symbol) WHERE status = 'OPEN';
CREATE TABLE IF NOT EXISTS exits (
    position_id TEXT PRIMARY KEY REFERENCES positions,
    experiment_id TEXT NOT NULL,
    exit_price TEXT NOT NULL,
    exit_time TEXT NOT NULL,
    exit_reason TEXT NOT NULL,
    signal_at TEXT NOT NULL,           -- market time of the exit
    data TEXT NOT NULL                 -- of the event trade.exited
);
CREATE TABLE IF NOT EXISTS events (
    message_id TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    body TEXT NOT NULL,                -- {"type","data"} as sent
    created_at TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'PENDING' CHECK (state IN ('PENDING', 'ACKNOWLEDGED', 'REFUSED')),
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at TEXT NOT NULL,
    last_status INTEGER,               -- HTTP status of the last answer, NULL when there was none
    last_error TEXT,
    settled_at TEXT
);
CREATE INDEX IF NOT EXISTS events_to_send ON events (next_attempt_at) WHERE state = 'PENDING';
"""
SCHEMA_VERSION = 1
BUSY_SECONDS = 10


class LedgerUnavailable(Exception):
    """The ledger cannot be opened; the message says why in a sentence."""


class Ledger:
    """The open ledger. Use `transaction()` for everything; whatever leaves it without an error is on disk."""

    def __init__(self, path: Path) -> None:
        """Open or create the ledger at ``path``.

        :raises LedgerUnavailable: when another process has it open, or it cannot be written.
        """
        self.path = path
        self._lock = RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._guard = path.with_name(path.name + ".lock").open("a")
        except OSError as error:
            raise LedgerUnavailable(f"The ledger {path} cannot be opened: {error.strerror}.") from None
        try:
            fcntl.flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._connection = _connect(path)
        except BlockingIOError:
            self._guard.close()
            raise LedgerUnavailable(f"The ledger {path} is in use by another engine; give this one its own.") from None
        except sqlite3.Error as error:
            self._guard.close()
            raise LedgerUnavailable(f"The ledger {path} cannot be used: {error}.") from None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the only writing transaction; committed to disk at the end, rolled back on an error."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file; the lock goes with it."""
        with self._lock:
            self._connection.close()
            self._guard.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a read-only connection to a ledger, also while its engine is running; for inspection and tests."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        _create_tables(connection)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _create_tables(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
    if tables and version != SCHEMA_VERSION:
        raise sqlite3.DatabaseError("it was made by another version of the engine; move it away or name another file")
    connection.executescript(f"BEGIN IMMEDIATE;{SCHEMA}PRAGMA user_version={SCHEMA_VERSION};COMMIT;")
