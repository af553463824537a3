"""PURE: is engine A better than engine B, and how sure may we be? A paired comparison that stays honest under daily looks.

Every experiment is one pair: the result of A minus the result of B on one fill basis. Pairs that complete on one day share
that day's market, so days, not pairs, count as independent. The interval holds at all days at once, so it may be read every
morning without inflating the rate of false alarms; an ordinary t-test may not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from math import exp, lgamma, log, sqrt

from orchestrator.domain.vocabulary import Engine
from outcomes.domain.metrics import EXACT

ALPHA = 0.05
HORIZON_DAYS = 100
FEWEST_DAYS = 20
FEWEST_PAIRS = 30
LARGEST_LOG = 690.0  # exp() of it is still a finite float
LARGEST_WITH_DECIMALS = 1000
NOISE = Decimal("1e-50")  # relative to sums that are exact to 100 digits

SOURCES = {
    "pairs": "Shadow against shadow; the engine that executed contributes the twin of its real trade. A PASS counts 0.",
    "R": "P&L / capital at risk: the recommendation's max_loss, else premium x quantity x multiplier of a bought contract.",
    "standard_error": "Clustered by day of completion: Liang & Zeger 1986, with the factor G/(G-1).",
    "interval": (
        "Any-time-valid confidence sequence, t-mixture: Lindon, Ham, Tingley & Bojinov 2022; mixture scale after "
        "Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2021, tuned to 100 days, alpha 0.05."
    ),
    "p_value": "1 / the largest value of the same mixture e-process at the ends of days, from the first day with a verdict.",
    "wins_more_often": "Sequential McNemar: B(b+1, c+1) / 0.5^(b+c), a uniform mixture (Robbins 1970; McNemar 1947).",
}


class VerdictCode(StrEnum):
    TOO_EARLY = "TOO_EARLY"
    A_BETTER = "A_BETTER"
    B_BETTER = "B_BETTER"
    NOT_CLEAR = "NOT_CLEAR"
    NOT_MEASURABLE = "NOT_MEASURABLE"


@dataclass(frozen=True, slots=True)
class DayOfPairs:
    """The complete pairs of one day of completion: how many, and the sum of A minus B in one unit (R or currency)."""

    day: date
    pairs: int
    difference: Decimal


@dataclass(frozen=True, slots=True)
class DayOfWins:
    """The discordant pairs of one day: those in which only A made money, and those in which only B did."""

    day: date
    only_a: int
    only_b: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean difference per signal, A minus B, in the unit of its days; None is undefined, ``reason`` says why."""

    days: int
    pairs: int
    mean: Decimal | None
    standard_error: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The headline; ``days_needed`` and ``pairs_needed`` are what is missing before the first verdict, 0 afterwards."""

    code: VerdictCode
    sentence: str
    days_needed: int
    pairs_needed: int


@dataclass(frozen=True, slots=True)
class WinsMoreOften:
    """Who makes money more often, which is not the same as being better: rare large losses can outweigh it."""

    only_a: int
    only_b: int
    e_value: float
    p_value: float
    engine: Engine | None


def mixture_scale(*, alpha: float = ALPHA, horizon_days: int = HORIZON_DAYS) -> float:
    """Return rho^2 that makes the sequence tightest near ``horizon_days`` (Waudby-Smith et al. 2021)."""
    return (-2 * log(alpha) + log(1 - 2 * log(alpha))) / horizon_days


def half_width(
    standard_error: float, *, days: int, alpha: float = ALPHA, horizon_days: int = HORIZON_DAYS
) -> float | None:
    """Return half the width of the confidence sequence after ``days`` (at least 2) clusters, None while it is unbounded.

    R = 1 + G rho^2, nu = G - 1, w = (sqrt(R)/alpha)^(2/(nu+1)); SE sqrt(nu (w - 1)/(1 - w/R)) (Lindon et al. 2022).
    """
    freedom = days - 1
    growth = 1 + days * mixture_scale(alpha=alpha, horizon_days=horizon_days)
    reach = (sqrt(growth) / alpha) ** (2 / (freedom + 1))
    if freedom < 1 or reach >= growth:
        return None
    return standard_error * sqrt(freedom * (reach - 1) / (1 - reach / growth))


def log_e_value(t_squared: float, *, days: int, alpha: float = ALPHA, horizon_days: int = HORIZON_DAYS) -> float:
    """Return the logarithm of the evidence against "no difference" after ``days`` clusters.

    It reaches ln(1/alpha) exactly where the interval of ``half_width`` ends at 0.
    """
    freedom = days - 1
    growth = 1 + days * mixture_scale(alpha=alpha, horizon_days=horizon_days)
    ratio = (1 + t_squared / freedom) / (1 + t_squared / (freedom * growth))
    return (freedom + 1) / 2 * log(ratio) - log(growth) / 2


def estimate(days: Sequence[DayOfPairs]) -> Estimate:
    """Return the mean difference per signal over ``days`` (in order, one entry a day, each with at least one pair)."""
    if not days:
        return Estimate(0, 0, None, None, None, None, "No pair is complete yet.")
    evidence: list[float] = []
    for now in _running(days):
        if now.error and _enough(now.days, now.pairs):
            evidence.append(log_e_value((float(now.mean) / now.error) ** 2, days=now.days))
    if now.days == 1:
        return Estimate(now.days, now.pairs, now.mean, None, None, None, "One day alone does not show how days vary.")
    if not now.error:
        return Estimate(
            now.days, now.pairs, now.mean, None, None, None, "Every day has the same mean difference; nothing varies."
        )
    width, mean = half_width(now.error, days=now.days), float(now.mean)
    return Estimate(
        days=now.days,
        pairs=now.pairs,
        mean=now.mean,
        standard_error=now.error,
        interval=None if width is None else (mean - width, mean + width),
        p_value=exp(-max(0.0, *evidence)) if evidence else None,
        reason="Too few days: the interval is still unbounded." if width is None else None,
    )


def verdict(found: Estimate, *, unit: str) -> Verdict:
    """Return the verdict in one plain sentence; ``unit`` is how the differences are counted, such as "R"."""
    days_needed, pairs_needed = max(0, FEWEST_DAYS - found.days), max(0, FEWEST_PAIRS - found.pairs)
    if days_needed or pairs_needed:
        return Verdict(
            VerdictCode.TOO_EARLY,
            f"Too early to say: {_count(found.pairs, 'complete pair')} on {_count(found.days, 'day')} so far; a first "
            f"verdict needs {FEWEST_PAIRS} pairs on {FEWEST_DAYS} days, so {_missing(days_needed, pairs_needed)} to go.",
            days_needed,
            pairs_needed,
        )
    if found.interval is None or found.mean is None:
        return Verdict(VerdictCode.NOT_MEASURABLE, f"Not measurable: {found.reason}", 0, 0)
    low, high = found.interval
    average = f"per signal engine A earned {_amount(float(found.mean))} {unit} compared with engine B on average"
    sure = f"with 95 % confidence, however often one looks, the difference is between {_amount(low)} and {_amount(high)} {unit}"
    if low > 0:
        return Verdict(VerdictCode.A_BETTER, f"Engine A is better: {average}; {sure}.", 0, 0)
    if high < 0:
        return Verdict(VerdictCode.B_BETTER, f"Engine B is better: {average}; {sure}.", 0, 0)
    return Verdict(VerdictCode.NOT_CLEAR, f"No clear difference yet: {average}; {sure}.", 0, 0)


def wins_more_often(days: Sequence[DayOfWins]) -> WinsMoreOften:
    """Return the sequential McNemar test on discordant pairs, looked at after each of ``days`` (in order).

    ``e_value`` is the evidence now (at most 1e299), ``p_value`` 1 / the largest so far; ``engine`` is set at p <= 0.05.
    """
    only_a = only_b = 0
    strongest = now = 0.0
    for day in days:
        only_a, only_b = only_a + day.only_a, only_b + day.only_b
        now = _log_mcnemar(only_a, only_b)
        strongest = max(strongest, now)
    p_value = exp(-min(strongest, LARGEST_LOG))
    winner = (Engine.A if only_a > only_b else Engine.B) if p_value <= ALPHA and only_a != only_b else None
    return WinsMoreOften(only_a, only_b, exp(min(now, LARGEST_LOG)), p_value, winner)


@dataclass(frozen=True, slots=True)
class _Moment:
    """The comparison at the end of one day."""

    days: int
    pairs: int
    mean: Decimal
    error: float


def _running(days: Sequence[DayOfPairs]) -> Iterator[_Moment]:
    """Yield the mean and its day-clustered standard error after each day, in one pass over exact sums.

    SE^2 = G/(G-1) * sum over days of (S - n mean)^2 / N^2, S a day's sum and n its number of pairs (Liang & Zeger 1986).
    """
    pairs = 0
    total = squares = products = counts = Decimal(0)
    for number, day in enumerate(days, start=1):
        size = Decimal(day.pairs)
        pairs += day.pairs
        total = EXACT.add(total, day.difference)
        squares = EXACT.fma(day.difference, day.difference, squares)
        products = EXACT.fma(size, day.difference, products)
        counts = EXACT.fma(size, size, counts)
        mean = EXACT.divide(total, Decimal(pairs))
        spread = EXACT.fma(EXACT.multiply(mean, mean), counts, squares)
        spread = EXACT.subtract(spread, EXACT.multiply(EXACT.multiply(Decimal(2), mean), products))
        if number == 1 or spread <= EXACT.multiply(NOISE, squares):
            yield _Moment(number, pairs, mean, 0.0)
            continue
        variance = EXACT.divide(EXACT.multiply(spread, Decimal(number)), Decimal((number - 1) * pairs * pairs))
        yield _Moment(number, pairs, mean, float(EXACT.sqrt(variance)))


def _enough(days: int, pairs: int) -> bool:
    return days >= FEWEST_DAYS and pairs >= FEWEST_PAIRS


def _log_mcnemar(only_a: int, only_b: int) -> float:
    return lgamma(only_a + 1) + lgamma(only_b + 1) - lgamma(only_a + only_b + 2) + (only_a + only_b) * log(2)


def _amount(value: float) -> str:
    return f"{value:+,.0f}" if abs(value) >= LARGEST_WITH_DECIMALS else f"{value:+.3g}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _missing(days: int, pairs: int) -> str:
    wanted = [_count(number, noun) for number, noun in ((days, "day"), (pairs, "pair")) if number]
    return " and ".join(wanted)
