"""Claimed signals become experiments: context, experiment, policy and both engine calls, the whole batch at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, connection

from config.fault_points import Commit
from config.faults import autocommitted, committed
from orchestrator.batches import apply_or_take_apart
from orchestrator.contexts import build_contexts
from orchestrator.domain.assignment import assignment_hash, experiment_id, variant
from orchestrator.domain.policy import Availability, decide, decision_inputs
from orchestrator.domain.strict_json import printable
from orchestrator.domain.vocabulary import CallKind, Engine, IncidentKind
from orchestrator.incidents import open_incident
from orchestrator.models import EngineCall, ExecutionPolicy, Experiment, MarketContext, PolicyRevision
from orchestrator.policies import current_availability, revision_row
from orchestrator.queue import is_doubtful, release_signal
from orchestrator.revisions import current_revision
from webhooks.models import Signal

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Created:
    """What one signal became."""

    signal: Signal
    context: MarketContext
    experiment: Experiment
    policy: ExecutionPolicy


def process_signals(claimed: Sequence[Signal]) -> int:
    """Turn claimed signals into experiments and return how many.

    A batch that fails is taken apart, so that one bad signal cannot hold up the others; a lost database is the
    caller's to wait for, and the leases see to the rest.
    """
    for signal in claimed:
        log.info(
            "signal.retrieved",
            signal_id=str(signal.signal_id),
            symbol=signal.symbol,
            direction=signal.direction,
            timestamp=signal.timestamp.isoformat(),
        )
    for signal in claimed:
        if signal.attempts > settings.MAX_SIGNAL_ATTEMPTS:
            _give_up(signal, signal.last_error or "it was taken up and never finished; it may kill the worker")
    # what is doubtful may be what killed its worker, so it goes alone, and after the others
    left = [signal for signal in claimed if signal.attempts <= settings.MAX_SIGNAL_ATTEMPTS]
    batches = [[signal for signal in left if not is_doubtful(signal)]]
    batches += [[signal] for signal in left if is_doubtful(signal)]
    return sum(
        # attempts of signals are counted by their rows, and lie apart
        apply_or_take_apart(batch, lambda signals: len(create_experiments(signals)), _fail, tries=1)
        for batch in batches
    )


def create_experiments(claimed: Sequence[Signal]) -> list[Created]:
    """Write everything that follows from the claimed signals, in one transaction and a fixed number of statements.

    :returns: what was created; signals whose lease was lost in the meantime are left out.
    """
    hashes = {signal.signal_id: assignment_hash(signal.signal_id, signal.signal_hash) for signal in claimed}
    experiment_ids = {key: experiment_id(key, assigned) for key, assigned in hashes.items()}
    with committed(Commit.CREATE_EXPERIMENTS):
        mine = _mark_processed(claimed, experiment_ids)
        signals = [signal for signal in claimed if signal.signal_id in mine]
        if not signals:
            return []
        at = max(mine.values())
        revision = current_revision()
        availability = current_availability(at=at)
        contexts = build_contexts(signals, experiment_ids=experiment_ids, at=at)
        experiments = [
            _experiment(signal, assigned=hashes[signal.signal_id], revision=revision, at=at) for signal in signals
        ]
        policies = [
            _policy(experiment, signal, revision=revision, availability=availability, at=at)
            for experiment, signal in zip(experiments, signals, strict=True)
        ]
        MarketContext.objects.bulk_create(contexts)
        Experiment.objects.bulk_create(experiments)
        ExecutionPolicy.objects.bulk_create(policies)
        EngineCall.objects.bulk_create(
            _call(experiment, engine, context=context, at=at)
            for experiment, context in zip(experiments, contexts, strict=True)
            for engine in Engine
        )
    created = [Created(*parts) for parts in zip(signals, contexts, experiments, policies, strict=True)]
    for one in created:
        _log_created(one)
    return created


def _fail(signal: Signal, error: Exception) -> None:
    if isinstance(error, IntegrityError) and _adopt_existing(signal):
        return
    log.error("signal.failed", signal_id=str(signal.signal_id), attempt=signal.attempts, exc_info=error)
    sentence = printable(f"{type(error).__name__}: {error}", most=2000)
    if signal.attempts >= settings.MAX_SIGNAL_ATTEMPTS:
        _give_up(signal, sentence)
    else:
        release_signal(signal, error=sentence, park=False)


def _adopt_existing(signal: Signal) -> bool:
    """Mark a signal whose experiment exists already as processed (requirement 10.3)."""
    existing = Experiment.objects.filter(signal=signal).first()
    if existing is None:
        return False
    with autocommitted(Commit.ADOPT_EXPERIMENT):
        _mark_processed([signal], {signal.signal_id: existing.experiment_id})
    return True


def _give_up(signal: Signal, error: str) -> None:
    with committed(Commit.PARK_SIGNAL):
        if release_signal(signal, error=error, park=True):
            open_incident(
                IncidentKind.POISON_SIGNAL,
                subject=str(signal.signal_id),
                detail={
                    "what": f"The signal could not be processed in {settings.MAX_SIGNAL_ATTEMPTS} attempts and is parked; "
                    "no engine has seen it.",
                    "signal_id": str(signal.signal_id),
                    "symbol": signal.symbol,
                    "error": error,
                },
            )


def _mark_processed(claimed: Sequence[Signal], experiment_ids: dict[UUID, UUID]) -> dict[UUID, datetime]:
    """Mark those signals whose lease still holds, and return their ids with the database clock."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE signals SET processed = TRUE, processed_at = clock_timestamp(), experiment_id = made.experiment_id,
                   processing_lock = NULL, lock_expires_at = NULL, last_error = ''
              FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[]) AS made (signal_id, experiment_id, lock)
             WHERE signals.signal_id = made.signal_id AND signals.processing_lock = made.lock AND NOT processed
            RETURNING signals.signal_id, clock_timestamp()
            """,
            [
                [signal.signal_id for signal in claimed],
                [experiment_ids[signal.signal_id] for signal in claimed],
                [signal.processing_lock for signal in claimed],
            ],
        )
        rows = cursor.fetchall()
    return dict(rows)


def _experiment(signal: Signal, *, assigned: str, revision: PolicyRevision, at: datetime) -> Experiment:
    return Experiment(
        experiment_id=experiment_id(signal.signal_id, assigned),
        signal=signal,
        variant=variant(assigned, split_percentage=revision.split_percentage).value,
        assignment_hash=assigned,
        split_percentage=revision.split_percentage,
        policy_version=revision.policy_version,
        created_at=at,
    )


def _policy(
    experiment: Experiment,
    signal: Signal,
    *,
    revision: PolicyRevision,
    availability: dict[Engine, Availability],
    at: datetime,
) -> ExecutionPolicy:
    age = (at - signal.received_at).total_seconds()
    assigned = Engine(experiment.variant)
    decision = decide(revision.as_domain(), assigned, availability, age)
    return ExecutionPolicy(
        experiment=experiment,
        execution_mode=decision.execution_mode.value,
        executed_engine=decision.executed_engine and decision.executed_engine.value,
        shadow_engine=decision.shadow_engine.value,
        reason=decision.reason,
        reason_code=decision.reason_code.value,
        policy_version=revision.policy_version,
        inputs=decision_inputs(revision_row(revision), assigned, availability, age),
        created_at=at,
    )


def _call(experiment: Experiment, engine: Engine, *, context: MarketContext, at: datetime) -> EngineCall:
    return EngineCall(
        experiment=experiment,
        engine=engine.value,
        kind=CallKind.RECOMMENDATION.value,
        next_attempt_at=at,
        deadline_at=at + timedelta(seconds=settings.RECOMMENDATION_DEADLINE_SECONDS),
        input_hash=context.context_hash,
        created_at=at,
    )


def _log_created(created: Created) -> None:
    ids = {"signal_id": str(created.signal.signal_id), "experiment_id": str(created.experiment.experiment_id)}
    log.info("context.captured", context_hash=created.context.context_hash, **ids)
    log.info(
        "experiment.created",
        variant=created.experiment.variant,
        assignment_hash=created.experiment.assignment_hash,
        **ids,
    )
    log.info(
        "policy.applied",
        execution_mode=created.policy.execution_mode,
        executed_engine=created.policy.executed_engine,
        shadow_engine=created.policy.shadow_engine,
        reason_code=created.policy.reason_code,
        policy_version=created.policy.policy_version,
        **ids,
    )
