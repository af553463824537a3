"""What a person sees while quickstart runs: a live display on a terminal, a line now and then elsewhere."""

import time
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from config.quickstart.counts import Counts

PLAIN_LINE_SECONDS = 10.0


class Display(Protocol):
    """Shows messages, and how many of the sample alerts are sent and what became of them."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def say(self, text: str) -> None:
        """Show a message that stays."""

    def show(self, counts: Counts | None, *, sent: int, total: int) -> None:
        """Show the state; ``counts`` is None while the database does not answer, ``total`` 0 without sample alerts."""


def make_display(stream: TextIO) -> Display:
    """Return the display that fits ``stream``."""
    return LiveDisplay(stream) if stream.isatty() else PlainDisplay(stream)


class PlainDisplay:
    """Lines of text: one when something has changed, at most every ten seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = ""
        self._next_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def say(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def show(self, counts: Counts | None, *, sent: int, total: int) -> None:
        line = _state(counts)
        if total:
            line = f"sample alerts {sent}/{total} · {line}"
        if line != self._last and time.monotonic() >= self._next_at:
            self.say(line)
            self._last = line
            self._next_at = time.monotonic() + PLAIN_LINE_SECONDS


class LiveDisplay:
    """A bar and the numbers at the bottom of the terminal; messages scroll by above them."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False)
        self._progress = Progress(
            TextColumn("sample alerts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=self._console
        )
        self._task = self._progress.add_task("sample alerts", total=None, visible=False)
        self._live = Live(console=self._console, refresh_per_second=4, redirect_stdout=False, redirect_stderr=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def show(self, counts: Counts | None, *, sent: int, total: int) -> None:
        self._progress.update(self._task, completed=sent, total=total or None, visible=total > 0)
        self._live.update(Group(self._progress, Text(_state(counts))))


def _state(counts: Counts | None) -> str:
    return counts.as_text() if counts else "the database does not answer"
