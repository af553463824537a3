"""Waiting for what happens elsewhere; it knows nothing of the service, so that everybody may use it."""

import time
from collections.abc import Callable


def eventually(is_so: Callable[[], object], *, seconds: float = 30) -> None:
    """Wait until it is so.

    :raises AssertionError: when it is not so within ``seconds``.
    """
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)
