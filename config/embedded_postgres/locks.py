"""File locks: the kernel frees them however their holder ends, so none is ever stale."""

import fcntl
import os
import time
from pathlib import Path

PAUSE_SECONDS = 0.02


def open_lock(path: Path) -> int:
    """Open the lock file ``path`` and return its descriptor, which is not handed on to child processes."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Take the lock if nobody is in the way and say whether it was taken."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_lock(descriptor: int, *, seconds: float, shared: bool = False) -> bool:
    """Take the lock within ``seconds`` and say whether that worked."""
    end = time.monotonic() + seconds
    while not try_lock(descriptor, shared=shared):
        if time.monotonic() > end:
            return False
        time.sleep(PAUSE_SECONDS)
    return True


def unlock(descriptor: int) -> None:
    """Free the lock and keep the descriptor."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def is_locked(path: Path) -> bool:
    """Say whether somebody holds the lock ``path`` exclusively at this moment."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)
