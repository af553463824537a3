"""What the kernel does for a parent and its children: no child outlives its parent, no dead child stays around.

``python -m config.quickstart.child PARENT_ID COMMAND…`` asks the kernel to send SIGTERM when the parent dies, and
becomes the command.
"""

import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
BURIAL_SECONDS = 2.0


def end_with_parent() -> None:
    """Have the kernel send this process SIGTERM when the thread that started it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, like the keeper of the embedded database.

    Where process 1 is not a real init, as in many containers, they would stay as defunct processes.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def bury_orphans() -> None:
    """Take note of all children that have ended, or end in a moment."""
    end = time.monotonic() + BURIAL_SECONDS
    try:
        while time.monotonic() < end:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.02)
    except ChildProcessError:
        return


def main(parent: int, command: list[str]) -> None:
    """Become ``command``, unless the process ``parent`` has died already."""
    end_with_parent()
    if os.getppid() == parent:
        os.execv(command[0], command)  # noqa: S606  (no shell is wanted)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
