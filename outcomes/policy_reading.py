"""The policies of a question, read from an address or a command line, every fault named."""

from collections.abc import Sequence

from config.problems import Fault, Refused, shown
from outcomes.domain.policy_rules import ACCEPTED, HypotheticalPolicy, UnreadablePolicy, read_policy

MOST_POLICIES = 10


def read_policies(texts: Sequence[str]) -> list[HypotheticalPolicy]:
    """Return the policies in their order.

    :raises Refused: naming each that cannot be read, or that there are none or too many.
    """
    if not 1 <= len(texts) <= MOST_POLICIES:
        accepted = f"1 to {MOST_POLICIES} policies, each {ACCEPTED}"
        raise Refused([Fault("policy", f"{len(texts)} policies", accepted)])
    policies, faults = [], []
    for text in texts:
        try:
            policies.append(read_policy(text))
        except UnreadablePolicy as error:
            faults.append(Fault("policy", shown(text), str(error)))
    if faults:
        raise Refused(faults)
    return policies
