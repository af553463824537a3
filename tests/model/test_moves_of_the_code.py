"""The code makes no permit move but by the table that the model and the database's trigger are made of."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from orchestrator.domain.transitions import PERMIT_MOVES
from orchestrator.domain.vocabulary import PermitState
from orchestrator.models import ExecutionPermit

PROJECT = Path(__file__).resolve().parents[2]
CODE = sorted(
    path
    for app in ("config", "webhooks", "orchestrator", "outcomes")
    for path in (PROJECT / app).rglob("*.py")
    if "migrations" not in path.parts
)
UPDATE = re.compile(r"\bUPDATE\s+execution_permits\b.*", re.IGNORECASE | re.DOTALL)
SET_STATE = re.compile(r"\bSET\b(?P<set>.*?)\bWHERE\b(?P<where>.*)", re.IGNORECASE | re.DOTALL)
A_STATE = re.compile(r"(?<![\w.])(?:permit\.)?state\s*=\s*'(\w+)'")
ANY_STATE = re.compile(r"(?<![\w.])state\s*=")

Move = tuple[PermitState, PermitState]
Function = ast.FunctionDef | ast.AsyncFunctionDef

# where the state of a permit is written through the ORM; whoever adds a place looks at the model first
WRITERS = {
    ("orchestrator/permits.py", "_nothing_known"),
    ("orchestrator/permits.py", "_return_to_granted"),
    ("orchestrator/permits.py", "_settle"),
}
# the writer that takes its target as an argument, and what it may be called with
SETTLERS = {
    "settle_filled": {PermitState.EXECUTED, PermitState.VOID, PermitState.UNKNOWN},
    "settle_not_executed": {PermitState.NOT_EXECUTED},
}
IS_LEGAL = {(before, after) for before, targets in PERMIT_MOVES.items() for after in targets}


def functions() -> Iterator[tuple[str, Function]]:
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield str(path.relative_to(PROJECT)), node


def calls(node: ast.AST, name: str) -> Iterator[ast.Call]:
    """Yield the calls of a function or method of that name."""
    for one in ast.walk(node):
        if isinstance(one, ast.Call) and name == (
            one.func.attr if isinstance(one.func, ast.Attribute) else getattr(one.func, "id", None)
        ):
            yield one


def states_of(node: ast.AST) -> list[PermitState]:
    """Return the states that are named in a piece of code."""
    return [
        PermitState[one.attr]
        for one in ast.walk(node)
        if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name) and one.value.id == "PermitState"
    ]


def is_about_permits(call: ast.Call, function: Function) -> bool:
    """Tell whether a query, or the local variable that it starts from, starts from ``ExecutionPermit``."""
    names = {one.id for one in ast.walk(call.func) if isinstance(one, ast.Name)}
    assigned = {
        name.id
        for one in ast.walk(function)
        if isinstance(one, ast.Assign) and names & {n.id for n in one.targets if isinstance(n, ast.Name)}
        for name in ast.walk(one.value)
        if isinstance(name, ast.Name)
    }
    return "ExecutionPermit" in names | assigned


def writes(function: Function) -> list[ast.Call]:
    """Return the updates of permits that set their state."""
    return [
        call
        for call in calls(function, "update")
        if any(keyword.arg in ("state", None) for keyword in call.keywords) and is_about_permits(call, function)
    ]


def moves_in_sql() -> Iterator[Move]:
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if not (found := UPDATE.search(text)):
                continue
            parts = SET_STATE.search(found[0])
            assert parts, f"{path}: an UPDATE of permits without a WHERE"
            for target in A_STATE.findall(parts["set"]):
                [source] = set(A_STATE.findall(parts["where"]))
                yield PermitState(source), PermitState(target)
            assert len(ANY_STATE.findall(parts["set"])) == len(A_STATE.findall(parts["set"])), (
                f"{path}: a state from outside"
            )


def test_sql_moves_permits_only_by_the_table() -> None:
    moves = set(moves_in_sql())
    assert moves == {(PermitState.GRANTED, PermitState.ARMED)}
    assert moves <= IS_LEGAL


def test_the_orm_moves_permits_only_where_it_is_known_to() -> None:
    assert {(path, one.name) for path, one in functions() if writes(one)} == WRITERS


def test_a_write_names_the_state_it_leaves_and_the_fence_it_holds() -> None:
    for path, function in functions():
        for _ in writes(function):
            filters = [call for call in calls(function, "filter") if is_about_permits(call, function)]
            named = [{keyword.arg for keyword in call.keywords} for call in filters]
            assert any({"state", "fence"} <= keywords for keywords in named), f"{path}: {function.name}"


def test_moves_that_are_written_out_are_in_the_table() -> None:
    found = {
        name: states_of(one) for _, one in functions() if (name := one.name) in ("_nothing_known", "_return_to_granted")
    }
    assert set(found["_return_to_granted"]) == {PermitState.ARMED, PermitState.GRANTED}
    assert (PermitState.ARMED, PermitState.GRANTED) in IS_LEGAL
    assert set(found["_nothing_known"]) == {PermitState.UNKNOWN, PermitState.ARMED}
    assert (PermitState.ARMED, PermitState.UNKNOWN) in IS_LEGAL


def test_what_sweeps_move_is_in_the_table() -> None:
    moves = set()
    for _, function in functions():
        for call in calls(function, "_sweep"):
            [source], [target] = states_of(call.args[0]), states_of(call.args[1])
            moves.add((source, target))
    assert moves == {(PermitState.GRANTED, PermitState.VOID), (PermitState.ARMED, PermitState.UNKNOWN)}
    assert moves <= IS_LEGAL


def test_facts_settle_only_as_the_model_does() -> None:
    targets = {
        function.name: {state for call in calls(function, "_settle") for state in states_of(call.args[1])}
        for path, function in functions()
        if path == "orchestrator/permits.py"
        and any(calls(function, "_settle"))
        and function.name not in ("_sweep", "move")
    }
    assert targets == SETTLERS


def test_no_permit_is_saved_changed_in_memory_or_replaced() -> None:
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                names = {one.id.lower() for one in ast.walk(node.func) if isinstance(one, ast.Name)}
                about_permits = any("permit" in name for name in names)
                forbidden = ("save", "bulk_update", "update_or_create", "delete")
                assert not (about_permits and node.func.attr in forbidden), f"{path}:{node.lineno}"
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr == "state":
                assert "permit" not in ast.unparse(node.value).lower(), f"{path}:{node.lineno}"


def test_permits_begin_only_as_granted_or_void() -> None:
    made = {
        (path, function.name): set(states_of(call))
        for path, function in functions()
        for call in calls(function, "ExecutionPermit")
    }
    assert made == {("orchestrator/recommendations.py", "_permit"): {PermitState.GRANTED, PermitState.VOID}}


def test_the_trigger_of_the_database_is_made_of_the_same_table() -> None:
    [trigger] = [one for one in ExecutionPermit._meta.triggers if hasattr(one, "transitions")]  # type: ignore[attr-defined]
    assert trigger.field == "state"
    assert set(trigger.transitions) == {(before.value, after.value) for before, after in IS_LEGAL}
