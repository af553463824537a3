"""PURE: do the engines get the variant as often as the policy says? If not, something in the assignment is broken.

The variant is tested, never who executed: halts, outages and modes change who executes, but not the variant.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from math import exp, log

from outcomes.domain.daily import DayOfAssignments
from outcomes.domain.distributions import log_beta

ALARM = 0.01
FEWEST_EXPECTED = 8
LARGEST_LOG = 690.0  # exp() of it is still a finite float
EVERYTHING = 100


class AssignmentCode(StrEnum):
    """FITS: no sign of a fault; INVARIANT_ONLY: every share was 0 or 100, which leaves nothing to chance."""

    FITS = "FITS"
    ALARM = "ALARM"
    BROKEN = "BROKEN"
    TOO_FEW = "TOO_FEW"
    INVARIANT_ONLY = "INVARIANT_ONLY"


@dataclass(frozen=True, slots=True)
class AssignmentCheck:
    """``variant_…`` and ``expected_…`` count the experiments left to chance (shares 1 to 99), expectations summed over policy
    versions; ``certain`` those under a share of 0 or 100, ``misassigned`` those of them with the wrong variant.

    ``e_value`` is the evidence now (at most 1e299), ``p_value`` 1 / the largest so far, None with nothing to test.
    """

    code: AssignmentCode
    sentence: str
    variant_a: int
    variant_b: int
    expected_a: float
    expected_b: float
    certain: int
    misassigned: int
    e_value: float | None
    p_value: float | None


def assignment_check(days: Sequence[DayOfAssignments]) -> AssignmentCheck:
    """Return whether the variants fit the shares, looked at after each day; ``days`` are in order, several shares a day may be.

    Policy versions with the same share are one stream; the evidence of streams is multiplied, which keeps it a fair bet
    under the policy at all times. A share of 0 or 100 is an invariant, not a test.
    """
    counts: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
    certain = misassigned = 0
    strongest = now = 0.0
    for _, of_day in groupby(days, key=lambda day: day.day):
        for day in of_day:
            if day.share in {0, EVERYTHING}:
                certain += day.variant_a + day.variant_b
                misassigned += day.variant_a if day.share == 0 else day.variant_b
            else:
                counts[day.share][0] += day.variant_a
                counts[day.share][1] += day.variant_b
        now = _evidence(counts)
        strongest = max(strongest, now)
    return _judged(counts, certain=certain, misassigned=misassigned, now=now, strongest=strongest)


def log_beta_binomial(variant_a: int, variant_b: int, *, share: float, prior: tuple[float, float] = (1, 1)) -> float:
    """Return the logarithm of the evidence that A's share is not ``share`` (strictly between 0 and 1).

    B(p + a, q + b) / B(p, q) / (share^a (1 - share)^b), ``prior`` (p, q) uniform (Lindon & Malek 2020, for two arms).
    """
    chance = log_beta(prior[0] + variant_a, prior[1] + variant_b) - log_beta(*prior)
    return chance - variant_a * log(share) - variant_b * log(1 - share)


def _evidence(counts: dict[int, list[int]]) -> float:
    return sum(log_beta_binomial(a, b, share=share / EVERYTHING) for share, (a, b) in counts.items())


def _judged(
    counts: dict[int, list[int]], *, certain: int, misassigned: int, now: float, strongest: float
) -> AssignmentCheck:
    variant_a, variant_b = (sum(arms[arm] for arms in counts.values()) for arm in (0, 1))
    expected_a = sum(sum(arms) * share for share, arms in counts.items()) / EVERYTHING
    expected_b = variant_a + variant_b - expected_a
    p_value = exp(-min(strongest, LARGEST_LOG)) if counts else None
    if misassigned:
        code = AssignmentCode.BROKEN
        sentence = f"Broken: {misassigned} experiments have the variant that a share of 0 or 100 rules out."
    elif p_value is None:
        code = AssignmentCode.INVARIANT_ONLY
        sentence = "Nothing was left to chance: every share was 0 or 100, and every variant is the one it demands."
    elif min(expected_a, expected_b) < FEWEST_EXPECTED:
        code = AssignmentCode.TOO_FEW
        sentence = f"Too few: the check needs {FEWEST_EXPECTED} expected for each engine."
    elif p_value < ALARM:
        code = AssignmentCode.ALARM
        sentence = (
            f"Alarm: engine A is the variant {variant_a:,} times where {expected_a:,.1f} were expected. Trust no comparison by "
            "variant until it is known why."
        )
    else:
        code = AssignmentCode.FITS
        sentence = f"The assignment fits: engine A is the variant {variant_a:,} times, {expected_a:,.1f} were expected."
    return AssignmentCheck(
        code=code,
        sentence=sentence,
        variant_a=variant_a,
        variant_b=variant_b,
        expected_a=expected_a,
        expected_b=expected_b,
        certain=certain,
        misassigned=misassigned,
        e_value=exp(min(now, LARGEST_LOG)) if counts else None,
        p_value=p_value,
    )
