"""What a killed server leaves behind: processes that still run on its data, and lock files that block the next start."""

import os
import signal
import time
from pathlib import Path

from config.embedded_postgres.layout import PORT, EmbeddedPostgresError

# Fast shutdown, then immediate shutdown, then death: signal and the seconds that it is given.
WAYS_TO_STOP = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))


def clear_leftovers(data: Path, *, socket_folder: Path) -> None:
    """Stop what still runs on the data folder ``data`` and remove its lock files.

    Call this only when no keeper lives. The process ids in those files are not trusted: after a reboot or in a new
    container they may belong to a stranger, who would keep PostgreSQL from starting and must not be signalled. A
    server process is known by its working folder, which is the data folder.

    :raises EmbeddedPostgresError: when a process cannot be stopped.
    """
    for number, seconds in WAYS_TO_STOP:
        if _wait_until_gone(data, signal_number=number, seconds=seconds):
            break
    else:
        raise EmbeddedPostgresError(
            f"PostgreSQL processes {sorted(server_processes(data))} still run on {data} and cannot be stopped. "
            "End them, or set EMBEDDED_POSTGRES_DIR to another folder."
        )
    socket = socket_folder / f".s.PGSQL.{PORT}"
    for path in (data / "postmaster.pid", socket.with_name(f"{socket.name}.lock"), socket):
        path.unlink(missing_ok=True)


def server_processes(data: Path) -> set[int]:
    """Return the ids of the PostgreSQL processes, parent and children, that work in the data folder ``data``."""
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "cwd").samefile(data) and (entry / "comm").read_text().startswith("postgres"):
                found.add(int(entry.name))
        except OSError:  # it has ended, or it is somebody else's
            continue
    return found


def _wait_until_gone(data: Path, *, signal_number: signal.Signals, seconds: float) -> bool:
    end = time.monotonic() + seconds
    signalled: set[int] = set()
    while processes := server_processes(data):
        if time.monotonic() > end:
            return False
        for process in processes - signalled:
            try:
                os.kill(process, signal_number)
            except ProcessLookupError:
                continue
            except PermissionError:
                return False
        signalled |= processes
        time.sleep(0.05)
    return True
