"""Which engine a signal is assigned to, and the ids that follow from it: hashes only, so that anyone can recompute them."""

from hashlib import sha256
from uuid import UUID

from orchestrator.domain.vocabulary import Engine

BUCKETS = 100


def assignment_hash(signal_id: UUID, signal_hash: str) -> str:
    """Return 64 hex digits: sha256 of ``<signal_id>:<signal_hash>`` (requirement 2.2)."""
    return sha256(f"{signal_id}:{signal_hash}".encode()).hexdigest()


def bucket(assigned: str) -> int:
    """Return 0 to 99 for an assignment hash."""
    return int(assigned[:16], 16) % BUCKETS


def variant(assigned: str, *, split_percentage: int) -> Engine:
    """Return the engine of an assignment hash; A gets ``split_percentage`` (0 to 100) percent (requirement 2.3)."""
    return Engine.A if bucket(assigned) < split_percentage else Engine.B


def experiment_id(signal_id: UUID, assigned: str) -> UUID:
    """Return the one experiment id that a signal can have (requirement 6.1)."""
    return _derive(signal_id, bytes.fromhex(assigned))


def permit_id(experiment: UUID) -> UUID:
    """Return the one permit id that an experiment can have."""
    return _derive(experiment, sha256(f"permit:{experiment}".encode()).digest())


def _derive(source: UUID, digest: bytes) -> UUID:
    """Return a UUIDv8 (RFC 9562) with the time of ``source`` and the rest from ``digest``."""
    return UUID(
        bytes=source.bytes[:6] + bytes([0x80 | (digest[0] & 0x0F), digest[1], 0x80 | (digest[2] & 0x3F)]) + digest[3:10]
    )
