"""Using the embedded server: the side of the processes that need it."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

from config.embedded_postgres.layout import (
    DATABASE_NAME,
    PORT,
    READY,
    START_SECONDS,
    STOP_SECONDS,
    USER_NAME,
    EmbeddedPostgresError,
    Layout,
    prepare,
    programs,
    socket_folder,
)
from config.embedded_postgres.leftovers import clear_leftovers
from config.embedded_postgres.locks import is_locked, open_lock, try_lock, wait_for_lock

PROJECT = Path(__file__).resolve().parent.parent.parent
# Long enough for somebody else's start or stop to end.
LOCK_SECONDS = START_SECONDS + STOP_SECONDS
# Inside a namespace of its own the server is an ordinary user, outside it is root, whose files it can use.
_IN_A_NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
# Containers often forbid that. Then the server is `nobody`, with one right of root's: to reach its folder, which
# belongs to root and is closed to everybody else, and its programs, wherever they are.
_AS_NOBODY = (
    *("setpriv", "--reuid=nobody", "--regid=65534", "--clear-groups"),
    *("--inh-caps=-all,+dac_override", "--ambient-caps=+dac_override"),
)

_guard = threading.Lock()
_held: dict[Path, int] = {}


def use_server(directory: Path) -> Path:
    """Start the server of ``directory`` unless it runs, keep it from stopping while this process lives, and return
    the folder of its socket. Cheap when called again.

    :raises EmbeddedPostgresError: saying why it cannot be used.
    """
    with _guard:
        layout = prepare(directory)
        if layout.directory not in _held or not layout.users_lock.exists():
            _held[layout.directory] = _become_user(layout)
        return _running(layout) or _start(layout)


def leave_server(directory: Path, *, stop_seconds: float = 0) -> None:
    """Give up the use of the server; it stops soon unless somebody else uses it.

    With ``stop_seconds`` it stops at once, and this waits so long for it.
    """
    with _guard:
        layout = Layout(directory.resolve())
        descriptor = _held.pop(layout.directory, None)
        if descriptor is None:
            return
        if stop_seconds:
            keep_server(directory, seconds=0)
        os.close(descriptor)
        end = time.monotonic() + stop_seconds
        while is_locked(layout.keeper_lock) and not _used_by_others(layout) and time.monotonic() < end:
            time.sleep(0.05)


def keep_server(directory: Path, *, seconds: float) -> None:
    """Have the running server kept for ``seconds`` after its last use, whatever comes first of use and connections."""
    Layout(directory.resolve()).keep_seconds.write_text(str(seconds))


def server_url(folder: Path, *, database: str = DATABASE_NAME) -> str:
    """Return the address, as psql and DATABASE_URL take it, of ``database`` on the server with its socket in ``folder``."""
    return f"postgresql://{USER_NAME}@/{quote(database, safe='')}?host={quote(str(folder), safe='/')}&port={PORT}"


def psql() -> str:
    """Return the path of the psql that fits the server."""
    return str(programs() / "psql")


def _become_user(layout: Layout) -> int:
    descriptor = open_lock(layout.users_lock)
    if not wait_for_lock(descriptor, seconds=LOCK_SECONDS, shared=True):
        os.close(descriptor)
        raise EmbeddedPostgresError(f"The embedded database in {layout.directory} is being stopped and does not end.")
    return descriptor


def _used_by_others(layout: Layout) -> bool:
    descriptor = open_lock(layout.users_lock)
    try:
        # A keeper that stops its server lets not even a shared lock pass.
        return not try_lock(descriptor) and try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


def _running(layout: Layout) -> Path | None:
    """Return the socket's folder if the server is up. Its keeper cannot stop it while we hold the users' lock."""
    try:
        folder = Path(layout.ready.read_text())
    except FileNotFoundError:
        return None
    return folder if is_locked(layout.keeper_lock) else None


def _start(layout: Layout) -> Path:
    """Start the server, or wait for another process that is starting it."""
    start_lock = open_lock(layout.start_lock)
    try:
        if not wait_for_lock(start_lock, seconds=LOCK_SECONDS):
            raise EmbeddedPostgresError(
                f"Another process has been starting the embedded database in {layout.directory} "
                f"for {LOCK_SECONDS:.0f} seconds. See {layout.log}."
            )
        # A keeper without a server is starting one for somebody who died, or has just lost it and will end.
        end = time.monotonic() + LOCK_SECONDS
        while is_locked(layout.keeper_lock) and time.monotonic() < end:
            if folder := _running(layout):
                return folder
            time.sleep(0.05)
        layout.ready.unlink(missing_ok=True)
        layout.keep_seconds.unlink(missing_ok=True)
        folder = socket_folder(layout)
        clear_leftovers(layout.data, socket_folder=folder)
        _start_keeper(layout, folder)
        return folder
    finally:
        os.close(start_lock)


def _start_keeper(layout: Layout, folder: Path) -> None:
    command = [sys.executable, "-m", "config.embedded_postgres.keeper", str(layout.directory), str(folder)]
    try:
        started = subprocess.run(  # noqa: S603
            [*_as_somebody_but_root(), *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            timeout=LOCK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EmbeddedPostgresError(
            f"The embedded database does not start within {LOCK_SECONDS:.0f} seconds. See {layout.log}."
        ) from error
    told = started.stdout.strip()
    if told != READY:
        said = (told or started.stderr.strip() or "it ended without a word").splitlines()[-1]
        raise EmbeddedPostgresError(
            told
            or f"The keeper of the embedded database cannot run: {said}. Set DATABASE_URL to a PostgreSQL database."
        )


def _as_somebody_but_root() -> list[str]:
    """Return the command that runs another one with a user id that PostgreSQL accepts: it refuses to be root.

    :raises EmbeddedPostgresError: for root on a system that forbids every way.
    """
    if os.geteuid() != 0:
        return []
    for prefix in (_IN_A_NAMESPACE, _AS_NOBODY):
        program = shutil.which(prefix[0])
        if program and not subprocess.run([program, *prefix[1:], "true"], capture_output=True, check=False).returncode:  # noqa: S603
            return [program, *prefix[1:]]
    raise EmbeddedPostgresError(
        "PostgreSQL does not run as root, and this system does not let root start it under another user id (user "
        "namespaces and setpriv are forbidden here). Run this as an ordinary user, or set DATABASE_URL to a PostgreSQL "
        "database."
    )
