"""Recording the real trade of a permit, and those that nobody permitted."""

from dataclasses import asdict
from typing import Any

import structlog

from orchestrator.domain.amounts import decimal_string
from orchestrator.domain.execution import Fill
from orchestrator.domain.moments import moment_string
from orchestrator.domain.transitions import PERMIT_MOVES, sources
from orchestrator.domain.vocabulary import IncidentKind, PermitState, Verdict
from orchestrator.incidents import open_incident
from orchestrator.models import ExecutionPermit, Experiment, RealTrade, Recommendation
from orchestrator.queue import reconsider_unmatched_exits
from orchestrator.revisions import halt_trading

log = structlog.get_logger(__name__)


def record_fill(permit: ExecutionPermit, fill: Fill, *, by: str) -> tuple[Verdict, str]:
    """Record a fill of a permit; the caller holds the experiment's lock and moves the permit when it is APPLIED.

    A fill of a permit that was never sent, that ended without execution, or that was used up by another trade, is a real
    trade that nobody authorised.
    """
    known = RealTrade.objects.filter(engine=permit.engine, external_id=fill.external_id).first()
    may_execute = permit.state in sources(PERMIT_MOVES, PermitState.EXECUTED)
    if known is not None:
        if known.experiment_id == permit.experiment_id and not may_execute:
            return _compare(known, permit, fill, by=by)
        return _conflict(permit, fill, f"{by} reports a fill under a reference that belongs to another trade.")
    if not may_execute:
        record_unauthorised_fill(
            permit.experiment, permit.engine, fill, why=f"its permit was {permit.state}", permit=permit
        )
        return Verdict.CONFLICT, f"Filled although the permit was {permit.state}."
    _store(permit.experiment, permit.engine, fill, permit=permit)
    return Verdict.APPLIED, f"Filled {decimal_string(fill.quantity)} at {decimal_string(fill.entry_price)}."


def record_unauthorised_fill(
    experiment: Experiment, engine: str, fill: Fill, *, why: str, permit: ExecutionPermit | None = None
) -> None:
    """Store a real trade without authorisation as what it is, call an operator with the highest severity, and halt trading.

    Its exit may have come before it and found nothing; that is looked at again. The caller's transaction holds the
    experiment's lock already, and the policy's, which the halt takes, comes after all experiments'.
    """
    is_known = RealTrade.objects.filter(engine=engine, external_id=fill.external_id).exists()
    if not is_known:
        _store(experiment, engine, fill, permit=None)
        reconsider_unmatched_exits(experiment.experiment_id, engine=engine)
    open_incident(
        IncidentKind.UNAUTHORISED_EXECUTION,
        subject=f"{engine}:{fill.external_id}"[:200],
        experiment_id=experiment.experiment_id,
        permit_id=permit.permit_id if permit else None,
        detail={
            "what": f"Engine {engine} reports a real trade that it was not permitted to place: {why}.",
            "trade": _evidence(fill),
        },
    )
    if not is_known:  # the same fill reported once more must not undo that an operator lifted the halt
        halt_trading()


def _store(experiment: Experiment, engine: str, fill: Fill, *, permit: ExecutionPermit | None) -> None:
    answer = Recommendation.objects.filter(experiment=experiment, engine=engine).first()
    trade = RealTrade.objects.create(
        experiment=experiment,
        permit=permit,
        engine=engine,
        authorised=permit is not None,
        terms=(answer and answer.terms) or {},
        **asdict(fill),
    )
    log.info(
        "trade.opened",
        signal_id=str(experiment.signal_id),
        experiment_id=str(experiment.experiment_id),
        engine=engine,
        trade_id=str(trade.trade_id),
        external_id=fill.external_id,
        authorised=trade.authorised,
    )


def _compare(recorded: RealTrade, permit: ExecutionPermit, fill: Fill, *, by: str) -> tuple[Verdict, str]:
    if fill == Fill(
        external_id=recorded.external_id,
        entry_price=recorded.entry_price,
        entry_time=recorded.entry_time,
        quantity=recorded.quantity,
        fees=recorded.fees,
    ):
        return Verdict.DUPLICATE, "The same fill was recorded before."
    return _conflict(permit, fill, f"{by} reports a second, different fill; the first stands.")


def _conflict(permit: ExecutionPermit, fill: Fill, sentence: str) -> tuple[Verdict, str]:
    open_incident(
        IncidentKind.CONFLICTING_EVENT,
        subject=f"permit:{permit.permit_id}:{fill.external_id}"[:200],
        experiment_id=permit.experiment_id,
        permit_id=permit.permit_id,
        detail={"what": sentence, "trade": _evidence(fill)},
    )
    return Verdict.CONFLICT, sentence


def _evidence(fill: Fill) -> dict[str, Any]:
    return {
        "external_id": fill.external_id,
        "entry_price": decimal_string(fill.entry_price),
        "entry_time": moment_string(fill.entry_time),
        "quantity": decimal_string(fill.quantity),
        "fees": decimal_string(fill.fees),
    }
