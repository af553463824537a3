"""Rows for tests: every factory writes real, consistent rows and takes what a test is about as overrides.

Each row agrees with the others as the service itself would have written them: hashes recompute, policies are decided by
the real policy, states are reached by legal moves. A test that wants a broken row breaks it itself.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from itertools import count
from typing import Any

from constance.codecs import dumps  # noqa: TID251 - writes what the panel shows
from constance.models import Constance  # noqa: TID251

from config.keys import new_key
from orchestrator.contexts import signal_facts
from orchestrator.domain.assignment import assignment_hash, experiment_id, permit_id, variant
from orchestrator.domain.engine_input import Snapshot, build_engine_input
from orchestrator.domain.policy import Availability, decide, decision_inputs
from orchestrator.domain.vocabulary import CallKind, Engine, Purpose
from orchestrator.models import (
    EngineCall,
    EngineEvent,
    EngineHealth,
    EngineProof,
    ExecutionPermit,
    ExecutionPolicy,
    Experiment,
    Incident,
    MarketContext,
    MarketQuote,
    PolicyRevision,
    RealTrade,
    Recommendation,
    RepeatedQuestion,
    ShadowTrade,
    WorkerHeartbeat,
)
from orchestrator.policies import revision_row
from orchestrator.revisions import settings_of
from outcomes.models import ExitSync, RealTradeOutcome, ShadowTradeOutcome
from outcomes.summaries import KIND_OF_PURPOSE, OutcomeSum, add_to_summaries
from webhooks.alerts import read_payload
from webhooks.canonical import sha256_hex, signal_hash
from webhooks.models import AlertSource, RejectedAlert, Signal

OPENED_AT = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
OPTION = {
    "type": "option",
    "option_symbol": "SPY260320C00590000",
    "right": "CALL",
    "strike": "590",
    "expiration": "2026-03-20",
    "multiplier": "100",
}
CONDITIONS = {
    "underlying_price": "590.10",
    "quotes": {"SPY260320C00590000": {"bid": "5.00", "ask": "5.20", "last": None}},
}

_numbers = count(1)


def make_source(*, token: str = "", **overrides: Any) -> AlertSource:
    """Write a source; ``token`` is the plain token that its alerts are posted with."""
    number = next(_numbers)
    plain = token or f"token-{number}-{new_key()}"
    fields = {"name": f"source-{number}", "token_sha256": sha256(plain.encode()).hexdigest()}
    return AlertSource.objects.create(**(fields | overrides))


def make_signal(*, payload: Any = None, **overrides: Any) -> Signal:
    """Write an unprocessed signal of its own time; ``payload`` is what the alert said, ``raw_body`` its text."""
    number = next(_numbers)
    at = overrides.get("timestamp", OPENED_AT + timedelta(minutes=5 * number))
    fields: dict[str, Any] = {
        "source": "default",
        "symbol": "SPY",
        "direction": "long",
        "timeframe": "5",
        "timestamp": at,
        "timestamp_origin": "payload",
    } | overrides
    if "raw_body" not in fields:
        said = {"ticker": fields["symbol"], "close": 589.12, "rsi": 55.5, "time": at.isoformat(), "number": number}
        fields["raw_body"] = json.dumps(said if payload is None else payload)
    read = read_payload(fields["raw_body"])
    fields.setdefault("raw_payload", read)
    fields.setdefault(
        "signal_hash",
        signal_hash(
            payload=read, **{name: fields[name] for name in ("direction", "source", "symbol", "timeframe", "timestamp")}
        ),
    )
    signal = Signal.objects.create(**fields)
    signal.refresh_from_db()
    return signal


def make_rejected_alert(**overrides: Any) -> RejectedAlert:
    fields = {"source": "default", "code": "not_json", "body": "buy", "content_type": "text/plain", "errors": []}
    return RejectedAlert.objects.create(**(fields | overrides))


def make_quote(**overrides: Any) -> MarketQuote:
    fields = {
        "symbol": "SPY",
        "quoted_at": OPENED_AT + timedelta(seconds=next(_numbers)),
        "price": Decimal("589.12"),
        "bid": Decimal("589.11"),
        "ask": Decimal("589.13"),
        "volume": 1000,
    }
    return MarketQuote.objects.create(**(fields | overrides))


def make_revision(**overrides: Any) -> PolicyRevision:
    """Write the next revision, and what the panel shows of it."""
    newest = PolicyRevision.objects.order_by("-number").first()
    fields = {
        "number": newest.number + 1 if newest else 1,
        "execution_mode": "AUTO",
        "split_percentage": 50,
        "trading_halted": False,
        "max_signal_age_seconds": 300,
        "app_mode": "PAPER",
        "changed_by": "test",
    }
    revision = PolicyRevision.objects.create(**(fields | overrides))
    revision.refresh_from_db()
    for key, value in settings_of(revision).items():
        Constance.objects.update_or_create(key=key, defaults={"value": dumps(value)})
    return revision


def make_health(engine: str, **overrides: Any) -> EngineHealth:
    fields = {"ok": True, "detail": "", "checked_at": datetime.now(UTC)}
    return EngineHealth.objects.update_or_create(engine=engine, defaults=fields | overrides)[0]


def make_proof(engine: str, **overrides: Any) -> EngineProof:
    fields: dict[str, Any] = {"engine": engine, "capability": "IDEMPOTENT", "claimed": True, "proved": True}
    return EngineProof.objects.create(**(fields | overrides))


def make_heartbeat(**overrides: Any) -> WorkerHeartbeat:
    now = datetime.now(UTC)
    fields = {"name": f"worker-{next(_numbers)}", "started_at": now, "beat_at": now}
    return WorkerHeartbeat.objects.create(**(fields | overrides))


def make_experiment(
    *,
    signal: Signal | None = None,
    revision: PolicyRevision | None = None,
    available: Mapping[str, bool] | None = None,
    age: float = 1.0,
    at: datetime | None = None,
    market: Mapping[str, Any] | None = None,
    **asked: Any,
) -> Experiment:
    """Write what the worker writes for one signal: context, experiment, policy and both engine calls.

    :param asked: fields of a new revision (the newest is used when there are none): ``execution_mode``, ``split_percentage``, ``trading_halted``, ``app_mode``.
    :param available: which engines answer their probe; both, unless told otherwise. ``age`` in seconds.
    """
    signal = signal or make_signal()
    at = at or signal.received_at + timedelta(seconds=age)
    if revision is None:
        newest = PolicyRevision.objects.order_by("-number").first()
        revision = make_revision(**asked) if asked or newest is None else newest
    assigned = assignment_hash(signal.signal_id, signal.signal_hash)
    experiment = Experiment.objects.create(
        experiment_id=experiment_id(signal.signal_id, assigned),
        signal=signal,
        variant=variant(assigned, split_percentage=revision.split_percentage).value,
        assignment_hash=assigned,
        split_percentage=revision.split_percentage,
        policy_version=revision.policy_version,
        created_at=at,
    )
    context = _make_context(signal, experiment, market=market or {}, at=at)
    _make_policy(experiment, revision, available=available or {}, age=age, at=at)
    for engine in Engine:
        EngineCall.objects.create(
            experiment=experiment,
            engine=engine.value,
            kind=CallKind.RECOMMENDATION.value,
            next_attempt_at=at,
            deadline_at=at + timedelta(seconds=300),
            input_hash=context.context_hash,
            created_at=at,
        )
    Signal.objects.filter(pk=signal.pk).update(
        processed=True, processed_at=at, experiment_id=experiment.experiment_id, attempts=1
    )
    return Experiment.objects.select_related("signal__context", "policy").get(pk=experiment.pk)


def make_terms(**overrides: Any) -> dict[str, Any]:
    """Return the ``recommendation`` object of an OPEN."""
    return {
        "action": "OPEN",
        "symbol": "SPY",
        "direction": "long",
        "side": "BUY",
        "quantity": "2",
        "entry_price": "4.35",
        "instrument": dict(OPTION),
        "stop_loss": None,
        "take_profit": None,
        "max_loss": "870",
        "confidence": "0.73",
        "rationale": "made for a test",
    } | overrides


def make_recommendation(
    experiment: Experiment, engine: str, *, terms: dict[str, Any] | None = None, action: str = "OPEN", **overrides: Any
) -> Recommendation:
    """Write the answer of one engine and end its call; an OPEN unless ``action`` is PASS."""
    call = EngineCall.objects.get(experiment=experiment, engine=engine, kind="RECOMMENDATION")
    at = overrides.get("received_at", experiment.created_at + timedelta(seconds=1))
    proposal = (terms or make_terms()) if action == "OPEN" else None
    reason = "" if proposal else "nothing to do"
    answer = {
        "experiment_id": str(experiment.pk),
        "input_hash": call.input_hash,
        "recommendation": proposal,
        "reason": reason,
    }
    EngineCall.objects.filter(pk=call.pk).update(state="ANSWERED", attempts=1, sent_at=at, answered_at=at, latency=0.2)
    fields = {
        "call": call,
        "experiment": experiment,
        "engine": engine,
        "action": action,
        "raw": json.dumps(answer),
        "terms": proposal,
        "reason": reason,
        "received_at": at,
    }
    return Recommendation.objects.create(**(fields | overrides))


def make_repeat(experiment: Experiment, engine: str = "A", **overrides: Any) -> RepeatedQuestion:
    """Write a question that was asked again and answered the same."""
    fields: dict[str, Any] = {
        "experiment": experiment,
        "engine": engine,
        "answered_at": experiment.created_at + timedelta(days=1),
        "latency": 0.2,
        "agreement": "SAME_TEXT",
        "raw": "{}",
    }
    return RepeatedQuestion.objects.create(**(fields | overrides))


def make_permit(experiment: Experiment, *, state: str = "GRANTED", **overrides: Any) -> ExecutionPermit:
    """Write the experiment's permit, for the engine that its policy names."""
    at = experiment.created_at + timedelta(seconds=1)
    fields: dict[str, Any] = {
        "permit_id": permit_id(experiment.pk),
        "experiment": experiment,
        "engine": ExecutionPolicy.objects.get(experiment=experiment).executed_engine,
        "state": state,
        "not_after": at + timedelta(seconds=30),
        "next_attempt_at": at,
        "granted_at": at,
        "armed_at": None if state in ("GRANTED", "VOID") else at,
        "resolved_at": at if state in ("EXECUTED", "NOT_EXECUTED", "VOID") else None,
        "resolved_by": "test" if state in ("EXECUTED", "NOT_EXECUTED", "VOID") else "",
    }
    return ExecutionPermit.objects.create(**(fields | overrides))


def make_trade(
    experiment: Experiment, *, permit: ExecutionPermit | None = None, authorised: bool = True, **overrides: Any
) -> RealTrade:
    """Write an open real trade; with ``authorised`` it comes with its EXECUTED permit."""
    if authorised and permit is None:
        permit = make_permit(experiment, state="EXECUTED")
    terms = overrides.get("terms") or make_terms()
    fields: dict[str, Any] = {
        "experiment": experiment,
        "permit": permit,
        "engine": permit.engine if permit else "A",
        "authorised": authorised,
        "terms": terms,
        "entry_price": Decimal("4.40"),
        "entry_time": experiment.created_at + timedelta(seconds=2),
        "quantity": Decimal(terms["quantity"]),
        "fees": Decimal("1.30"),
        "external_id": f"order-{next(_numbers)}",
    }
    return RealTrade.objects.create(**(fields | overrides))


def make_shadow_trade(experiment: Experiment, engine: str, **overrides: Any) -> ShadowTrade:
    """Write the shadow trade of one engine; it is the TWIN when the policy lets that engine execute."""
    executed = ExecutionPolicy.objects.get(experiment=experiment).executed_engine
    terms = overrides.get("terms") or make_terms()
    fields: dict[str, Any] = {
        "experiment": experiment,
        "engine": engine,
        "purpose": "TWIN" if engine == executed else "SHADOW",
        "terms": terms,
        "entry_price": Decimal(terms["entry_price"]),
        "entry_time": experiment.created_at + timedelta(seconds=1),
        "quantity": Decimal(terms["quantity"]),
    }
    return ShadowTrade.objects.create(**(fields | overrides))


def make_outcome(trade: RealTrade | ShadowTrade, **overrides: Any) -> RealTradeOutcome | ShadowTradeOutcome:
    """Close a trade with its outcome, and count it in the daily sums; ``pnl`` follows from the other fields."""
    real = isinstance(trade, RealTrade)
    fields: dict[str, Any] = {
        "trade": trade,
        "experiment": trade.experiment,
        "engine": trade.engine,
        "side": trade.terms["side"],
        "entry_price": trade.entry_price,
        "exit_price": Decimal("5.10"),
        "quantity": trade.quantity,
        "multiplier": Decimal(trade.terms["instrument"].get("multiplier") or 1),
        "fees": trade.fees if isinstance(trade, RealTrade) else Decimal(0),
        "exit_reason": "target",
        "entry_time": trade.entry_time,
        "exit_time": trade.experiment.created_at + timedelta(hours=1),
        "market_conditions": CONDITIONS,
    } | overrides
    sign = 1 if fields["side"] == "BUY" else -1
    gross = (fields["exit_price"] - fields["entry_price"]) * fields["quantity"] * fields["multiplier"] * sign
    fields.setdefault("pnl", (gross - fields["fees"]).quantize(Decimal("0.00000001")))
    type(trade)._default_manager.filter(pk=trade.pk).update(status="CLOSED")
    trade.status = "CLOSED"
    outcome: RealTradeOutcome | ShadowTradeOutcome = (RealTradeOutcome if real else ShadowTradeOutcome).objects.create(
        **fields
    )
    kind = "real" if isinstance(trade, RealTrade) else KIND_OF_PURPOSE[Purpose(trade.purpose)]
    add_to_summaries([OutcomeSum(Engine(outcome.engine), kind, outcome.exit_time, outcome.pnl)])
    return outcome


def make_exit_sync(lead: RealTrade | ShadowTrade, **overrides: Any) -> ExitSync:
    """Write the record of how the followers of a closed lead have come along."""
    outcome: Any = type(lead)._default_manager.select_related("outcome").get(pk=lead.pk).outcome
    fields: dict[str, Any] = {
        "experiment": lead.experiment,
        "lead_trade_id": lead.pk,
        "lead_engine": lead.engine,
        "lead_is_real": isinstance(lead, RealTrade),
        "state": "DONE",
        "exit_price": outcome.exit_price,
        "exit_time": outcome.exit_time,
        "exit_reason": outcome.exit_reason,
        "market_conditions": outcome.market_conditions,
    }
    return ExitSync.objects.create(**(fields | overrides))


def make_event(engine: str, *, experiment: Experiment | None = None, **overrides: Any) -> EngineEvent:
    fields = {
        "engine": engine,
        "message_id": f"msg_{next(_numbers)}",
        "type": "trade.exited",
        "body": '{"type":"trade.exited","data":{}}',
        "experiment": experiment,
    }
    return EngineEvent.objects.create(**(fields | overrides))


def make_incident(**overrides: Any) -> Incident:
    fields = {
        "kind": "UNMATCHED_EVENT",
        "severity": "MEDIUM",
        "subject": f"subject-{next(_numbers)}",
        "detail": {"what": "made for a test"},
    }
    return Incident.objects.create(**(fields | overrides))


def _make_context(signal: Signal, experiment: Experiment, *, market: Mapping[str, Any], at: datetime) -> MarketContext:
    values: dict[str, Any] = {
        "current_price": Decimal("589.12"),
        "bid": None,
        "ask": None,
        "volume": None,
        "indicators": {"rsi": "55.5"},
    } | dict(market)
    engine_input = build_engine_input(experiment.experiment_id, signal_facts(signal), Snapshot(**values))
    return MarketContext.objects.create(
        signal=signal,
        timestamp=signal.timestamp,
        symbol=signal.symbol,
        provenance={"current_price": "alert"},
        engine_input=engine_input,
        context_hash=sha256_hex(engine_input),
        distributed_at=at,
        **values,
    )


def _make_policy(
    experiment: Experiment, revision: PolicyRevision, *, available: Mapping[str, bool], age: float, at: datetime
) -> ExecutionPolicy:
    facts = {engine: Availability(ok=available.get(engine.value, True), checked_at=at) for engine in Engine}
    decision = decide(revision.as_domain(), Engine(experiment.variant), facts, age)
    return ExecutionPolicy.objects.create(
        experiment=experiment,
        execution_mode=decision.execution_mode.value,
        executed_engine=decision.executed_engine and decision.executed_engine.value,
        shadow_engine=decision.shadow_engine.value,
        reason=decision.reason,
        reason_code=decision.reason_code.value,
        policy_version=revision.policy_version,
        inputs=decision_inputs(revision_row(revision), Engine(experiment.variant), facts, age),
        created_at=at,
    )
