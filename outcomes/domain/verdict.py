"""PURE: the headline of the comparison in one plain sentence."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from outcomes.domain.comparison import Estimate
from outcomes.domain.planning import Needed, needed

LARGEST_WITH_DECIMALS = 1000


class VerdictCode(StrEnum):
    TOO_EARLY = "TOO_EARLY"
    A_BETTER = "A_BETTER"
    B_BETTER = "B_BETTER"
    NOT_CLEAR = "NOT_CLEAR"
    NOT_MEASURABLE = "NOT_MEASURABLE"


@dataclass(frozen=True, slots=True)
class Verdict:
    code: VerdictCode
    sentence: str
    needed: Needed


def verdict(found: Estimate, *, unit: str) -> Verdict:
    """Return the verdict on ``found``; ``unit`` is how its differences are counted, such as "R"."""
    missing = needed(found)
    code = _code(found, missing)
    return Verdict(code, _SENTENCES[code](found, missing, unit), missing)


def _code(found: Estimate, missing: Needed) -> VerdictCode:
    if missing.clusters_for_a_verdict or missing.pairs_for_a_verdict:
        return VerdictCode.TOO_EARLY
    if found.interval is None:
        return VerdictCode.NOT_MEASURABLE
    low, high = found.interval
    if low > 0:
        return VerdictCode.A_BETTER
    return VerdictCode.B_BETTER if high < 0 else VerdictCode.NOT_CLEAR


def _too_early(found: Estimate, missing: Needed, unit: str) -> str:
    series, noun = found.series, found.series.cluster.noun
    lacking = [
        _count(number, name)
        for number, name in ((missing.clusters_for_a_verdict, noun), (missing.pairs_for_a_verdict, "complete pair"))
        if number
    ]
    return (
        f"Too early to say: {_count(found.pairs, 'complete pair')} on {_count(found.clusters, noun)} so far; a first verdict "
        f"needs {series.fewest_pairs} on {_count(series.fewest_clusters, noun)}, so {' and '.join(lacking)} to go."
        + _projection(found, missing, unit)
    )


def _not_clear(found: Estimate, missing: Needed, unit: str) -> str:
    once = ""
    if found.first_clear:
        once = (
            f" On {found.first_clear} it had been clear and no longer is: the difference may be changing, so look at it over "
            "time before you trust either."
        )
    return f"No clear difference yet: {_figures(found, unit)}.{once}" + _projection(found, missing, unit)


def _projection(found: Estimate, missing: Needed, unit: str) -> str:
    if found.standard_error is None:
        return ""
    difference = f"a difference of {missing.smallest_difference:g} {unit} per signal"
    clusters, pairs = missing.clusters_for_the_difference, missing.pairs_for_the_difference
    if clusters is None or pairs is None:
        return f" At today's spread {difference} could not be seen in any useful time."
    if clusters == 0:
        return f" {difference[0].upper()}{difference[1:]} would probably have been seen by now."
    return (
        f" At today's spread and pace, seeing {difference} ({_percent(missing.power)} of the time) takes about "
        f"{_count(clusters, f'more {found.series.cluster.noun}')} and {_count(pairs, 'more signal')}."
    )


def _figures(found: Estimate, unit: str) -> str:
    low, high = found.interval or (0.0, 0.0)
    return (
        f"per signal engine A earned {_amount(float(found.mean or 0))} {unit} compared with engine B on average; with "
        f"{_percent(1 - found.series.alpha)} confidence, however often one looks, the difference is between {_amount(low)} and "
        f"{_amount(high)} {unit}"
    )


_SENTENCES: dict[VerdictCode, Callable[[Estimate, Needed, str], str]] = {
    VerdictCode.TOO_EARLY: _too_early,
    VerdictCode.A_BETTER: lambda found, _, unit: f"Engine A is better: {_figures(found, unit)}.",
    VerdictCode.B_BETTER: lambda found, _, unit: f"Engine B is better: {_figures(found, unit)}.",
    VerdictCode.NOT_CLEAR: _not_clear,
    VerdictCode.NOT_MEASURABLE: lambda found, *_: (
        f"Not measurable: {found.undefined.reason if found.undefined else ''}"
    ),
}


def _amount(value: float) -> str:
    return f"{value:+,.0f}" if abs(value) >= LARGEST_WITH_DECIMALS else f"{value:+.3g}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
