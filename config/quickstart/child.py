"""Runs a command that ends when its parent does, even by kill -9.

``python -m config.quickstart.child PARENT_ID COMMAND…`` asks the kernel to send SIGTERM when the parent dies, and
becomes the command.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the kernel send this process SIGTERM when the thread that started it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def main(parent: int, command: list[str]) -> None:
    """Become ``command``, unless the process ``parent`` has died already."""
    end_with_parent()
    if os.getppid() == parent:
        os.execv(command[0], command)  # noqa: S606  (no shell is wanted)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
