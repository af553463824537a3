"""The results on paper: docs/calibration.md for people, outcomes/domain/calibration.json for the badge beside the verdict."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.calibration.measuring import LIMIT, MILESTONES, Power, Rate

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs" / "calibration.md"
RECORD = PROJECT / "outcomes" / "domain" / "calibration.json"
# What the verdict is computed with; when one of these changes, the recorded results are about something else.
MEASURED = (
    "confidence_sequence.py",
    "comparison.py",
    "series.py",
    "discordant.py",
    "assignment_check.py",
    "distributions.py",
    "planning.py",
)


@dataclass(frozen=True, slots=True)
class Results:
    """One run of the calibration."""

    measured_on: date
    commit: str
    paths: int
    days: int
    seed: int
    rates: Sequence[Rate]
    counting: Sequence[Rate]
    powers: Sequence[Power]

    @property
    def command(self) -> str:
        return f'make calibrate ARGS="--paths {self.paths} --days {self.days} --seed {self.seed}"'


def fingerprint() -> str:
    """Return the hash of the measured code, 64 hex digits."""
    found = sha256()
    for name in MEASURED:
        found.update((PROJECT / "outcomes" / "domain" / name).read_bytes())
    return found.hexdigest()


def failures(rates: Sequence[Rate]) -> list[Rate]:
    """Return the scenarios that must be held and were not."""
    return [found for found in rates if found.held and found.ours > found.limit]


def record(results: Results) -> dict[str, Any]:
    """Return what is kept for machines."""
    held = [found for found in results.rates if found.held]
    worst = max(held, key=lambda found: found.ours)
    return {
        "measured_on": results.measured_on.isoformat(),
        "commit": results.commit,
        "command": results.command,
        "paths": results.paths,
        "days": results.days,
        "seed": results.seed,
        "limit": LIMIT,
        "worst": {"scenario": worst.name, "rate": worst.ours, "naive": worst.naive},
        "held": not failures([*results.rates, *results.counting]),
        "rates": [asdict(found) for found in (*results.rates, *results.counting)],
        "powers": [asdict(found) for found in results.powers],
        "fingerprint": fingerprint(),
    }


def record_on_disk() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


def write(results: Results) -> None:
    RECORD.write_text(json.dumps(record(results), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(results), encoding="utf-8")


def page(results: Results) -> str:
    """Return docs/calibration.md."""
    held = [found for found in results.rates if found.held]
    apart = [found for found in results.rates if not found.held]
    return "\n".join(
        [
            "# Does the verdict keep its promise?",
            "",
            "This page is written by the command below. Engines without any difference are simulated, "
            f"{results.paths:,} times for {results.days} days each, and the comparison is looked at after every day from the "
            "first on which it may give a verdict. It promises that at most 5 % of such series ever call one engine better. "
            "Beside it stands what an ordinary t-test of the same daily sums does when it is looked at every day.",
            "",
            "```",
            f'{results.command[:-1]} --write"',
            "```",
            "",
            f"Measured on {results.measured_on} at commit {results.commit}. The factor of the interval is the one that the "
            "reports compute with, and in each scenario some paths are run through the reports' own code and must give the same "
            "mean, error and verdict on every day. The command fails above "
            f"{100 * LIMIT:.0f} %; a test runs a small form of it, and another one fails when the measured code has changed since.",
            "",
            "## False alarms",
            "",
            *table(held),
            "",
            "## What no method of this kind can hold",
            "",
            "An interval that is made of means and variances believes what it has seen. Where the loss that evens everything out "
            "has not happened yet, the sample says nothing of it; and days that resemble the day before are not independent. "
            "The report shows the lag-1 autocorrelation and says when the option by ISO week is the honest one.",
            "",
            *table(apart),
            "",
            "## The tests that count",
            "",
            *table(results.counting),
            "",
            'These are looked at every day too. "Wins more often" takes pairs as independent of each other, as its formula does; '
            "where a day decides for all of its pairs it alarms too often, one of the reasons why it is never the verdict.",
            "",
            "## How soon a true difference is seen",
            "",
            'One pair a day; the difference is in standard deviations of a day\'s difference. "Projected" is what the report '
            "says it takes to see it 80 % of the time.",
            "",
            *power_table(results.powers),
            "",
        ]
    )


def table(rates: Sequence[Rate]) -> list[str]:
    return [
        "| scenario | | any-time interval | daily t-test |",
        "|---|---|---|---|",
        *(f"| {found.name} | {found.told} | {percent(found.ours)} | {percent(found.naive)} |" for found in rates),
    ]


def power_table(powers: Sequence[Power]) -> list[str]:
    days = " | ".join(f"by day {day}" for day in MILESTONES)
    return [
        f"| difference | {days} | median day | projected days | seen by then |",
        f"|---|{'---|' * (len(MILESTONES) + 3)}",
        *(
            f"| {found.difference:g} sd | {' | '.join(_share(seen) for seen in found.seen)} | {found.median_days or '-'} | "
            f"{found.projected_days} | {_share(found.seen_by_then)} |"
            for found in powers
        ),
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"
