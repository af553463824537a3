"""The table of proven requirements: a full run fails on a gap, a part of it does not."""

import subprocess
import sys
from pathlib import Path

from tests.requirements_table import CRITERIA, KNOWN, PROPERTIES, table_lines, uncovered

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ("pytest_django.plugin", "tests.conftest")  # the others only take time to load
SETTINGS = "[pytest]\nDJANGO_SETTINGS_MODULE = config.settings\ntestpaths = proofs\nmarkers = requirement: which\n"


def run(folder: Path, *arguments: str, proven: list[str]) -> subprocess.CompletedProcess[str]:
    (folder / "proofs").mkdir()
    (folder / "pytest.ini").write_text(SETTINGS)
    marks = ", ".join(f'"{number}"' for number in proven)
    (folder / "proofs" / "test_proofs.py").write_text(
        f"import pytest\n\n@pytest.mark.requirement({marks})\ndef test_all():\n    pass\n\ndef test_nothing():\n    pass\n"
    )
    plugins = [word for name in (*PLUGINS, "no:cacheprovider") for word in ("-p", name)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, "-c", "pytest.ini", *arguments],
        cwd=folder,
        env={
            "PYTHONPATH": str(ROOT),
            "PATH": "",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "RUN_DIR": str(folder),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_there_are_61_criteria_and_33_properties() -> None:
    assert (len(CRITERIA), len(PROPERTIES), len(KNOWN)) == (61, 33, 94)
    assert {"1.1", "3.6", "12.5", "property-1", "property-33"} <= KNOWN


def test_the_table_names_every_number_and_shows_the_gaps() -> None:
    table = "\n".join(table_lines(dict.fromkeys(KNOWN - {"7.3"}, 4)))
    assert all(f" {number}" in table for number in CRITERIA)
    assert table.count("NONE") == 1
    assert uncovered(dict.fromkeys(KNOWN - {"7.3", "property-2"}, 1)) == ["property-2", "7.3"]


def test_a_full_run_fails_on_a_requirement_that_no_test_proves(tmp_path: Path) -> None:
    ended = run(tmp_path, proven=sorted(KNOWN - {"7.3"}))
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "no passed test proves 7.3" in ended.stdout
    assert "2 passed, 1 requirements without a test" in ended.stdout.splitlines()[-1]


def test_a_full_run_without_gaps_passes_and_ends_with_the_line_of_pytest(tmp_path: Path) -> None:
    ended = run(tmp_path, proven=sorted(KNOWN))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "requirements and the tests that prove them" in ended.stdout
    assert "2 passed in" in ended.stdout.splitlines()[-1]


def test_a_full_run_in_several_processes_is_judged_as_well(tmp_path: Path) -> None:
    several = ("-p", "xdist.plugin", "--numprocesses", "2", "--dist", "loadgroup")
    ended = run(tmp_path, *several, proven=sorted(KNOWN - {"7.3"}))
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert ended.stdout.count("NONE") == 1
    assert "no passed test proves 7.3" in ended.stdout
    assert "2 passed, 1 requirements without a test" in ended.stdout.splitlines()[-1]


def test_a_part_of_the_suite_is_not_judged(tmp_path: Path) -> None:
    ended = run(tmp_path, "-k", "nothing", proven=[])
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "requirements and the tests" not in ended.stdout


def test_a_mark_that_names_no_requirement_is_refused(tmp_path: Path) -> None:
    ended = run(tmp_path, proven=["7.9"])
    assert ended.returncode == 4
    assert "names requirements that do not exist: 7.9" in ended.stdout + ended.stderr
