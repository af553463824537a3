"""The processes that quickstart starts: their logs, their deaths and their end."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LARGEST_LOG_BYTES = 10_000_000
TAIL_LINES = 8
TAIL_LINE_CHARACTERS = 400
# A process that dies this often within this time will not be helped by another start.
DEATHS_ALLOWED = 3
DEATHS_COUNTED_SECONDS = 60.0
STOP_SECONDS = 20.0


@dataclass
class Child:
    """One process, in a session of its own so that Ctrl-C reaches it only through quickstart."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=DEATHS_ALLOWED))

    def start(self) -> None:
        """Start it; call this from the main thread, whose death the kernel reports to the child."""
        if self.log.exists() and self.log.stat().st_size > LARGEST_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.old"))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "config.quickstart.child", str(os.getpid()), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                cwd=self.folder,
                start_new_session=True,
            )

    def has_died(self) -> bool:
        """Say whether it ended without being asked to; what it started itself is then ended too."""
        if self.process is None or self.process.poll() is None:
            return False
        self.deaths.append(time.monotonic())
        self.kill()
        return True

    def is_hopeless(self) -> bool:
        """Say whether it has died too often to be started again."""
        return len(self.deaths) == DEATHS_ALLOWED and self.deaths[-1] - self.deaths[0] < DEATHS_COUNTED_SECONDS

    def obituary(self) -> str:
        """Say how it ended, with the end of its log."""
        code = self.process.returncode if self.process else None
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        tail = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return f"The {self.name} {how}. The end of {self.log}:\n" + "\n".join(
            f"  {line[:TAIL_LINE_CHARACTERS]}" for line in tail
        )

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def wait_until_stopped(self, *, seconds: float = STOP_SECONDS) -> None:
        """Wait for it to end; after ``seconds`` it is killed with all that it started."""
        if self.process is None:
            return
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()
            self.process.wait()

    def kill(self) -> None:
        """Kill it and whatever is left of its group."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
