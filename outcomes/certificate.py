"""The certificate of one experiment: the evidence that both engines were treated alike, recomputed from what is stored.

It holds no time of issue and nothing else that changes by itself: as long as nothing happens to the experiment, two
downloads are equal to the byte, and ``certificate_hash`` is sha256 of the canonical text of the rest.
"""

from datetime import datetime
from typing import Any

from orchestrator.domain.amounts import decimal_string
from orchestrator.domain.moments import moment_string, read_moment
from orchestrator.domain.recommendation import UnreadableRecommendation, read_terms
from orchestrator.domain.strict_json import UnreadableJson, read_object
from orchestrator.domain.vocabulary import Action, CallKind, Engine, TradeStatus
from orchestrator.models import EngineCall, Experiment, MarketContext, RealTrade, Recommendation, ShadowTrade
from orchestrator.replay import differences, experiments_to_replay
from outcomes.domain import fairness
from outcomes.domain.fairness import Exit, Fill, Finding, Question
from outcomes.serializers import PolicySerializer, kind_of
from outcomes.timeline import Record
from outcomes.trace import read_record
from webhooks.canonical import canonical, sha256_hex

SCHEMA = "fairness-certificate/1"
FILL_RULE = (
    "Both sides of the pair are simulated: entered at the engine's own recommended price and quantity when its answer was "
    "received, without fees; an engine that executed contributes the twin of its real trade; a PASS counts 0."
)


def certificate(experiment: Experiment) -> dict[str, Any]:
    """Return the certificate of an experiment, JSON-able, with a fixed number of queries."""
    return certificate_of(read_record(experiment))


def certificate_of(record: Record) -> dict[str, Any]:
    """Return the certificate of rows that have been read; its replay reads what was decided on once more."""
    experiment = record.experiment
    context = experiment.signal.context
    questions = {
        Engine(call.engine): _question(call, _recommendation(record, Engine(call.engine)))
        for call in record.calls
        if call.kind == CallKind.RECOMMENDATION
    }
    [stored] = experiments_to_replay([experiment.pk])
    unequal = differences(stored, revisions={})
    findings = _findings(record, questions, [difference.what for difference in unequal])
    body: dict[str, Any] = {
        "schema": SCHEMA,
        "experiment_id": str(experiment.pk),
        "fair": fairness.is_fair(findings),
        "checks": [{"check": one.check, "holds": one.holds, "detail": one.detail} for one in findings],
        "input": _input(context),
        "context_age": _context_age(experiment, context),
        "engines": {engine.value: _engine(record, engine, questions.get(engine)) for engine in Engine},
        "assignment": {
            "variant": experiment.variant,
            "assignment_hash": experiment.assignment_hash,
            "split_percentage": experiment.split_percentage,
        },
        "policy": dict(PolicySerializer(experiment.policy).data),
        "recomputed": {
            "differences": [{"what": one.what, "stored": one.stored, "recomputed": one.recomputed} for one in unequal]
        },
        "fill_basis": {
            "rule": FILL_RULE,
            "sides": {engine.value: _side(record, engine) for engine in Engine},
            "exit": _exit(record),
        },
    }
    return body | {"certificate_hash": sha256_hex(canonical(body))}


def _findings(record: Record, questions: dict[Engine, Question], unequal: list[str]) -> list[Finding]:
    experiment = record.experiment
    context = experiment.signal.context
    shadows = _shadows(record)
    passed = [Engine(one.engine) for one in record.recommendations if one.action == Action.PASS]
    exits = {
        engine: Exit(trade.outcome.exit_time, trade.outcome.market_conditions)
        for engine, trade in shadows.items()
        if hasattr(trade, "outcome")
    }
    still_expected = [engine for engine, trade in shadows.items() if trade.status != TradeStatus.VOID]
    return [
        fairness.same_input(context.context_hash, questions),
        fairness.echoed(context.context_hash, questions),
        fairness.blind(read_object(context.engine_input)),
        fairness.nothing_from_the_future(_quoted_at(context), context.timestamp),
        fairness.decided_first(experiment.policy.created_at, questions),
        fairness.recomputes(unequal),
        fairness.one_executor(
            Engine(record.permit.engine) if record.permit else None,
            [Engine(trade.engine) for trade in record.trades if isinstance(trade, RealTrade)],
        ),
        fairness.one_fill_basis(
            {
                engine: fill
                for engine, trade in shadows.items()
                if (fill := _fill(trade, _recommendation(record, engine)))
            },
            passed,
        ),
        fairness.same_exit(exits, still_expected),
    ]


def _shadows(record: Record) -> dict[Engine, ShadowTrade]:
    return {Engine(trade.engine): trade for trade in record.trades if isinstance(trade, ShadowTrade)}


def _recommendation(record: Record, engine: Engine) -> Recommendation | None:
    return next((one for one in record.recommendations if one.engine == engine), None)


def _question(call: EngineCall, answer: Recommendation | None) -> Question:
    said = answer.raw if answer else call.response
    try:
        echo = read_object(said).get("input_hash") if said else None
    except UnreadableJson:
        echo = None
    return Question(call.input_hash, str(echo) if echo is not None else None, answer.received_at if answer else None)


def _input(context: MarketContext) -> dict[str, Any]:
    return {
        "engine_input": context.engine_input,
        "bytes": len(context.engine_input.encode()),
        "context_hash": context.context_hash,
        "recomputed_hash": sha256_hex(context.engine_input),
        "provenance": context.provenance,
    }


def _context_age(experiment: Experiment, context: MarketContext) -> dict[str, Any]:
    quoted_at, received_at = _quoted_at(context), experiment.signal.received_at
    return {
        "signal_timestamp": moment_string(context.timestamp),
        "signal_received_at": moment_string(received_at),
        "distributed_at": moment_string(context.distributed_at),
        "seconds_from_receipt_to_distribution": _seconds(received_at, context.distributed_at),
        "quoted_at": quoted_at and moment_string(quoted_at),
        "quote_age_seconds_at_signal": quoted_at and _seconds(quoted_at, context.timestamp),
    }


def _quoted_at(context: MarketContext) -> datetime | None:
    quote = context.provenance.get("quote")
    return read_moment(quote["quoted_at"], name="quoted_at") if quote else None


def _engine(record: Record, engine: Engine, question: Question | None) -> dict[str, Any]:
    call = next((one for one in record.calls if one.engine == engine and one.kind == CallKind.RECOMMENDATION), None)
    answer = _recommendation(record, engine)
    if call is None or question is None:
        return {"state": None}
    context_hash = record.experiment.signal.context.context_hash
    return {
        "state": call.state,
        "attempts": call.attempts,
        "sent_at": call.sent_at and moment_string(call.sent_at),
        "answered_at": answer and moment_string(answer.received_at),
        "latency_seconds": call.latency,
        "seconds_from_distribution_to_answer": answer
        and _seconds(record.experiment.signal.context.distributed_at, answer.received_at),
        "sent_hash": question.sent_hash,
        "echoed_hash": question.echo,
        "echo_equals_context_hash": None if question.echo is None else question.echo == context_hash,
        "action": answer and answer.action,
        "error": call.error,
    }


def _side(record: Record, engine: Engine) -> dict[str, Any] | None:
    answer = _recommendation(record, engine)
    if answer is None:
        return None
    trade = _shadows(record).get(engine)
    if trade is None:
        return {"action": answer.action, "counts": "0" if answer.action == Action.PASS else None}
    outcome = getattr(trade, "outcome", None)
    return {
        "action": answer.action,
        "kind": kind_of(trade),
        "entry_price": decimal_string(trade.entry_price),
        "entry_time": moment_string(trade.entry_time),
        "quantity": decimal_string(trade.quantity),
        "status": trade.status,
        "exit_price": outcome and decimal_string(outcome.exit_price),
        "pnl": outcome and decimal_string(outcome.pnl),
        "counts": outcome and decimal_string(outcome.pnl),
    }


def _fill(trade: ShadowTrade, answer: Recommendation | None) -> Fill | None:
    if answer is None:
        return None
    try:
        terms = read_terms(read_object(answer.raw)["recommendation"])  # the text: stored terms are numbers of jsonb
    except (UnreadableRecommendation, UnreadableJson, KeyError):
        return None
    return Fill(trade.entry_price, trade.quantity, terms.entry_price, terms.quantity)


def _exit(record: Record) -> dict[str, Any] | None:
    sync = record.exit_sync
    if sync is None:
        return None
    return {
        "lead": {"engine": sync.lead_engine, "kind": "real" if sync.lead_is_real else "shadow"},
        "exit_time": moment_string(sync.exit_time),
        "exit_reason": sync.exit_reason,
        "market_conditions": sync.market_conditions,
        "followers": sync.state,
    }


def _seconds(begin: datetime, end: datetime) -> float:
    return round((end - begin).total_seconds(), 6)
