"""What both rivals share: the statement, and the four fields as their one accepted spelling."""

import hashlib
import json
from datetime import datetime
from typing import Any

from uuid_utils.compat import uuid7

COLUMNS = (
    "signal_id, source, symbol, exchange, direction, timeframe, timestamp, timestamp_origin, signal_hash, raw_payload, "
    "raw_body"
)
DIRECTIONS = {"buy": "long", "sell": "short"}


def values_of(body: bytes) -> tuple[Any, ...]:
    """Return the values of ``COLUMNS`` for a body that is exactly as expected."""
    alert = json.loads(body)
    exchange, _, symbol = alert["ticker"].rpartition(":")
    direction = DIRECTIONS[alert["action"]]
    hashed = hashlib.sha256(
        json.dumps(
            {
                "direction": direction,
                "payload": alert,
                "source": "bench",
                "symbol": symbol,
                "timeframe": alert["interval"],
                "timestamp": alert["time"],
            },
            sort_keys=True,
            separators=(",", ":"),
        ).encode()
    ).hexdigest()
    return (
        uuid7(),
        "bench",
        symbol,
        exchange,
        direction,
        alert["interval"],
        datetime.fromisoformat(alert["time"]),
        "payload",
        hashed,
        json.dumps(alert),
        body.decode(),
    )
