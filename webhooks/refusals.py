"""How many requests came without a valid token: a number of fixed size on disk, shared by this machine's web processes.

Such requests leave nothing else behind: no row, no line in a log, nothing that could fill a disk.
"""

import fcntl
import os
from contextlib import suppress

from django.conf import settings

_BYTES = 8


def count_refusal() -> None:
    """Count one more; where the folder cannot be written, it goes uncounted."""
    with suppress(OSError):
        descriptor = _open(os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.pwrite(descriptor, (_read(descriptor) + 1).to_bytes(_BYTES), 0)
        finally:
            os.close(descriptor)


def refusals() -> int:
    """Return how many there were since the folder was made."""
    with suppress(OSError):
        descriptor = _open(os.O_RDONLY)
        try:
            return _read(descriptor)
        finally:
            os.close(descriptor)
    return 0


def _open(flags: int) -> int:
    if flags & os.O_CREAT:
        settings.SPOOL_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(settings.SPOOL_DIR / "refused", flags | os.O_CLOEXEC, 0o600)


def _read(descriptor: int) -> int:
    return int.from_bytes(os.pread(descriptor, _BYTES, 0))
