"""Where alerts wait on this machine's disk while the database is away: bounded, fsynced, shared by its web processes.

Records are appended to ``arriving`` and read from ``draining``: whoever drains moves the one to the other. A record stands on a line
of its own with its checksum, so one that a crash has cut off is recognised and costs no other. All changes of the two
names happen under one lock that the kernel takes back from a dead process. Nothing secret is in here: what arrives is redacted.
"""

import errno
import fcntl
import json
import math
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings

from webhooks.canonical import utc_text
from webhooks.storing import NewRejection, NewSignal

ARRIVING, DRAINING, UNREADABLE = "arriving", "draining", "unreadable"
LOCK_SECONDS = 0.5
LOOK_SECONDS = 0.02
LOCK_PAUSE_SECONDS = 0.002
TIMES = ("timestamp", "received_at")
IDS = ("signal_id", "rejected_alert_id")

log = structlog.get_logger(__name__)

Record = NewSignal | NewRejection


class SpoolFull(Exception):
    """The alert cannot be kept here either: the spool has reached its size, or its disk has."""


@dataclass(frozen=True, slots=True)
class SpoolState:
    """``alerts`` that wait, their ``used_bytes`` of at most ``most_bytes``, and since when the oldest does."""

    alerts: int
    used_bytes: int
    most_bytes: int
    oldest_at: datetime | None


class Spool:
    """One folder; any number of processes."""

    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        self._names = (str(folder / ARRIVING), str(folder / DRAINING))
        self._looked_at = -math.inf
        self._was_waiting = False

    def is_waiting(self) -> bool:
        """Tell whether alerts wait here, as of a moment ago; what comes now has to stand behind them."""
        now = time.monotonic()
        if now > self._looked_at + LOOK_SECONDS:
            self._was_waiting = any(os.path.exists(name) for name in self._names)  # noqa: PTH110 - asked for every alert
            self._looked_at = now
        return self._was_waiting

    def append(self, record: Record) -> None:
        """Keep a record; when this returns it is on disk.

        :raises SpoolFull: when it cannot be kept.
        """
        line = _as_line(record)
        self._looked_at = -math.inf
        try:
            with self._locked():
                descriptor = self._open_for(len(line))
                try:
                    _write_whole(descriptor, line)
                except BaseException:
                    os.close(descriptor)
                    raise
            try:
                os.fsync(descriptor)  # outside of the lock, so that many are made durable at once
            finally:
                os.close(descriptor)
        except OSError as error:
            log.warning("spool.failed", error_type=type(error).__name__, error_message=str(error))
            raise SpoolFull(f"The alert cannot be kept: {error.strerror or error}.") from error

    def take(self) -> Path | None:
        """Return the file that is to be drained next; None when no alert waits. Only the holder of ``draining`` calls it."""
        draining = self.folder / DRAINING
        with self._locked():
            if not draining.exists():
                try:
                    (self.folder / ARRIVING).rename(draining)
                except FileNotFoundError:
                    return None
                _sync_folder(self.folder)
        return draining

    @contextmanager
    def draining(self) -> Iterator[bool]:
        """Hold the right to drain; yields False when another process has it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.folder / "drain.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(descriptor)

    def set_aside(self, line: bytes) -> None:
        """Keep a line that is no record, for a person to look at; one that a crash has cut off, mostly."""
        log.warning("spool.unreadable_record", bytes=len(line), kept_in=str(self.folder / UNREADABLE))
        with suppress(OSError), (self.folder / UNREADABLE).open("ab") as kept:
            if kept.tell() < self.most_bytes:
                kept.write(line + b"\n")

    def state(self) -> SpoolState:
        """Return what waits."""
        alerts, used, oldest = 0, 0, None
        for name in reversed(self._names):
            with suppress(OSError), Path(name).open("rb") as file:
                for line in file:
                    used += len(line)
                    if not line.strip():
                        continue
                    alerts += 1
                    if oldest is None and (record := read_line(line)):
                        oldest = record.received_at
        return SpoolState(alerts=alerts, used_bytes=used, most_bytes=self.most_bytes, oldest_at=oldest)

    def _open_for(self, size: int) -> int:
        """Open ``arriving`` for a record of ``size`` bytes. Call this with the lock held.

        :raises OSError: ENOSPC, when it does not fit.
        """
        sizes = []
        for name in self._names:
            with suppress(FileNotFoundError):
                sizes.append(Path(name).stat().st_size)
        if sum(sizes) + size > self.most_bytes:
            raise OSError(errno.ENOSPC, f"the spool holds {sum(sizes)} of at most {self.most_bytes} bytes")
        path = self.folder / ARRIVING
        is_new = not path.exists()
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if is_new:
            _sync_folder(self.folder)
        return descriptor

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the two names; a process that was stopped while it held it makes nobody hang.

        :raises OSError: when the lock cannot be had in time, or the folder not be used.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.folder / "spool.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            until = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise OSError(errno.EBUSY, "another process holds the spool") from None
                    time.sleep(LOCK_PAUSE_SECONDS)
            yield
        finally:
            os.close(descriptor)


def the_spool() -> Spool:
    """Return the spool of the settings."""
    return _spool_at(settings.SPOOL_DIR, settings.SPOOL_MAX_BYTES)


@cache
def _spool_at(folder: Path, most_bytes: int) -> Spool:
    return Spool(folder, most_bytes=most_bytes)


def read_line(line: bytes) -> Record | None:
    """Return the record of a line; None when it is damaged."""
    checksum, _, text = line.strip().partition(b" ")
    if checksum != _checksum(text):
        return None
    kind, values = json.loads(text)
    for name in TIMES:
        if values.get(name):
            values[name] = datetime.fromisoformat(values[name])
    for name in IDS:
        if name in values:
            values[name] = UUID(values[name])
    if kind == "signal":
        return NewSignal(**{**values, "notes": tuple(values["notes"])})
    return NewRejection(**{**values, "problems": tuple(values["problems"])})


def _as_line(record: Record) -> bytes:
    kind = "signal" if isinstance(record, NewSignal) else "rejection"
    text = json.dumps([kind, asdict(record)], default=_plain).encode()
    # the first line break ends whatever a crash has left without one
    return b"\n%b %b\n" % (_checksum(text), text)


def _plain(value: Any) -> str:
    return utc_text(value) if isinstance(value, datetime) else str(value)


def _checksum(text: bytes) -> bytes:
    return b"%08x" % zlib.crc32(text)


def _write_whole(descriptor: int, line: bytes) -> None:
    """Write a record, or nothing of it: what a full disk has cut off is taken back."""
    before = os.fstat(descriptor).st_size
    written = 0
    try:
        written = os.write(descriptor, line)
    finally:
        if written != len(line):
            os.ftruncate(descriptor, before)
    if written != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
