"""The first page of the admin: is it running, is anything wrong, and how do the engines do. Sums only, never history."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db.models import Count, Min, Sum
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from orchestrator.admin.incidents import by_urgency
from orchestrator.domain.transitions import UNSETTLED_PERMITS
from orchestrator.domain.vocabulary import CallState, Engine, PermitState, Severity
from orchestrator.models import (
    EngineCall,
    EngineEvent,
    EngineHealth,
    ExecutionPermit,
    Experiment,
    Incident,
    WorkerHeartbeat,
)
from orchestrator.policies import PROBES_UNTIL_STALE
from orchestrator.revisions import current_revision
from outcomes.models import DailyResult
from webhooks.models import Signal

NEWEST = 8
WORKERS_SHOWN = 20
MISSED_FOR = timedelta(hours=1)  # how long a worker that fell silent is shown beside others that run
INCIDENTS_SHOWN = 5
UNFINISHED = [CallState.PENDING.value, CallState.SENT.value, CallState.ACCEPTED.value]
KINDS = ("real", "shadow", "twin")


@dataclass(frozen=True, slots=True)
class Result:
    """Closed trades of one engine and kind; ratios are None while nothing has closed."""

    engine: str
    kind: str
    trades: int
    wins: int
    losses: int
    total: Decimal | None

    @property
    def win_rate(self) -> float | None:
        return self.wins / self.trades if self.trades else None

    @property
    def average(self) -> Decimal | None:
        if not self.trades or self.total is None:
            return None
        return (self.total / self.trades).quantize(Decimal("0.01"))


@dataclass(frozen=True, slots=True)
class Health:
    """The newest probe of one engine; too old a probe counts as unavailable, as it does in a decision."""

    engine: str
    ok: bool
    detail: str
    checked_at: datetime | None

    @property
    def state(self) -> str:
        return "available" if self.ok else "unavailable"


def dashboard_context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add what the overview shows, each part only for those who may see its table."""
    at = timezone.now()
    may = request.user.has_perm
    context["title"] = "Overview"
    context["app_mode"] = settings.APP_MODE
    context["comparison_url"] = _address("comparison-report")
    if may("orchestrator.view_policyrevision"):
        context["revision"] = current_revision()
    if may("orchestrator.view_enginehealth"):
        context["health"] = _health(at)
    if may("orchestrator.view_workerheartbeat"):
        context["workers"] = _workers(at)
    if may("orchestrator.view_enginecall") and may("webhooks.view_signal"):
        context["backlog"] = _backlog()
    if may("orchestrator.view_incident"):
        context["severities"], context["incidents"] = _incidents()
    if may("orchestrator.view_experiment"):
        context["experiments"] = _newest()
    if may("outcomes.view_dailyresult"):
        context["results"] = results()
        context["comparison_page"] = _address("comparison")
    return context


def results() -> list[tuple[str, list[Result]]]:
    """Return, per kind of trade, the results of both engines, from the sums per day."""
    sums = {
        (row["kind"], row["engine"]): row
        for row in DailyResult.objects.values("kind", "engine").annotate(
            closed=Sum("trades"), won=Sum("wins"), lost=Sum("losses"), total=Sum("total_pnl")
        )
    }
    return [(kind, [_result(sums.get((kind, engine.value)), kind, engine) for engine in Engine]) for kind in KINDS]


def _result(row: dict[str, Any] | None, kind: str, engine: Engine) -> Result:
    if row is None:
        return Result(engine.value, kind, 0, 0, 0, None)
    return Result(engine.value, kind, row["closed"], row["won"], row["lost"], row["total"])


def _health(at: datetime) -> list[Health]:
    oldest = at - timedelta(seconds=PROBES_UNTIL_STALE * settings.ENGINE_PROBE_SECONDS)
    facts = {fact.engine: fact for fact in EngineHealth.objects.all()}
    return [_health_of(engine, facts.get(engine.value), oldest) for engine in Engine]


def _health_of(engine: Engine, fact: EngineHealth | None, oldest: datetime) -> Health:
    if fact is None:
        return Health(engine.value, ok=False, detail="never probed", checked_at=None)
    fresh = fact.checked_at >= oldest
    detail = fact.detail if fresh else "the last probe is too old to rely on"
    return Health(engine.value, ok=fact.ok and fresh, detail=detail, checked_at=fact.checked_at)


def _workers(at: datetime) -> list[tuple[WorkerHeartbeat, str]]:
    """Return the workers that run or fell silent lately; where there is none, the one that was seen last."""
    newest = list(WorkerHeartbeat.objects.order_by("-beat_at", "-id")[:WORKERS_SHOWN])
    states = [(beat, _state_of(beat, at)) for beat in newest]
    current = [(beat, state) for beat, state in states if state == "running" or _fell_silent_lately(beat, state, at)]
    return current or states[:1]


def _state_of(beat: WorkerHeartbeat, at: datetime) -> str:
    """Return running, stopped, or silent: no sign of life for longer than a lease lasts."""
    if beat.stopped_at:
        return "stopped"
    return "running" if beat.beat_at >= at - timedelta(seconds=settings.LEASE_SECONDS) else "silent"


def _fell_silent_lately(beat: WorkerHeartbeat, state: str, at: datetime) -> bool:
    return state == "silent" and beat.beat_at >= at - MISSED_FOR


def _backlog() -> dict[str, Any]:
    signals = Signal.objects.unprocessed().aggregate(waiting=Count("pk"), oldest=Min("received_at"))
    calls = EngineCall.objects.filter(state__in=UNFINISHED).aggregate(waiting=Count("pk"))
    permits = (
        ExecutionPermit.objects.filter(state__in=[state.value for state in UNSETTLED_PERMITS])
        .values("state")
        .annotate(found=Count("pk"))
    )
    states = {row["state"]: row["found"] for row in permits}
    return {
        "signals": signals["waiting"],
        "oldest": signals["oldest"],
        "calls": calls["waiting"],
        "events": EngineEvent.objects.filter(verdict=None).count(),
        "permits": sum(states.values()),
        "unknown": states.get(PermitState.UNKNOWN.value, 0),
    }


def _incidents() -> tuple[list[tuple[str, int]], list[Incident]]:
    """Return how many incidents are open per severity, and the worst of them."""
    unresolved = Incident.objects.unresolved()
    found = dict(unresolved.values_list("severity").annotate(found=Count("pk")))
    worst = by_urgency(unresolved.select_related("experiment__signal")).order_by("urgency", "-opened_at", "-id")
    return [(severity.value, found[severity.value]) for severity in Severity if severity.value in found], list(
        worst[:INCIDENTS_SHOWN]
    )


def _newest() -> list[Experiment]:
    return list(
        Experiment.objects.select_related("signal", "policy", "permit")
        .prefetch_related("recommendations", "realtradeoutcomes")
        .order_by("-created_at", "-experiment_id")[:NEWEST]
    )


def _address(name: str) -> str:
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""
