"""Primary keys: UUIDv7, made in Python, so that ids sort by the time they were made."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_key() -> UUID:
    """Return a new UUIDv7 (RFC 9562)."""
    return uuid7()
