"""What load balancers and monitoring ask: is the process alive, is it ready, how is it doing."""

from typing import Any

import psycopg
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from outcomes import observations
from outcomes.measures import age_of, registry
from webhooks.spool import the_spool


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers; asks nobody else."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when database and migrations are ready, else 503; workers, engines and backlog are told and do not fail it."""
    try:
        with observations.probe() as opened:
            observations.check_migrations(opened)
            body = {"status": "ready", "database": "ok", "migrations": "ok", **_state(opened), "spool": _spool()}
    except observations.Unready as error:
        return _unready({"database": "ok", "migrations": str(error)})
    except (psycopg.OperationalError, OperationalError):
        return _unready({"database": "The database cannot be reached.", "migrations": None})
    return JsonResponse(body)


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """The measures in Prometheus' text format."""
    return HttpResponse(generate_latest(registry()), content_type=CONTENT_TYPE_LATEST)


def _state(opened: "psycopg.Connection[Any]") -> dict[str, Any]:
    waiting, age = observations.backlog(opened)
    alive = observations.workers(opened)
    proofs = observations.proofs(opened)
    return {
        "worker": {
            "heartbeat_age_seconds": alive[0][1] if alive else None,
            "workers": [{"name": name, "heartbeat_age_seconds": seconds} for name, seconds in alive],
        },
        "engines": {
            engine: {"ok": ok, "checked_seconds_ago": seconds, "detail": detail, "proofs": proofs.get(engine, {})}
            for engine, ok, seconds, detail in observations.engines(opened)
        },
        "backlog": {"signals": waiting, "oldest_age_seconds": age},
    }


def _spool() -> dict[str, Any]:
    waiting = the_spool().state()
    return {
        "alerts": waiting.alerts,
        "oldest_age_seconds": age_of(waiting),
        "bytes": waiting.used_bytes,
        "most_bytes": waiting.most_bytes,
    }


def _unready(body: dict[str, Any]) -> JsonResponse:
    return JsonResponse({"status": "unready", **body, "spool": _spool()}, status=503, headers={"Retry-After": "5"})
