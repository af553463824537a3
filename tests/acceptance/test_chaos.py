"""The chaos run in short, with a fixed seed, and one guard taken away to see that its judge can fail.

``make chaos`` is the long form; docs/reliability.md has what it found.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.director import PROJECT
from tests.chaos.judge import MEASURES

# Among the first disturbances of this seed are all kinds but a halt; its engines do not deduplicate, and one cannot be asked.
SEED = "1098"
SHORT = ("--seconds", "12", "--signals", "250", "--seed", SEED, "--every", "1.2", "--deadline", "10", "--heal", "60")
CHEAPEST = "redirects-are-not-followed"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first run keeps its migrated database for the second one."""
    return tmp_path_factory.mktemp("chaos") / "template"


def run_chaos(*arguments: str, template: Path, result: Path) -> tuple[int, str, dict[str, Any]]:
    """Run it as a person does and return its exit code, what it printed, and its numbers."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", *arguments, "--template", str(template), "--result", str(result)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert result.exists(), printed
    return done.returncode, printed, json.loads(result.read_text())


def test_nothing_is_executed_twice_lost_or_invented_while_everything_around_it_fails(
    template: Path, tmp_path: Path
) -> None:
    code, printed, result = run_chaos(*SHORT, template=template, result=tmp_path / "short.json")
    assert code == 0, printed
    assert result["found"] == dict.fromkeys(MEASURES, 0)
    # how far it comes in its time is a matter of the machine
    assert result["counts"]["signals"] >= 40
    assert result["counts"]["real executions"] >= 5
    assert result["disturbances"] >= 6
    assert result["faults"] >= 15
    assert result["checks"] >= 2


def test_without_one_guard_the_same_judge_finds_double_executions(template: Path, tmp_path: Path) -> None:
    code, printed, result = run_chaos("--without", CHEAPEST, template=template, result=tmp_path / "without.json")
    assert code == 1, printed
    assert result["found"]["double executions"] > 0
    assert "RED  double executions" in printed
