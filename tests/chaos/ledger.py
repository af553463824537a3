"""A ledger: one JSON object a line, on the disk before the call returns when it matters."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Ledger:
    """Lines are only ever added; ``at`` is the time in seconds since 1970, on this machine's one clock."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, kind: str, *, fsync: bool = False, **values: Any) -> None:
        """Add a line; with ``fsync`` it is on the disk when this returns."""
        line = json.dumps({"kind": kind, "at": round(time.time(), 6), **values})
        os.write(self._file, line.encode() + b"\n")
        if fsync:
            os.fsync(self._file)


def read(path: Path) -> list[Mapping[str, Any]]:
    """Return the lines of a ledger; a last one that was cut short is none."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]
