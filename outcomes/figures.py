"""How the figures of the reports are written as JSON: ratios as numbers, money as decimal strings, undefined as null with a reason."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from orchestrator.domain.amounts import PLACES, decimal_string
from orchestrator.domain.vocabulary import Engine
from outcomes.calibration import calibration
from outcomes.domain.assignment_check import (
    ALARM,
    FEWEST_EXPECTED,
    AssignmentCheck,
    AssignmentCode,
    assignment_check,
)
from outcomes.domain.autocorrelation import Autocorrelation, autocorrelation
from outcomes.domain.comparison import Estimate, estimate
from outcomes.domain.daily import (
    EXACT,
    Answers,
    DayOfAssignments,
    DayOfPairs,
    DayOfTrades,
    IncompletePairs,
    in_currency,
    in_r,
    wins,
)
from outcomes.domain.discordant import wins_more_often
from outcomes.domain.execution_cost import ExecutionCost, execution_cost
from outcomes.domain.performance import KINDS, performance
from outcomes.domain.series import BY_DAY, Series
from outcomes.domain.sharpe import DAYS_PER_YEAR, RISK_FREE_RATE
from outcomes.domain.sources import COMPARISON_SOURCES, PERFORMANCE_SOURCES
from outcomes.domain.trading_days import RULE
from outcomes.domain.undefined import Undefined
from outcomes.domain.verdict import verdict


@dataclass(frozen=True, slots=True)
class ComparedPairs:
    """What the comparison is made of; every sequence of days is in order.

    ``days`` on the synchronised exit, ``own_exit_days`` on each engine's own; ``executed`` holds (real, own twin) per engine.
    """

    days: Sequence[DayOfPairs] = ()
    own_exit_days: Sequence[DayOfPairs] = ()
    incomplete: IncompletePairs = field(default_factory=IncompletePairs)
    assignments: Sequence[DayOfAssignments] = ()
    executed: Mapping[str, Sequence[DayOfPairs]] = field(default_factory=dict)


def performance_figures(
    days: Mapping[tuple[str, str], Sequence[DayOfTrades]], answers: Mapping[tuple[str, str], Answers]
) -> dict[str, Any]:
    """Return the performance per engine and kind; the keys are (engine, kind), those without a trade may be absent."""
    return {
        "engines": {
            engine.value: {
                kind: performance(days.get((engine, kind), ()), answers.get((engine, kind), Answers())).as_json()
                for kind in KINDS
            }
            for engine in Engine
        },
        "method": {
            "risk_free_rate": str(RISK_FREE_RATE),
            "days_per_year": DAYS_PER_YEAR,
            "days": RULE,
            "sources": PERFORMANCE_SOURCES,
        },
    }


def comparison_figures(found: ComparedPairs, series: Series = BY_DAY, *, filtered: bool = False) -> dict[str, Any]:
    """Return whether one engine is better, and how sure that is. The verdict is in R, the same figures in currency follow.

    :param filtered: whether filters chose the pairs, which the promise of 95 % does not cover when they were tried in turn.
    """
    headline = estimate(in_r(found.days), series)
    judged = verdict(headline, unit="R")
    wins_found = wins_more_often(wins(found.days))
    checked, resemblance = assignment_check(found.assignments), autocorrelation(in_r(found.days), series)
    return {
        "verdict": {
            "code": judged.code,
            "sentence": judged.sentence,
            "days_needed": judged.needed.clusters_for_a_verdict,
            "pairs_needed": judged.needed.pairs_for_a_verdict,
            "needed": asdict(judged.needed),
        },
        "caveats": _caveats(found, resemblance, checked, filtered=filtered),
        "pairs": _pairs(found),
        "difference": _differences(found.days, series),
        "own_exits": {
            "note": "The same pairs where both engines reported an exit of their own, each closed at its own; not the verdict.",
            **_differences(found.own_exit_days, series),
        },
        "autocorrelation": _autocorrelation(resemblance),
        "wins_more_often": {
            "engine": wins_found.engine,
            "only_a_won": wins_found.only_a,
            "only_b_won": wins_found.only_b,
            "e_value": wins_found.e_value,
            "p_value": wins_found.p_value,
            "note": "Winning more often is not the same as being better.",
        },
        "assignment": asdict(checked),
        "execution_cost": _execution_cost(execution_cost(found.executed, series)),
        "calibration": calibration(),
        "method": {
            "alpha": series.alpha,
            "cluster": series.cluster,
            "horizon": series.horizon,
            "horizon_days": series.horizon_days,
            "fewest_days": series.fewest_clusters,
            "fewest_pairs": series.fewest_pairs,
            "smallest_difference": series.smallest_difference,
            "assignment_alarm": ALARM,
            "assignment_fewest_expected": FEWEST_EXPECTED,
            "sources": COMPARISON_SOURCES,
        },
    }


def estimate_figures(found: Estimate, *, money: bool) -> dict[str, Any]:
    """Return one estimate; ``money`` says that it is in currency, which is written as decimal strings."""

    def amount(value: Decimal | float | None) -> str | float | None:
        if value is None:
            return None
        return decimal_string(Decimal(value).quantize(PLACES, context=EXACT)) if money else float(value)

    return {
        "clusters": found.clusters,
        "days": found.days,
        "pairs": found.pairs,
        "mean": amount(found.mean),
        "standard_error": amount(found.standard_error),
        "interval": found.interval and [amount(end) for end in found.interval],
        "p_value": found.p_value,
        "first_clear": found.first_clear and found.first_clear.isoformat(),
        "clear_since": found.clear_since and found.clear_since.isoformat(),
        "code": found.undefined and found.undefined.code,
        "reason": found.undefined and found.undefined.reason,
    }


def _differences(days: Sequence[DayOfPairs], series: Series) -> dict[str, Any]:
    return {
        "R": estimate_figures(estimate(in_r(days), series), money=False),
        "currency": estimate_figures(estimate(in_currency(days), series), money=True),
    }


def _caveats(
    found: ComparedPairs, resemblance: Autocorrelation, checked: AssignmentCheck, *, filtered: bool
) -> list[str]:
    """Return, in sentences, what to know before the verdict is believed."""
    caveats = [resemblance.advice] if resemblance.advice else []
    if checked.code in {AssignmentCode.ALARM, AssignmentCode.BROKEN}:
        caveats.append(checked.sentence)
    if filtered:
        caveats.append(
            "Filters chose these pairs. The promise of the interval holds for one choice made beforehand; of many filters that are "
            "tried, some will show a difference by chance."
        )
    without_r = sum(day.pairs - day.pairs_in_r for day in found.days)
    if without_r:
        caveats.append(
            f"{without_r:,} complete pairs have no result in R, because the capital at risk is not known; they count in currency "
            "only, not in the verdict."
        )
    if found.incomplete.open:
        caveats.append(
            f"{found.incomplete.open:,} pairs are still open and count nowhere yet; if results that take long differ from quick "
            "ones, the difference will move when they close."
        )
    return caveats


def _pairs(found: ComparedPairs) -> dict[str, Any]:
    complete = sum(day.pairs for day in found.days)
    incomplete = found.incomplete
    return {
        "total": complete + incomplete.open + incomplete.void + incomplete.no_answer,
        "complete": complete,
        "complete_without_r": complete - sum(day.pairs_in_r for day in found.days),
        "passes": {
            "A": sum(day.passed_a for day in found.days),
            "B": sum(day.passed_b for day in found.days),
            "both": sum(day.passed_both for day in found.days),
        },
        "open": incomplete.open,
        "oldest_open_seconds": incomplete.oldest_open_seconds,
        "not_comparable": {"void": incomplete.void, "no_answer": incomplete.no_answer},
    }


def _autocorrelation(found: Autocorrelation) -> dict[str, Any]:
    undefined = found.lag_1 if isinstance(found.lag_1, Undefined) else None
    return {
        "lag_1": None if undefined else found.lag_1,
        "threshold": found.threshold,
        "advice": found.advice,
        "code": undefined and undefined.code,
        "reason": undefined and undefined.reason,
    }


def _execution_cost(found: ExecutionCost) -> dict[str, Any]:
    return {
        "separable": found.separable,
        "sentence": found.sentence,
        "engines": {
            engine.value: {
                "R": estimate_figures(found.in_r[engine], money=False),
                "currency": estimate_figures(found.in_currency[engine], money=True),
            }
            for engine in Engine
        },
    }
