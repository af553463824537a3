"""One column of the matrix as a process: cells in, what became of each out, one JSON object a line.

::

    python -m tests.fault_matrix.run \
        '{"configuration": "none sync", "cells": [["permit.arm:after_commit", "kill", ["U0"]]], "folder": "/tmp/columns"}'

A cell names the ends that are looked for; none means any. What an order comes to is a matter of time in places: a machine that is too
slow for its leases meets other ends, or misses a point. Such a cell is tried again; that a try did no harm is judged each time.

Its database, which DATABASE_URL names, is migrated, empty, and nobody else's.
"""

import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import django

django.setup()

from config.fault_points import Action  # noqa: E402 - models are there from here on
from orchestrator.engines.http import _tls  # noqa: E402
from outcomes.invariants import violations  # noqa: E402
from tests.fault_matrix.configurations import CONFIGURATIONS, reaches  # noqa: E402
from tests.fault_matrix.group import Group, GroupLost, OutOfTime, running  # noqa: E402
from tests.fault_matrix.processes import keep_one_connection  # noqa: E402
from tests.fault_matrix.ways import WAYS  # noqa: E402

TRIES = 3


def main() -> None:
    asked = json.loads(sys.argv[1])
    configuration = next(one for one in CONFIGURATIONS if one.name == asked["configuration"])
    keep_one_connection()
    _tls()  # what takes long is done once, before the forks
    with running(configuration, Path(asked["folder"])) as group:
        for point, action, looked_for in asked["cells"]:
            for _ in range(TRIES):
                told = _try_cell(group, point, Action(action))
                is_found = _is_found(told, looked_for, is_reached=reaches(configuration, point))
                if not told["is_late"] and (told["error"] or is_found):
                    break
            _tell(told)
        found = [str(one) for one in violations()]
    _tell({"violations": found})


def _is_found(told: dict[str, Any], looked_for: list[str], *, is_reached: bool) -> bool:
    if not is_reached or not told["hit"]:
        return is_reached is bool(told["hit"])
    return not looked_for or told["outcome"] in looked_for


def _try_cell(group: Group, point: str, action: Action) -> dict[str, Any]:
    cell, began = group.next_cell(point, action), time.monotonic()
    told: dict[str, Any] = {
        "point": point,
        "action": action.value,
        "outcome": "",
        "hit": False,
        "error": "",
        "is_late": False,
    }
    try:
        WAYS[point.partition(":")[0]](cell)
        cell.heal()
        told |= {"outcome": cell.outcome(), "hit": cell.hit}
    except GroupLost:
        raise
    except OutOfTime as error:
        told |= {"error": str(error), "is_late": True}
    except Exception:  # noqa: BLE001 - the other cells are looked at all the same
        told["error"] = traceback.format_exc()
    finally:
        cell.leave()
    return told | {"seconds": round(time.monotonic() - began, 3)}


def _tell(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
