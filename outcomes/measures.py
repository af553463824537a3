"""The measures at ``/metrics``: read from the database at each scrape, so that all web processes say the same."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import psycopg
import structlog
from django.db import OperationalError
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry
from psycopg.rows import TupleRow

from orchestrator.domain.vocabulary import ExecutionMode, PermitState, Severity
from outcomes import observations
from webhooks.refusals import refusals
from webhooks.spool import SpoolState, the_spool

log = structlog.get_logger(__name__)
NEWEST = f"among the newest {observations.CAP}"


class DatabaseMeasures(Collector):
    """A handful of statements of bounded cost; when the database is away, that is all it says."""

    def collect(self) -> Iterator[Metric]:
        yield from _intake()
        try:
            with observations.probe() as opened:
                observations.check_migrations(opened)
                found = list(_measures(opened))
        except observations.Unready:
            yield _gauge("database_up", "1 when the database answers.", 1)
            yield _gauge("migrations_ready", "1 when the database is as this version needs it.", 0)
            return
        except (psycopg.OperationalError, OperationalError) as error:
            log.warning("metrics.database_unavailable", error_type=type(error).__name__, error_message=str(error))
            yield _gauge("database_up", "1 when the database answers.", 0)
            return
        yield _gauge("database_up", "1 when the database answers.", 1)
        yield _gauge("migrations_ready", "1 when the database is as this version needs it.", 1)
        yield from found


def registry() -> CollectorRegistry:
    """Return a registry of its own, without measures of this one web process."""
    made = CollectorRegistry()
    made.register(DatabaseMeasures())
    return made


def _intake() -> Iterator[Metric]:
    """What is on this machine's disk, whether the database answers or not."""
    waiting = the_spool().state()
    yield _gauge("spool_alerts", "Alerts on this machine's disk that wait for the database.", waiting.alerts)
    yield _gauge("spool_oldest_seconds", "Age of the oldest of them.", age_of(waiting))
    yield _gauge("spool_bytes", "What they take.", waiting.used_bytes)
    yield _gauge(
        "spool_bytes_most",
        "What they may take (SPOOL_MAX_BYTES); beyond it alerts are answered with 503.",
        waiting.most_bytes,
    )
    yield _gauge(
        "webhook_unauthenticated", "Requests to the webhook without a valid token, ever, on this machine.", refusals()
    )


def age_of(waiting: SpoolState) -> float:
    """Return for how many seconds the oldest alert has been waiting, 0 when none waits."""
    return max(0.0, (datetime.now(UTC) - waiting.oldest_at).total_seconds()) if waiting.oldest_at else 0.0


def _measures(opened: "psycopg.Connection[TupleRow]") -> Iterator[Metric]:
    waiting, age = observations.backlog(opened)
    yield _gauge("signals", "Signals stored; an estimate above 10,000.", observations.estimated_rows(opened, "signals"))
    yield _gauge("signals_unprocessed", "Signals that wait for a worker; at most 10,000.", waiting)
    yield _gauge("signals_unprocessed_oldest_seconds", "Age of the oldest signal that waits.", age)
    yield _gauge(
        "experiments", "Experiments; an estimate above 10,000.", observations.estimated_rows(opened, "experiments")
    )
    modes = observations.newest_by(opened, "execution_policies", column="execution_mode", key="id")
    yield _by("experiments_recent", f"Experiments by execution mode, {NEWEST}.", "mode", _all(ExecutionMode, modes))
    yield _calls(opened)
    recent = observations.newest_by(opened, "execution_permits", column="state", key="permit_id")
    unsettled = observations.unsettled_permits(opened)
    states = {state.value: unsettled[state] if state in unsettled else recent.get(state, 0) for state in PermitState}
    yield _by("permits", f"Permits by state; settled ones {NEWEST}.", "state", states)
    yield _by(
        "incidents_open", "Open incidents by severity.", "severity", _all(Severity, observations.open_incidents(opened))
    )
    yield from _results(opened)
    beats = GaugeMetricFamily(
        _named("worker_heartbeat_age_seconds"), "Since a worker's last sign of life.", labels=["worker"]
    )
    for name, seconds in observations.workers(opened):
        beats.add_metric([name], seconds)
    yield beats
    yield from _engines(opened)


def _calls(opened: "psycopg.Connection[TupleRow]") -> Metric:
    calls = GaugeMetricFamily(
        _named("engine_calls"), f"Engine calls by state; ended ones {NEWEST}.", labels=["engine", "kind", "state"]
    )
    for engine, kind, state, number in observations.calls_in_flight(opened):
        calls.add_metric([engine, kind, state], number)
    for engine, kind, state, number in observations.ended_calls(opened):
        calls.add_metric([engine, kind, state], number)
    return calls


def _results(opened: "psycopg.Connection[TupleRow]") -> Iterator[Metric]:
    trades = GaugeMetricFamily(_named("outcomes"), "Closed trades.", labels=["engine", "kind"])
    pnl = GaugeMetricFamily(_named("outcomes_pnl"), "P&L of closed trades, in currency.", labels=["engine", "kind"])
    for engine, kind, number, total in observations.outcomes(opened):
        trades.add_metric([engine, kind], number)
        pnl.add_metric([engine, kind], total)
    yield trades
    yield pnl


def _engines(opened: "psycopg.Connection[TupleRow]") -> Iterator[Metric]:
    up = GaugeMetricFamily(_named("engine_up"), "1 when the engine answered its newest probe.", labels=["engine"])
    age = GaugeMetricFamily(
        _named("engine_probe_age_seconds"), "Since the newest probe of an engine.", labels=["engine"]
    )
    for engine, ok, seconds, _ in observations.engines(opened):
        up.add_metric([engine], int(ok))
        age.add_metric([engine], seconds)
    yield up
    yield age


def _named(name: str) -> str:
    return f"orchestrator_{name}"


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(_named(name), told, value=value)


def _by(name: str, told: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(_named(name), told, labels=[label])
    for word, number in values.items():
        family.add_metric([str(word)], number)
    return family


def _all(words: type[ExecutionMode] | type[Severity], found: Mapping[str, int]) -> dict[str, int]:
    """Return a number for every word, so that a measure does not vanish when it is 0."""
    return {word.value: found.get(word, 0) for word in words}
