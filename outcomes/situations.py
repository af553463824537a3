"""Where experiments stand: everything that decides about exits, read with a fixed number of queries under their lock."""

from collections.abc import Collection
from dataclasses import dataclass, field
from uuid import UUID

from django.db.models import Q

from orchestrator.domain.recommendation import Terms, UnreadableRecommendation, read_terms
from orchestrator.domain.transitions import ENDED_CALLS
from orchestrator.domain.vocabulary import CallKind, Engine, PermitState, TradeStatus
from orchestrator.models import EngineCall, ExecutionPermit, Experiment, RealTrade, ShadowTrade
from outcomes.domain.exits import Standing
from outcomes.models import ExitSync

Trade = RealTrade | ShadowTrade


@dataclass(slots=True)
class Situation:
    """One experiment under its lock; what is changed in the database is changed here as well."""

    experiment: Experiment
    permit: ExecutionPermit | None = None
    real_trades: list[RealTrade] = field(default_factory=list)
    shadow_trades: dict[Engine, ShadowTrade] = field(default_factory=dict)
    calls: dict[tuple[Engine, CallKind], EngineCall] = field(default_factory=dict)
    sync: ExitSync | None = None

    @property
    def authorised_trade(self) -> RealTrade | None:
        return next((trade for trade in self.real_trades if trade.authorised), None)

    def awaits(self, engine: Engine) -> bool:
        """Tell whether the engine's recommendation may still come."""
        call = self.calls.get((engine, CallKind.RECOMMENDATION))
        return call is not None and call.state not in ENDED_CALLS

    def standing(self) -> Standing:
        """Return what decides who leads."""
        executed = self.experiment.policy.executed_engine
        return Standing(
            variant=Engine(self.experiment.variant),
            executed_engine=Engine(executed) if executed else None,
            permit=PermitState(self.permit.state) if self.permit else None,
            has_real_trade=self.authorised_trade is not None,
            followed=[engine for engine, trade in self.shadow_trades.items() if trade.status != TradeStatus.VOID],
            awaited=[engine for engine in Engine if self.awaits(engine)],
        )


def load_situations(experiment_ids: Collection[UUID]) -> dict[UUID, Situation]:
    """Read where experiments stand; the caller holds their locks."""
    ids = list(experiment_ids)
    of = Q(experiment_id__in=ids)
    found = {
        experiment.experiment_id: Situation(experiment)
        for experiment in Experiment.objects.select_related("policy", "signal").filter(pk__in=ids)
    }
    for permit in ExecutionPermit.objects.filter(of):
        found[permit.experiment_id].permit = permit
    for real in RealTrade.objects.filter(of).order_by("trade_id"):
        found[real.experiment_id].real_trades.append(real)
    for shadow in ShadowTrade.objects.filter(of):
        found[shadow.experiment_id].shadow_trades[Engine(shadow.engine)] = shadow
    for call in EngineCall.objects.filter(of):
        found[call.experiment_id].calls[Engine(call.engine), CallKind(call.kind)] = call
    for sync in ExitSync.objects.filter(of):
        found[sync.experiment_id].sync = sync
    return found


def terms_of(trade: Trade) -> Terms | None:
    """Return the terms of a trade; None for a real trade that came without a recommendation."""
    try:
        return read_terms(trade.terms)
    except UnreadableRecommendation:
        return None
