"""One column of the matrix as a process: cells in, what became of each out, one JSON object a line.

::

    python -m tests.fault_matrix.run '{"configuration": "none sync", "cells": [["permit.arm:after_commit", "kill"]]}'

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
from tests.fault_matrix.configurations import CONFIGURATIONS  # noqa: E402
from tests.fault_matrix.group import Group, GroupLost, running  # noqa: E402
from tests.fault_matrix.processes import keep_one_connection  # noqa: E402
from tests.fault_matrix.ways import WAYS  # noqa: E402


def main() -> None:
    asked = json.loads(sys.argv[1])
    configuration = next(one for one in CONFIGURATIONS if one.name == asked["configuration"])
    keep_one_connection()
    _tls()  # what takes long is done once, before the forks
    with running(configuration, Path(asked["folder"])) as group:
        for point, action in asked["cells"]:
            _tell(_try_cell(group, point, Action(action)))
        found = [str(one) for one in violations()]
    _tell({"violations": found})


def _try_cell(group: Group, point: str, action: Action) -> dict[str, Any]:
    cell, began = group.next_cell(point, action), time.monotonic()
    told: dict[str, Any] = {"point": point, "action": action.value, "outcome": "", "hit": False, "error": ""}
    try:
        WAYS[point.partition(":")[0]](cell)
        cell.heal()
        told |= {"outcome": cell.outcome(), "hit": cell.hit}
    except GroupLost:
        raise
    except Exception:  # noqa: BLE001 - the other cells are looked at all the same
        told["error"] = traceback.format_exc()
    finally:
        cell.leave()
    return told | {"seconds": round(time.monotonic() - began, 3)}


def _tell(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
