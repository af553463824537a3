"""The matrix: at every fault point a process is killed, stopped and cut off, beside every kind of engine that trades.

Not every cell is run every time: each point is met by a kill and by a stop or a cut, in two columns, so that each column
and each action meets many points. ``make faults`` runs all of them; with ``FAULT_TABLE=write`` it writes what it saw into docs/fault-points.md, with
``FAULT_TABLE=add`` it adds what the page does not have yet.
"""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import connection
from psycopg import sql

from config.database import current_url
from config.fault_points import POINTS, Action
from tests.fault_matrix.configurations import CAPABILITIES, CONFIGURATIONS, Configuration, reaches
from tests.fault_matrix.table import NOT_REACHED, NOT_RUN, PAGE, TIME_DECIDES, publish, published
from tests.waiting import eventually

PROJECT = Path(__file__).resolve().parents[2]
RUNS_ALL = os.environ.get("FAULTS") == "all"
WRITES = os.environ.get("FAULT_TABLE", "")
LONGEST_SECONDS = 3600 if RUNS_ALL else 600


Cells = list[tuple[str, Action]]

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the states and children of processes are read from /proc"
)


@pytest.fixture
def databases(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[dict[Configuration, str]]:
    """The two columns of engines that are able to do the same, each with a database that is migrated, empty, and its own."""
    columns = [one for one in CONFIGURATIONS if one.capabilities == request.param]
    template = connection.settings_dict["NAME"]
    names = {one: f"{template}_{one.name.replace(' ', '_')}" for one in columns}
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # nobody may use what is copied
    with psycopg.connect(address_of("postgres"), autocommit=True) as server:
        for name in names.values():
            _drop(server, name)
            copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            eventually(lambda statement=copy: _is_done(server, statement))  # type: ignore[misc]
        yield {one: address_of(name) for one, name in names.items()}
        for name in names.values():
            _drop(server, name)


@pytest.mark.parametrize(
    "databases",
    [pytest.param(name, marks=pytest.mark.xdist_group(f"faults {name}"), id=name) for name in CAPABILITIES],
    indirect=True,
)
def test_what_became_of_an_alert_whose_process_was_struck_is_what_the_table_says(
    databases: dict[Configuration, str], tmp_path: Path, record_property: Any
) -> None:
    with ThreadPoolExecutor() as side_by_side:
        columns = {one: side_by_side.submit(run, one, url, folder=tmp_path) for one, url in databases.items()}
    for configuration, column in columns.items():
        cells = judge(configuration, column.result())
        record_property("told", f"fault points, {configuration.name}: {cells} cells as published, invariants hold")


def judge(configuration: Configuration, told: list[dict[str, Any]]) -> int:
    """Compare what a column told with the table, and return how many cells that were.

    :raises AssertionError: for a broken invariant, a cell that came to no end, and one that came to another than published.
    """
    assert told.pop()["violations"] == []
    errors = [one["error"] for one in told if one["error"]]
    assert not errors, f"{configuration.name}, {len(errors)} of {len(told)} cells:\n" + "\n".join(errors)
    assert [(one["point"], Action(one["action"])) for one in told] == cells_of(configuration)
    assert [one["point"] for one in told if one["hit"] != reaches(configuration, one["point"])] == []
    if WRITES:
        write(configuration, told)
    known = published()
    others = [
        f"{configuration.name}, {one['point']} {one['action']}: {seen(one)}, the table says {' or '.join(sorted(said))}"
        for one in told
        if seen(one) not in (said := known[one["point"], configuration.name][Action(one["action"])])
    ]
    assert others == []
    return len(told)


def cells_of(configuration: Configuration) -> Cells:
    """Return the cells of a column that are run this time."""
    cells = [
        (point, action)
        for at, point in enumerate(POINTS)
        for action in Action
        if RUNS_ALL or is_chosen(at, action, configuration)
    ]
    assert {action for _, action in cells} == set(Action)
    return cells


def is_chosen(at: int, action: Action, configuration: Configuration) -> bool:
    """Choose two columns for the point at this place: in one its process is killed, in the other stopped or cut off.

    Where there are columns in which the points of a commit or a request are not reached, the first of them is looked for in one.
    """
    reached = [one for one in CONFIGURATIONS if reaches(one, POINTS[at])]
    missed = [one for one in CONFIGURATIONS if one not in reached]
    if action is Action.KILL:
        is_first = ":before_" in POINTS[at]
        return configuration in (reached[at % len(reached)], *(missed[at % len(missed)] for _ in missed[:is_first]))
    is_turn = (at + at // len(CONFIGURATIONS)) % 2 == (action is Action.DROP)
    return is_turn and configuration == reached[(at + 3) % len(reached)]


def run(configuration: Configuration, url: str, *, folder: Path) -> list[dict[str, Any]]:
    """Run a column in a process of its own and return what it told, a line for each cell."""
    known = {} if WRITES else published()
    asked = {
        "configuration": configuration.name,
        "cells": [
            (point, action.value, sorted(known.get((point, configuration.name), {}).get(action, ())))
            for point, action in cells_of(configuration)
        ],
        "folder": str(folder),
    }
    log, told = folder / f"{configuration.name}.log", folder / f"{configuration.name}.jsonl"
    with log.open("wb") as file, told.open("wb") as answers:
        ended = subprocess.run(
            [sys.executable, "-m", "tests.fault_matrix.run", json.dumps(asked)],
            cwd=PROJECT,
            env=os.environ | {"DATABASE_URL": url, "DEBUG": "true"},
            stdout=answers,
            stderr=file,
            timeout=LONGEST_SECONDS,
            check=False,
        )
    assert ended.returncode == 0, log.read_text()[-3000:]
    return [json.loads(line) for line in told.read_text().splitlines()]


def seen(one: dict[str, Any]) -> str:
    return str(one["outcome"]) if one["hit"] else NOT_REACHED


def write(configuration: Configuration, told: list[dict[str, Any]]) -> None:
    """Put into the table what was seen, one column at a time."""
    with PAGE.open() as page:
        fcntl.flock(page, fcntl.LOCK_EX)
        found = published()
        for one in told:
            cell = found.setdefault((one["point"], configuration.name), {})
            action = Action(one["action"])
            before = cell.get(action, NOT_RUN) - NOT_RUN if WRITES == "add" else frozenset()
            cell[action] = before | TIME_DECIDES.get((one["point"].partition(":")[0], action), set()) | {seen(one)}
        publish(found)


def address_of(name: str) -> str:
    """Return the address of another database of this server."""
    if "ADDRESS" in connection.settings_dict:
        return urlsplit(str(connection.settings_dict["ADDRESS"]))._replace(path=f"/{name}").geturl()
    return current_url({**connection.settings_dict, "NAME": name})


def _drop(server: "psycopg.Connection[Any]", name: str) -> None:
    server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _is_done(server: "psycopg.Connection[Any]", statement: sql.Composed) -> bool:
    try:
        server.execute(statement)
    except psycopg.errors.ObjectInUse:
        return False
    return True
