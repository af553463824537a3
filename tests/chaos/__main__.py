"""``python -m tests.chaos``: one run, one run without a guard, or all guards one after the other."""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.chaos.director import PROJECT, Director, Scenario
from tests.chaos.guards import GUARDS, Guard, guard_named, tree_without
from tests.chaos.report import lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for how long signals come")
    parser.add_argument("--signals", type=int, default=1000, help="how many at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--every", type=float, default=1.5, help="mean seconds between two disturbances")
    parser.add_argument("--heal", type=float, default=90, help="seconds that it may take to heal at the end")
    parser.add_argument("--deadline", type=float, default=30, help="RECOMMENDATION_DEADLINE_SECONDS")
    parser.add_argument("--no-namespaces", action="store_true", help="no worker hosts in network namespaces")
    parser.add_argument(
        "--without", metavar="GUARD", choices=[guard.name for guard in GUARDS], help="take one guard away"
    )
    parser.add_argument(
        "--intact", action="store_true", help="with --without: the same mix with the guard in its place"
    )
    parser.add_argument("--guards", action="store_true", help="take every guard away, one after the other")
    parser.add_argument("--keep", type=Path, help="keep logs and ledgers in this folder")
    parser.add_argument("--template", type=Path, help="a migrated data folder, made when it is missing")
    parser.add_argument("--result", type=Path, help="where the numbers are written as JSON")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if given.guards:
        return without_each_guard(given.seed)
    folder = given.keep or Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        return run(given, folder.resolve())
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)


def run(given: argparse.Namespace, folder: Path) -> int:
    """Run once and print the report; 1 when something is there that must not be."""
    scenario = Scenario(
        seed=given.seed,
        signals=given.signals,
        seconds=given.seconds,
        workers=given.workers,
        every=given.every,
        deadline=given.deadline,
        heal_seconds=given.heal,
        namespaces=not given.no_namespaces,
        template=given.template,
    )
    if given.without:
        guard = guard_named(given.without)
        tree = None if given.intact else tree_without(guard, folder / "tree")
        scenario = guard.scenario(seed=given.seed, tree=tree, template=given.template)
    variant = f" with{'' if given.intact else 'out'} {given.without}" if given.without else ""
    result = Director(scenario, folder).run()
    say("\n".join(lines(scenario, result, commit=commit() + variant)))
    if given.result:
        found = {measure: len(rows) for measure, rows in result.judgement.found.items()}
        totals = {"disturbances": result.disturbances.total(), "faults": result.faults.total(), "checks": result.checks}
        given.result.write_text(json.dumps({"found": found, "counts": result.judgement.counts, **totals}))
    return 0 if result.judgement.is_clean else 1


def without_each_guard(seed: int) -> int:
    """Take the guards away one after the other; 1 when the harm of one is not found."""
    table, missed = [], 0
    with tempfile.TemporaryDirectory(prefix="chaos-guards-", dir="/tmp") as folder:
        for guard in GUARDS:
            found = _found_without(guard, seed, Path(folder))
            harm = {measure: count for measure, count in found.items() if count}
            is_red = any(found.get(measure) for measure in guard.finds)
            missed += not is_red
            told = ", ".join(f"{measure} {count}" for measure, count in harm.items()) or "nothing"
            table.append(f"| {guard.name} | {guard.rule} | {'red' if is_red else 'NOT FOUND'} | {told} |")
            say(table[-1])
    say("\n| guard taken away | rule | result | found |\n|---|---|---|---|\n" + "\n".join(table))
    return 1 if missed else 0


def _found_without(guard: Guard, seed: int, folder: Path) -> dict[str, int]:
    result = folder / f"{guard.name}.json"
    command = [sys.executable, "-m", "tests.chaos", "--without", guard.name, "--seed", str(seed)]
    given = ["--template", str(folder / "template"), "--result", str(result)]
    done = subprocess.run([*command, *given], cwd=PROJECT, capture_output=True, text=True, check=False, timeout=300)
    if not result.exists():
        raise SystemExit(f"The run without {guard.name} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    found: dict[str, int] = json.loads(result.read_text())["found"]
    return found


def commit() -> str:
    """Return the git commit of what runs, with a plus sign when it was changed since."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"],  # noqa: S607 - git from the path
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
