"""The processes of a run: started again when they die, stopped and killed by their own id, none left at the end."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

END_SECONDS = 15.0


@dataclass
class Process:
    """One process in a session of its own; ``stopped_until`` on the monotonic clock while it is paused."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None
    stopped_until: float = 0.0
    starts: int = field(default=0)

    def start(self) -> None:
        """Start it, from the thread whose end is the end of all."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "config.quickstart.child", str(os.getpid()), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self.environment),
                cwd=self.folder,
                start_new_session=True,
            )
        self.starts += 1
        self.stopped_until = 0.0

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def is_stopped(self) -> bool:
        return self.stopped_until > 0

    def kill(self) -> None:
        """kill -9, with all that it started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def kill_one_child(self, place: float) -> bool:
        """kill -9 of one of its own children; ``place`` from 0 to 1 says which. False when it has none."""
        assert self.process is not None
        pid = self.process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return False
        if not children:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(children[int(place * len(children))]), signal.SIGKILL)
        return True

    def pause(self, seconds: float) -> None:
        """SIGSTOP."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)
            self.stopped_until = time.monotonic() + seconds

    def resume(self) -> None:
        """SIGCONT."""
        self.stopped_until = 0.0
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)

    def end(self) -> int | None:
        """Ask it to end and wait; kill what is left. Return its exit code, None when it had to be killed."""
        if self.process is None:
            return 0
        code = None
        if self.process.poll() is None:
            self.resume()
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(END_SECONDS)
        self.kill()
        return code
