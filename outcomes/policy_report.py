"""The report "what would we have earned under …": policies that were not in force, tried on the record of those that were."""

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from orchestrator.domain.amounts import PLACES, decimal_string
from outcomes.domain.comparison import Estimate, estimate
from outcomes.domain.daily import EXACT
from outcomes.domain.policy_rules import HypotheticalPolicy
from outcomes.domain.policy_value import RecordedExperiment, Valued, by_day, effective_size, value
from outcomes.domain.series import BY_DAY, Series
from outcomes.figures import estimate_figures
from outcomes.filters import ReportFilters
from outcomes.policy_record import MOST_EXPERIMENTS, Record, read_record
from outcomes.snapshot import one_snapshot

CAVEATS = {
    "fills": "Plug-in figures take simulated fills at the recommended prices for real ones: slippage and fees are not in them. "
    "The doubly robust figures hold them, where the record allows it.",
    "exits": "Followers left with the trade that led. Under another policy another trade would have led and perhaps left at another "
    "time; own_exits compares each engine at its own exit, where both reported one.",
    "market": "The orders of another policy would have met the market at other sizes and times; that is on no record.",
    "chosen": "A policy that was chosen because it looked best on this record will look better on it than it is. Where several "
    "are compared, only the held-out half counts.",
    "doubly_robust": "Real results count with the inverse probability of having executed. Known probabilities come from the hash "
    "of each signal; where the mode left no chance, only what would have executed anyway can be corrected.",
}
FEWEST_DAYS_TO_HALVE = 4


def policy_report(
    policies: Sequence[HypotheticalPolicy], filters: ReportFilters, series: Series = BY_DAY
) -> dict[str, Any]:
    """Return what each policy would have earned, paired against what ran, each difference with its interval.

    Per signal: policy minus what ran, so that above 0 the policy would have been better.
    """
    with one_snapshot():
        record = read_record(filters)
    return {
        "filters": filters.as_json(),
        "record": {
            "experiments": len(record.in_currency),
            "without_r": len(record.in_currency) - len(record.in_r),
            "not_complete": record.not_complete,
            "days": len({one.day for one in record.in_currency}),
            "cut": f"Only the first {MOST_EXPERIMENTS:,} experiments were read; narrow the period."
            if record.is_cut
            else None,
        },
        "policies": [_one(policy, record, series) for policy in policies],
        "held_out": _held_out(policies, record.in_r, series) if len(policies) > 1 else None,
        "caveats": CAVEATS,
    }


def _one(policy: HypotheticalPolicy, record: Record, series: Series) -> dict[str, Any]:
    money = [value(one, policy) for one in record.in_currency]
    in_r = [value(one, policy) for one in record.in_r]
    own = [value(one, policy) for one in record.own_exits]
    robust = [one for one in money if one.doubly_robust is not None]
    return {
        "policy": policy.text,
        "plug_in": {
            "would_have_earned": _money(sum((one.policy for one in money), start=Decimal(0))),
            "ran_simulated": _money(sum((one.ran for one in money), start=Decimal(0))),
            "difference": _both(in_r, money, _plug_in, series),
        },
        "doubly_robust": {
            "experiments": len(robust),
            "left_out": len(money) - len(robust),
            "effective_experiments": effective_size([one.weight for one in robust]),
            "difference": _both(in_r, money, _robust, series),
        },
        "own_exits": {"experiments": len(own), "difference": {"R": _figures(own, _plug_in, series, money=False)}},
        "sentence": _sentence(policy, _estimate(in_r, _plug_in, series)),
    }


def _held_out(
    policies: Sequence[HypotheticalPolicy], experiments: Sequence[RecordedExperiment], series: Series
) -> dict[str, Any]:
    """Choose the best policy on the earlier half of the days and judge it on the later one, which had no say in the choice."""
    days = sorted({one.day for one in experiments})
    if len(days) < FEWEST_DAYS_TO_HALVE:
        return {"sentence": f"Too few days to hold a half out: {len(days)} of at least {FEWEST_DAYS_TO_HALVE}."}
    first_held_out: date = days[len(days) // 2]
    earlier = [one for one in experiments if one.day < first_held_out]
    later = [one for one in experiments if one.day >= first_held_out]

    def mean(policy: HypotheticalPolicy) -> Decimal:
        return sum((value(one, policy).plug_in for one in earlier), start=Decimal(0))

    best = max(policies, key=mean)
    judged = _estimate([value(one, best) for one in later], _plug_in, series)
    chosen_on = _estimate([value(one, best) for one in earlier], _plug_in, series)
    return {
        "chosen": best.text,
        "chosen_before": first_held_out.isoformat(),
        "on_the_half_it_was_chosen_on": estimate_figures(chosen_on, money=False),
        "on_the_held_out_half": estimate_figures(judged, money=False),
        "sentence": "On the held-out half: " + _sentence(best, judged),
    }


Difference = Callable[[Valued], Decimal | None]


def _plug_in(valued: Valued) -> Decimal:
    return valued.plug_in


def _robust(valued: Valued) -> Decimal | None:
    return valued.doubly_robust


def _both(in_r: Sequence[Valued], money: Sequence[Valued], of: Difference, series: Series) -> dict[str, Any]:
    return {"R": _figures(in_r, of, series, money=False), "currency": _figures(money, of, series, money=True)}


def _figures(values: Sequence[Valued], of: Difference, series: Series, *, money: bool) -> dict[str, Any]:
    return estimate_figures(_estimate(values, of, series), money=money)


def _estimate(values: Sequence[Valued], of: Difference, series: Series) -> Estimate:
    return estimate(by_day([(one.day, found) for one in values if (found := of(one)) is not None]), series)


def _sentence(policy: HypotheticalPolicy, found: Estimate) -> str:
    if found.mean is None:
        return f"{policy.text}: nothing is known, no experiment of the period is complete."
    average = f"{policy.text}: {float(found.mean):+.3g} R per signal against what ran, by simulated fills"
    if found.interval is None:
        return f"{average}; too early for an interval."
    low, high = found.interval
    sure = f"with {1 - found.series.alpha:.0%} confidence between {low:+.3g} and {high:+.3g} R"
    verdict = "better" if low > 0 else "worse" if high < 0 else "not clearly different"
    return f"{average}; {sure}: {verdict}."


def _money(amount: Decimal) -> str:
    return decimal_string(amount.quantize(PLACES, context=EXACT))
