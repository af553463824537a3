"""What a run has to say: the counts, the times, and every row that must not be there."""

from collections import Counter
from collections.abc import Sequence

from tests.chaos.director import Result, Scenario
from tests.chaos.judge import MEASURES

MOST_ROWS = 5
# Of how many a measure is told: "0 in N".
OF = {
    "double executions": "real executions",
    "lost signals": "signals",
    "lost executions": "real executions",
    "phantom executions": "real executions",
    "wrongly closed": "real executions",
    "lost events": "acknowledged events",
    "orders after a halt": "halts",
}


def lines(scenario: Scenario, result: Result, *, commit: str) -> list[str]:
    """Return the report of a run, line by line."""
    counts = result.judgement.counts
    engines = "; ".join(
        f"{name} {'deduplicates' if claims.idempotent else 'does not deduplicate'}, claims {claims}"
        for name, claims in scenario.engines.items()
    )
    return [
        f"seed {scenario.seed}, commit {commit}, {scenario.workers} workers, {result.seconds:.0f} s in all",
        f"engines           {engines}",
        f"namespaces        {'two workers in their own' if not result.without_namespaces else 'none: ' + result.without_namespaces}",
        f"signals           {counts['signals']} accepted ({result.resent} after a repetition), {result.given_up} not accepted",
        f"orders            {counts['orders']} received by the engines; real executions {counts['real executions']}, "
        f"unasked {counts['unasked executions']}",
        f"permits           {_counts(result.permits)}",
        f"disturbances      {result.disturbances.total()}: {_counts(result.disturbances)}; {result.restarts} restarts, "
        f"{counts['halts']} halts",
        f"faults of engines {result.faults.total()}: {_counts(result.faults)}",
        f"incidents         {_counts(result.incidents)}",
        f"time to heal      after a fault of an engine {_times(result.heal_after_fault)}",
        f"                  after a disturbance {_times(result.heal_after_disturbance)}",
        f"invariants        checked {result.checks} times, the last time after the run; work that waited too long meanwhile: "
        + (_counts(Counter(row["invariant"] for row in result.judgement.waited))),
        "",
        *(line for measure in MEASURES for line in _measure(measure, result)),
    ]


def percentile(times: Sequence[float], share: float) -> float:
    """Return a percentile of sorted times by the nearest rank."""
    return times[min(len(times) - 1, int(share * len(times)))]


def _measure(measure: str, result: Result) -> list[str]:
    rows = result.judgement.found[measure]
    of = f" in {result.judgement.counts[OF[measure]]} {OF[measure]}" if measure in OF else ""
    shown = [f"    {dict(row)}" for row in rows[:MOST_ROWS]]
    more = [f"    … and {len(rows) - MOST_ROWS} more"] if len(rows) > MOST_ROWS else []
    return [f"{'ok ' if not rows else 'RED'}  {measure:<24} {len(rows)}{of}", *shown, *more]


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counted.items())) or "none"


def _times(times: Sequence[float]) -> str:
    if not times:
        return "none"
    return f"p50 {percentile(times, 0.5):.1f} s, p99 {percentile(times, 0.99):.1f} s, of {len(times)}"
