"""Whether an engine's claims were proved: what check_engine found is kept with its date, and real money asks for it."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from urllib.parse import urlsplit

from django.conf import settings

from config.environment import EngineSettings
from orchestrator.domain.vocabulary import Capability, Engine
from orchestrator.engine_check import Check, Finding, Result
from orchestrator.models import EngineProof
from orchestrator.queue import database_clock

# a capability is proved when all of its checks held, and refuted when one of them did not
CHECKS: Mapping[Capability, tuple[Check, ...]] = {
    Capability.IDEMPOTENT: (Check.ONE_FILL,),
    Capability.QUERYABLE: (Check.NEVER_SEEN, Check.CAN_BE_ASKED),
    Capability.HONOURS_NOT_AFTER: (Check.NOT_AFTER,),
    Capability.ECHOES_HASH: (Check.ECHOES_HASH,),
    Capability.VERIFIES_SIGNATURES: (Check.SIGNATURES,),
    Capability.ANSWERS_IN_TIME: (Check.HEALTH, Check.IN_TIME),
    Capability.SIGNS_EVENTS: (Check.SIGNS_EVENTS,),
}


# what an engine's settings claim must be proved; what everybody claims may merely not have been refuted
CLAIMED_BY_SETTINGS = frozenset({Capability.IDEMPOTENT, Capability.QUERYABLE, Capability.HONOURS_NOT_AFTER})


def claims_of(engine: EngineSettings) -> frozenset[Capability]:
    """Return what an engine's settings claim for it, and what everybody claims who speaks the contract."""
    claims = {Capability.ECHOES_HASH, Capability.ANSWERS_IN_TIME}
    if not engine.url.startswith("python:"):  # nothing is signed between objects of one process
        claims |= {Capability.VERIFIES_SIGNATURES, Capability.SIGNS_EVENTS}
    if engine.idempotent:
        claims.add(Capability.IDEMPOTENT)
    if engine.queryable:
        claims.add(Capability.QUERYABLE)
    if engine.honours_not_after:
        claims.add(Capability.HONOURS_NOT_AFTER)
    return frozenset(claims)


def record_proofs(engine: EngineSettings, findings: Sequence[Finding]) -> list[EngineProof]:
    """Store what a check came to, one row per capability, all with the same date."""
    claimed = claims_of(engine)
    proofs = []
    for capability, checks in CHECKS.items():
        seen = [finding for finding in findings if finding.check in checks]
        proofs.append(
            EngineProof(
                engine=engine.name,
                capability=capability.value,
                claimed=capability in claimed,
                proved=_is_proved(checks, seen),
                detail="; ".join(f"{finding.check}: {finding.detail}" for finding in seen)[:2000] or "not reached",
                address=_without_secrets(engine.url),
            )
        )
    return EngineProof.objects.bulk_create(proofs)


def record_unsigned_event(engine: Engine, *, reason: str) -> None:
    """Note that an engine reported one of check_engine's trials with a signature that was not accepted."""
    found = settings.ENGINES[engine]
    EngineProof.objects.create(
        engine=engine.value,
        capability=Capability.SIGNS_EVENTS.value,
        claimed=Capability.SIGNS_EVENTS in claims_of(found),
        proved=False,
        detail=f"{Check.SIGNS_EVENTS}: an event about a trial was refused: {reason}"[:2000],
        address=_without_secrets(found.url),
    )


def newest_proofs(engine: Engine) -> dict[Capability, EngineProof]:
    """Return the newest proof of each capability of an engine, however old."""
    newest = EngineProof.objects.filter(engine=engine.value).order_by("capability", "-checked_at", "-id")
    return {Capability(proof.capability): proof for proof in newest.distinct("capability")}


def what_is_unproved(engine: Engine) -> str:
    """Return why an engine may not be used with real money, with what to do about it; empty when it may.

    What its settings claim must be proved, and a proof older than ENGINE_PROOF_MAX_AGE_DAYS counts as never made. The
    rest of the contract is taken on trust until a check refutes it: an engine that claims nothing needs no check.
    """
    proofs = newest_proofs(engine)
    oldest = database_clock() - timedelta(days=settings.ENGINE_PROOF_MAX_AGE_DAYS)
    reasons = []
    for capability in sorted(claims_of(settings.ENGINES[engine])):
        proof = proofs.get(capability)
        if proof is not None and proof.proved is False:
            reasons.append(f"{capability} was refuted on {proof.checked_at:%Y-%m-%d}")
        elif capability not in CLAIMED_BY_SETTINGS:
            continue
        elif proof is None:
            reasons.append(f"{capability} was never checked")
        elif proof.proved is None:
            reasons.append(f"{capability} could not be judged ({proof.detail[:100]})")
        elif proof.checked_at < oldest:
            reasons.append(f"the proof of {capability} of {proof.checked_at:%Y-%m-%d} is too old")
    if not reasons:
        return ""
    return (
        f"Engine {engine} answers, but with real money its claims must be proved: {'; '.join(reasons)}. "
        f"Run manage.py check_engine {engine} against an instance in paper mode."
    )


def _is_proved(checks: Sequence[Check], seen: Sequence[Finding]) -> bool | None:
    results = {finding.check: finding.result for finding in seen}
    if Result.REFUTED in results.values():
        return False
    if all(results.get(check) is Result.HELD for check in checks):
        return True
    return None


def _without_secrets(url: str) -> str:
    """Return an address as it may be shown: an engine's has neither user nor query."""
    return url if url.startswith("python:") else urlsplit(url)._replace(query="", fragment="").geturl()
