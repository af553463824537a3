"""The two reference engines of a first run: which are started, and what the rest is told about them."""

from collections.abc import Mapping
from dataclasses import dataclass

from config.quickstart.credentials import KeptCredentials, new_signing_secret
from config.quickstart.ports import LOOPBACK, claim_port

ENGINE_NAMES = ("A", "B")
# What the reference engines can do (docs/reference-engines.md).
ABILITIES = ("IDEMPOTENT", "QUERYABLE", "HONOURS_NOT_AFTER")


@dataclass(frozen=True, slots=True)
class ReferenceEngine:
    """One engine that quickstart starts on a port of its own."""

    name: str
    port: int
    environment: Mapping[str, str]


def plan_engines(kept: KeptCredentials, given: Mapping[str, str]) -> list[ReferenceEngine]:
    """Return the reference engines to start: those for which the environment ``given`` names no engine of its own."""
    return [_plan(name, kept, given) for name in ENGINE_NAMES if not given.get(f"ENGINE_{name}_URL", "").strip()]


def _plan(name: str, kept: KeptCredentials, given: Mapping[str, str]) -> ReferenceEngine:
    prefix = f"ENGINE_{name}_"
    port = claim_port(0)
    secret = given.get(f"{prefix}SECRET") or kept.keep(
        f"engine_{name.lower()}_secret", kept.get(f"engine_{name.lower()}_secret") or new_signing_secret()
    )
    return ReferenceEngine(
        name=name,
        port=port,
        environment={
            f"{prefix}URL": f"http://{LOOPBACK}:{port}",
            f"{prefix}SECRET": secret,
            **{f"{prefix}{ability}": "true" for ability in ABILITIES},
        },
    )
