"""Replay: every hash, id, variant and decision of an experiment computed again from what is stored, and compared."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Prefetch, QuerySet

from orchestrator.contexts import signal_facts
from orchestrator.domain.assignment import assignment_hash, bucket, experiment_id, permit_id, variant
from orchestrator.domain.engine_input import Snapshot, build_engine_input
from orchestrator.domain.policy import RULES_VERSION, decide_again
from orchestrator.domain.vocabulary import CallKind
from orchestrator.models import EngineCall, Experiment, MarketContext, PolicyRevision
from orchestrator.policies import revision_row
from webhooks.alerts import read_payload
from webhooks.canonical import signal_hash
from webhooks.models import Signal

BATCH = 500
SHOWN = 80
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError)
MISSING = "nothing"

Revisions = dict[int, Any]
Compare = Callable[[str, Any, Callable[[], Any]], None]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something stored that is not what it is recomputed to; both as text that fits on a line."""

    experiment_id: UUID
    what: str
    stored: str
    recomputed: str


def replay(experiment_ids: Iterable[UUID] | None = None, *, since: datetime | None = None) -> Iterator[Difference]:
    """Yield every difference of the experiments named, or of all, oldest first; constant memory (requirement 6.1).

    :param since: only experiments created at that time or later.
    """
    revisions: Revisions = {}
    for experiment in experiments_to_replay(experiment_ids, since=since):
        yield from differences(experiment, revisions=revisions)


def experiments_to_replay(
    experiment_ids: Iterable[UUID] | None = None, *, since: datetime | None = None
) -> Iterator[Experiment]:
    """Yield experiments with everything that their replay needs, fetched in batches."""
    wanted: QuerySet[Experiment] = Experiment.objects.all()
    if experiment_ids is not None:
        wanted = wanted.filter(pk__in=list(experiment_ids))
    if since is not None:
        wanted = wanted.filter(created_at__gte=since)
    asked = EngineCall.objects.filter(kind=CallKind.RECOMMENDATION.value).order_by("engine")
    return (
        wanted.select_related("signal__context", "policy", "permit")
        .prefetch_related(Prefetch("calls", queryset=asked, to_attr="asked"))
        .order_by("created_at", "experiment_id")
        .iterator(chunk_size=BATCH)
    )


def differences(experiment: Experiment, *, revisions: Revisions) -> list[Difference]:
    """Return what differs in one experiment of ``experiments_to_replay``.

    :param revisions: the rows of revisions read so far, by number; filled here, so that each is read once.
    """
    found: list[Difference] = []

    def compare(what: str, stored: Any, recompute: Callable[[], Any]) -> None:
        try:
            recomputed = recompute()
        except UNREADABLE as error:
            recomputed = _Unknown(f"cannot be recomputed: {type(error).__name__}: {error}")
        if stored != recomputed:
            found.append(Difference(experiment.experiment_id, what, *_shown(stored, recomputed)))

    signal, context = experiment.signal, _related(experiment.signal, "context")
    _compare_assignment(experiment, signal, compare)
    if context is None:
        compare("market_context", MISSING, lambda: "one")
    else:
        _compare_input(experiment, signal, context, compare)
    _compare_decision(experiment, compare, revisions)
    permit = _related(experiment, "permit")
    if permit is not None:
        compare("permit_id", permit.permit_id, lambda: permit_id(experiment.experiment_id))
    return found


def _compare_assignment(experiment: Experiment, signal: Signal, compare: Compare) -> None:
    compare("raw_payload", signal.raw_payload, lambda: read_payload(signal.raw_body))
    compare("signal_hash", signal.signal_hash, lambda: _signal_hash(signal))
    compare(
        "assignment_hash",
        experiment.assignment_hash,
        lambda: assignment_hash(signal.signal_id, _signal_hash(signal)),
    )
    compare(
        "variant",
        (experiment.variant, bucket(experiment.assignment_hash)),
        lambda: _variant(_assigned(signal), experiment.split_percentage),
    )
    compare("experiment_id", experiment.experiment_id, lambda: experiment_id(signal.signal_id, _assigned(signal)))
    compare("signals.experiment_id", signal.experiment_id, lambda: experiment.experiment_id)


def _compare_input(experiment: Experiment, signal: Signal, context: MarketContext, compare: Compare) -> None:
    def again() -> str:
        market = Snapshot(context.current_price, context.bid, context.ask, context.volume, context.indicators)
        return build_engine_input(experiment.experiment_id, signal_facts(signal), market)

    compare("engine_input", context.engine_input, again)
    compare("context_hash", context.context_hash, lambda: sha256(again().encode()).hexdigest())
    compare("market_contexts.timestamp", context.timestamp, lambda: signal.timestamp)
    compare("market_contexts.symbol", context.symbol, lambda: signal.symbol)
    calls: list[EngineCall] = experiment.asked  # type: ignore[attr-defined]
    compare(
        "engine_calls.input_hash",
        {call.engine: call.input_hash for call in calls},
        lambda: dict.fromkeys("AB", sha256(again().encode()).hexdigest()),
    )


def _compare_decision(experiment: Experiment, compare: Compare, revisions: Revisions) -> None:
    policy = _related(experiment, "policy")
    if policy is None:
        compare("execution_policy", MISSING, lambda: "one")
        return
    inputs = policy.inputs
    compare(
        "decision",
        (policy.execution_mode, policy.executed_engine, policy.shadow_engine, policy.reason_code, policy.reason),
        lambda: _decision(inputs),
    )
    versions = (experiment.policy_version, policy.policy_version)
    compare("policy_version", versions, lambda: (f"{RULES_VERSION}-r{inputs['revision']['number']}",) * 2)
    compare("inputs.variant", _member(inputs, "variant"), lambda: experiment.variant)
    compare("split_percentage", experiment.split_percentage, lambda: inputs["revision"]["split_percentage"])
    compare("inputs.revision", _member(inputs, "revision"), lambda: _revision(inputs["revision"]["number"], revisions))


def _signal_hash(signal: Signal) -> str:
    return signal_hash(
        direction=signal.direction,
        payload=read_payload(signal.raw_body),
        source=signal.source,
        symbol=signal.symbol,
        timeframe=signal.timeframe,
        timestamp=signal.timestamp,
    )


def _assigned(signal: Signal) -> str:
    return assignment_hash(signal.signal_id, _signal_hash(signal))


def _variant(assigned: str, split: int) -> tuple[str, int]:
    return variant(assigned, split_percentage=split).value, bucket(assigned)


def _decision(inputs: Any) -> tuple[Any, ...]:
    decision = decide_again(inputs)
    return (
        decision.execution_mode.value,
        decision.executed_engine and decision.executed_engine.value,
        decision.shadow_engine.value,
        decision.reason_code.value,
        decision.reason,
    )


def _revision(number: int, revisions: Revisions) -> Any:
    if number not in revisions:
        row = PolicyRevision.objects.filter(number=number).first()
        revisions[number] = MISSING if row is None else dict(revision_row(row))
    return revisions[number]


def _related(row: Any, name: str) -> Any:
    try:
        return getattr(row, name)
    except ObjectDoesNotExist:
        return None


def _member(value: Any, name: str) -> Any:
    return value.get(name, MISSING) if isinstance(value, dict) else MISSING


class _Unknown(str):
    """A text that equals nothing that is stored."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def _shown(stored: Any, recomputed: Any) -> tuple[str, str]:
    """Return both as texts of a line, cut to where they begin to differ."""
    one, two = str(stored), str(recomputed)
    start = 0
    if not isinstance(recomputed, _Unknown) and max(len(one), len(two)) > SHOWN:
        same = next((at for at, (left, right) in enumerate(zip(one, two, strict=False)) if left != right), len(one))
        start = max(same - SHOWN // 2, 0)
    return _cut(one, start), _cut(two, start)


def _cut(text: str, start: int) -> str:
    return f"{'…' if start else ''}{text[start : start + 2 * SHOWN]}{'…' if len(text) > start + 2 * SHOWN else ''}"
