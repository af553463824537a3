"""The protocol with one rule left out: each must be found guilty, and the shortest way to the harm is kept in words.

``python -m tests.model.variants > tests/model/traces.txt`` writes the traces anew.
"""

import sys
from typing import NamedTuple

from tests.model.checker import Finding, explore
from tests.model.judgement import (
    AFTER_HALT,
    BESIDE,
    CONTRADICTED,
    DOUBLE,
    DROPPED,
    FALSE,
    HALTED,
    STUCK,
    TWO_EXITS,
    UNSTORED,
)
from tests.model.settings import Lie, Rule, Setting

# without halts where they have no part in the harm, for they only shorten the way of an order to the wire
HALTS = Setting()
NOTHING = Setting(halts=False)
ASKABLE = NOTHING._replace(queryable=True, honours=True)
DEDUPLICATES = NOTHING._replace(idempotent=True)
FORGETFUL = ASKABLE._replace(lies=frozenset({Lie.FORGETS}))
ROGUE = HALTS._replace(lies=frozenset({Lie.ROGUE}))
MISTAKEN = NOTHING._replace(lies=frozenset({Lie.MISTAKEN}))
EXITS = NOTHING._replace(exits=True)


class Variant(NamedTuple):
    """What somebody might have built instead, and the harm that it does."""

    words: str
    rule: Rule
    setting: Setting
    harm: str


NAIVE = (
    Variant("call first, record after", Rule.RECORD_BEFORE_CALLING, NOTHING, DOUBLE),
    Variant("retry on a time-out", Rule.TIME_OUT_IS_UNKNOWN, NOTHING, DOUBLE),
    Variant("send again after a lease was lost", Rule.LOST_LEASE_IS_UNKNOWN, NOTHING, DOUBLE),
    Variant('"not found" taken as proof', Rule.NOT_FOUND_NEEDS_PROOF, NOTHING._replace(queryable=True), FALSE),
    Variant("save without compare-and-set", Rule.COMPARE_AND_SET, NOTHING, DOUBLE),
    Variant("failover of the permit to the other engine", Rule.NO_FAILOVER, NOTHING, DOUBLE),
)
WITHOUT_A_GUARD = (
    Variant("arm without waiting for the disk", Rule.WAIT_FOR_THE_DISK, NOTHING, DOUBLE),
    Variant("record intents without the fence", Rule.FENCE_INTENTS, NOTHING, DOUBLE),
    Variant("repeat to an engine that does not deduplicate", Rule.RESEND_ONLY_TO_IDEMPOTENT, NOTHING, DOUBLE),
    Variant('believe "not found" from not_after on, without the margin', Rule.ASKED_AFTER_THE_MARGIN, ASKABLE, FALSE),
    Variant('judge "not found" by the time of the answer', Rule.JUDGE_BY_ASKING, ASKABLE, FALSE),
    Variant("believe the refusal of a repetition", Rule.REFUSED_RETRY_PROVES_NOTHING, DEDUPLICATES, FALSE),
    Variant(
        "believe the refusal of the first attempt after a repetition",
        Rule.REFUSED_FIRST_PROVES_NOTHING_AFTER_A_RETRY,
        DEDUPLICATES,
        FALSE,
    ),
    Variant(
        "believe a refusal that comes by event after a repetition",
        Rule.REFUSAL_BY_EVENT_PROVES_NOTHING_AFTER_A_RETRY,
        DEDUPLICATES,
        FALSE,
    ),
    Variant("send without a last look at the clock", Rule.LOOK_AT_THE_CLOCK_BEFORE_SENDING, NOTHING, FALSE),
    Variant("look at the halt before arming, not in it", Rule.HALT_IN_THE_SAME_STATEMENT, HALTS, HALTED),
    Variant("commit a halt without waiting for what may still leave", Rule.HALT_WAITS, HALTS, AFTER_HALT),
    Variant("arm beside a real trade that is recorded already", Rule.NO_ORDER_BESIDE_A_TRADE, ROGUE, BESIDE),
    Variant(
        'believe "never seen" by a copy of the row that knows of no acceptance',
        Rule.ACCEPTANCE_AS_RECORDED,
        FORGETFUL,
        CONTRADICTED,
    ),
    Variant(
        'drop an acceptance that comes after "never seen"',
        Rule.ACCEPTANCE_AFTER_THE_END_IS_A_CONFLICT,
        FORGETFUL,
        DROPPED,
    ),
    Variant("drop a fill that comes after the end", Rule.LATE_FILL_IS_STORED, MISTAKEN, UNSTORED),
    Variant("apply an exit without looking again under the lock", Rule.EXIT_ONCE, EXITS, TWO_EXITS),
    Variant("forget the exits that wait", Rule.WAITING_EXIT_IS_LOOKED_AT_AGAIN, EXITS, STUCK),
)


def harm_of(variant: Variant) -> Finding | None:
    """Return the shortest way to the harm that a variant does, None when it does none."""
    setting = variant.setting._replace(without=frozenset({variant.rule}))
    return explore(setting, until=variant.harm, liveness=variant.harm == STUCK).of(variant.harm)


def told(variant: Variant, finding: Finding | None) -> str:
    """Return the variant and its trace as it is kept."""
    return f"{variant.words} (engine: {variant.setting})\n{finding}\n"


if __name__ == "__main__":
    sys.stdout.write("\n".join(told(one, harm_of(one)) for one in (*NAIVE, *WITHOUT_A_GUARD)))
