"""The facts that an engine has to report: written with what they report, in one transaction, and sent by the outbox.

A message id is derived from what is reported, so no crash and no repetition can make a second event of one fact.
"""

import json
import sqlite3
from datetime import datetime
from typing import Any

from orchestrator.domain.moments import moment_string


def record_event(ledger: sqlite3.Connection, *, message_id: str, kind: str, data: dict[str, Any], at: datetime) -> None:
    """Add one event to those that wait to be sent; the second of one ``message_id`` is dropped.

    :param kind: its type in the contract, such as trade.exited.
    """
    ledger.execute(
        "INSERT OR IGNORE INTO events (message_id, type, body, created_at, next_attempt_at) VALUES (?, ?, ?, ?, ?)",
        (message_id, kind, json.dumps({"type": kind, "data": data}), moment_string(at), moment_string(at)),
    )
