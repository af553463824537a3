"""``make calibrate``: prints false alarms and power, and fails when the comparison breaks its promise."""

import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.markdown import Markdown

from tests.calibration.measuring import DAYS, PATHS, SEED, counting_rates, powers, rates
from tests.calibration.page import PAGE, PROJECT, Results, failures, page, percent, write


def main(arguments: Sequence[str]) -> int:
    """Return 0 when every scenario that must be held was held, else 1."""
    parser = ArgumentParser(prog="make calibrate", description=__doc__)
    parser.add_argument("--paths", type=int, default=PATHS, help=f"simulated series per scenario, {PATHS} by default")
    parser.add_argument("--days", type=int, default=DAYS, help=f"days of each, {DAYS} by default")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the random numbers, {SEED} by default")
    parser.add_argument(
        "--write", action="store_true", help="keep the results in docs/calibration.md and for the badge"
    )
    chosen = parser.parse_args(arguments)
    if chosen.paths < 1 or chosen.days < 1:
        parser.error("--paths and --days are at least 1")
    how = {"paths": chosen.paths, "days": chosen.days, "seed": chosen.seed}
    results = Results(
        measured_on=datetime.now(tz=UTC).date(),
        commit=_commit(),
        rates=list(rates(**how)),
        counting=list(counting_rates(**how)),
        powers=list(powers(**how)),
        **how,
    )
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(Markdown(page(results)))
    broken = failures([*results.rates, *results.counting])
    for found in broken:
        console.print(
            f"FAILED: {found.name} raises {percent(found.ours)} false alarms; accepted is {percent(found.limit)}."
        )
    if chosen.write and not broken:
        write(results)
        console.print(f"Written: {PAGE.relative_to(PROJECT)} and the record of the badge.")
    return 1 if broken else 0


def _commit() -> str:
    """Return the commit of the measured code, marked when files have changed since."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],  # noqa: S607 - whichever git the machine has
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
