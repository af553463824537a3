"""Drawing lots from the seed: the same seed and the same label always draw the same, in whatever order things happen."""

from collections.abc import Mapping
from hashlib import sha256


def draw(seed: int, *label: object) -> float:
    """Return a number from 0 up to, not including, 1."""
    digest = sha256(":".join(map(str, (seed, *label))).encode()).digest()
    return int.from_bytes(digest[:7]) / float(1 << 56)


def choose(weights: Mapping[str, float], seed: int, *label: object) -> str:
    """Return one of the names, each as often as its weight says."""
    left = draw(seed, *label) * sum(weights.values())
    for name, weight in weights.items():
        left -= weight
        if left < 0:
            return name
    return list(weights)[-1]


def between(low: float, high: float, seed: int, *label: object) -> float:
    """Return a number between ``low`` and ``high``."""
    return low + (high - low) * draw(seed, *label)
