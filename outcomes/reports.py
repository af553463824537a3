"""The two reports: performance per engine and kind, and the paired comparison of the engines."""

from dataclasses import asdict
from decimal import Decimal
from typing import Any

from orchestrator.domain.amounts import PLACES, decimal_string
from orchestrator.domain.vocabulary import Engine
from outcomes.domain.comparison import (
    ALPHA,
    FEWEST_DAYS,
    FEWEST_PAIRS,
    HORIZON_DAYS,
    SOURCES,
    Estimate,
    estimate,
    verdict,
    wins_more_often,
)
from outcomes.domain.metrics import EXACT, KINDS, NOTHING_CLOSED, metrics
from outcomes.filters import ReportFilters
from outcomes.queries import Pairs, pairs, performance_sums

NO_FILTERS = ReportFilters()


def performance(filters: ReportFilters = NO_FILTERS) -> dict[str, Any]:
    """Return the performance of each engine, real, shadow and twin apart (requirements 5.2 to 5.4).

    "shadow" and "twin" follow the trade's purpose, which never changes: a twin whose permit ended without an execution
    is still counted as a twin. "real" holds every real fill, an unauthorised one too. Money as decimal strings, ratios
    as numbers, undefined is None.
    """
    sums = performance_sums(filters)
    return {
        "filters": filters.as_json(),
        "engines": {
            engine.value: {kind: metrics(sums.get((engine, kind), NOTHING_CLOSED)).as_json() for kind in KINDS}
            for engine in Engine
        },
    }


def comparison(filters: ReportFilters = NO_FILTERS) -> dict[str, Any]:
    """Return whether one engine is better, and how sure that is: pairs on one fill basis, A minus B.

    The verdict is in R, so that a large position does not outweigh many small ones; the same figures in currency follow.
    """
    found = pairs(filters)
    in_r, in_currency = estimate(found.in_r), estimate(found.in_currency)
    wins = wins_more_often(found.wins)
    return {
        "filters": filters.as_json(),
        "verdict": asdict(verdict(in_r, unit="R")),
        "pairs": _pairs_json(found),
        "difference": {"R": _estimate_json(in_r, money=False), "currency": _estimate_json(in_currency, money=True)},
        "wins_more_often": {
            "engine": wins.engine,
            "only_a_won": wins.only_a,
            "only_b_won": wins.only_b,
            "e_value": wins.e_value,
            "p_value": wins.p_value,
            "note": "Winning more often is not the same as being better.",
        },
        "method": {
            "alpha": ALPHA,
            "horizon_days": HORIZON_DAYS,
            "fewest_days": FEWEST_DAYS,
            "fewest_pairs": FEWEST_PAIRS,
            "sources": SOURCES,
        },
    }


def _pairs_json(found: Pairs) -> dict[str, Any]:
    return {
        "total": found.complete + found.open + found.void + found.no_answer,
        "complete": found.complete,
        "complete_without_r": found.complete - sum(day.pairs for day in found.in_r),
        "passes": {"A": found.passed_a, "B": found.passed_b, "both": found.passed_both},
        "open": found.open,
        "oldest_open_seconds": found.oldest_open_seconds,
        "not_comparable": {"void": found.void, "no_answer": found.no_answer},
    }


def _estimate_json(found: Estimate, *, money: bool) -> dict[str, Any]:
    def amount(value: Decimal | float | None) -> str | float | None:
        if value is None:
            return None
        if money:
            return decimal_string(Decimal(value).quantize(PLACES, context=EXACT))
        return float(value)

    return {
        "days": found.days,
        "pairs": found.pairs,
        "mean": amount(found.mean),
        "standard_error": amount(found.standard_error),
        "interval": found.interval and [amount(end) for end in found.interval],
        "p_value": found.p_value,
        "reason": found.reason,
    }
