"""The fault points: how FAULT_POINTS is read, where it is refused, and that every commit on the way has its points."""

import ast
from collections import Counter
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.environment import PlainEnv
from config.fault_points import EXCHANGES, POINTS, Action, Commit, Fault, parse_faults, read_faults
from orchestrator.engines.protocol import Operation

PROJECT = Path(__file__).resolve().parents[2]
APPS = ("webhooks", "orchestrator", "outcomes")
# transactions that are no commit on the path of an alert, or never the outermost one
OTHERS = {
    ("webhooks/sources.py", "create_source"),
    ("webhooks/lines.py", "intake_transaction"),  # inside of signal.store and spool.drain
    ("orchestrator/permits.py", "settle_refused_event"),  # inside of event.apply_execution
    ("orchestrator/database_duties.py", "note_identity"),
    ("outcomes/exits.py", "close_follower"),  # inside of incident.settle
    ("outcomes/generating.py", "_without_triggers"),
    ("outcomes/generating.py", "generate_outcomes"),
    ("outcomes/summaries.py", "rebuild_daily_results"),
    ("outcomes/recounting.py", "_alone"),
    ("outcomes/snapshot.py", "one_snapshot"),
    ("outcomes/invariants.py", "_rows"),
}


def env(**values: str) -> PlainEnv:
    found = PlainEnv()
    found.ENVIRON = values
    return found


def test_actions_passes_and_seconds_are_read() -> None:
    text = "permit.arm:after_commit=kill; execute:after_send = drop@2;event.store:before_commit=stop 3s;"
    assert parse_faults(text) == {
        "permit.arm:after_commit": Fault(Action.KILL),
        "execute:after_send": Fault(Action.DROP, nth=2),
        "event.store:before_commit": Fault(Action.STOP, seconds=3.0),
    }
    assert parse_faults("") == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("permit.arm:before=kill", r"names the point 'permit\.arm:before'. Accepted: .*permit\.arm:before_commit"),
        ("permit.arm:after_commit=explode", r"'permit\.arm:after_commit=explode'. Accepted: point=kill"),
        ("permit.arm:after_commit", "Accepted: point=kill"),
        ("permit.arm:after_commit=kill@0", "Accepted: point=kill"),
        ("permit.arm:after_commit=stop", "Accepted: point=kill"),
        ("permit.arm:after_commit=stop 0s", "Accepted: above 0"),
        ("permit.arm:after_commit=stop 601s", "at most 600 s"),
        ("execute:after_send=kill;execute:after_send=drop", "twice"),
    ],
)
def test_what_is_not_a_fault_is_refused_with_what_is_accepted(text: str, says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        parse_faults(text)


@pytest.mark.parametrize(("app_mode", "debug", "why"), [("LIVE", True, "LIVE"), ("PAPER", False, "DEBUG is not on")])
def test_production_does_not_start_with_fault_points(app_mode: str, debug: bool, why: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"FAULT_POINTS is set and .*{why}"):
        read_faults(env(FAULT_POINTS="permit.arm:after_commit=kill"), app_mode=app_mode, debug=debug)
    assert read_faults(env(), app_mode=app_mode, debug=debug) == {}


def test_every_operation_of_an_engine_has_its_points() -> None:
    assert set(EXCHANGES) == {operation.name.lower() for operation in Operation}
    assert len(set(POINTS)) == len(POINTS) == 2 * len(Commit) + 3 * len(EXCHANGES)


def test_every_commit_of_the_catalogue_stands_in_one_function() -> None:
    used: dict[str, set[str]] = {}
    for file in sources():
        for function, node in named_nodes(file):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Commit":
                used.setdefault(node.attr, set()).add(f"{file}:{function}")
    assert set(used) == {commit.name for commit in Commit}
    places = Counter({name: len(found) for name, found in used.items()})
    # both ways of falling silent are one kind of commit; they stand in one function
    assert {name for name, count in places.items() if count > 1} == set(), used


def test_every_other_transaction_is_known() -> None:
    found = {
        (str(file), function)
        for file in sources()
        for function, node in named_nodes(file)
        if isinstance(node, ast.Attribute) and node.attr == "atomic"
    }
    assert found == OTHERS


def sources() -> list[Path]:
    files = [file for app in APPS for file in (PROJECT / app).rglob("*.py") if "migrations" not in file.parts]
    return [file.relative_to(PROJECT) for file in files]


def named_nodes(file: Path) -> list[tuple[str, ast.AST]]:
    """Return every node of a file's functions with the name of the function."""
    tree = ast.parse((PROJECT / file).read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [(function.name, node) for function in functions for node in ast.walk(function)]
