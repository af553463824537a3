"""The recorded calibration of the comparison, for the badge beside the verdict; ``make calibrate`` writes it."""

import json
from functools import cache
from pathlib import Path
from typing import Any

RECORD = Path(__file__).resolve().parent / "domain" / "calibration.json"


def calibration() -> dict[str, Any]:
    """Return when the comparison was calibrated, how, and its worst rate of false alarms beside that of a daily t-test."""
    found = _record()
    return {
        name: found[name] for name in ("measured_on", "commit", "command", "paths", "days", "limit", "held", "worst")
    }


@cache
def _record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found
