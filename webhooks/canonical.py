"""PURE: the one way a value becomes bytes and a hash, so that anyone can recompute what we stored."""

import hashlib
import json
from datetime import UTC, datetime


def canonical(value: object) -> str:
    """Return the one JSON text of a value: keys sorted, no spaces, nothing escaped that need not be.

    :raises ValueError: for NaN and infinities.
    :raises TypeError: for what JSON has no word for.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_hex(text: str) -> str:
    """Return the SHA-256 of a text's UTF-8 bytes, as 64 lower-case hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def utc_text(moment: datetime) -> str:
    """Return a time as it is hashed: ``YYYY-MM-DDTHH:MM:SS.ffffffZ``.

    :raises ValueError: for a time without a zone, which could mean any of two dozen moments.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone. Give an aware datetime.")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def signal_hash(
    *, direction: str, payload: object, source: str, symbol: str, timeframe: str, timestamp: datetime
) -> str:
    """Return the hash that makes a signal unique (DESIGN, hashes).

    ``payload`` is the body after redaction as ``json.loads`` reads it, ``source`` the source's name.
    """
    return sha256_hex(
        canonical(
            {
                "direction": direction,
                "payload": payload,
                "source": source,
                "symbol": symbol,
                "timeframe": timeframe,
                "timestamp": utc_text(timestamp),
            }
        )
    )
