"""What must hold at every moment (DESIGN §7): each rule is one query that returns the rows that break it."""

from outcomes.invariant_rules.outcomes import OUTCOMES
from outcomes.invariant_rules.permits import PERMITS
from outcomes.invariant_rules.policies import POLICIES
from outcomes.invariant_rules.signals import HASHES, SIGNALS
from outcomes.invariant_rules.sql import Rule
from outcomes.invariant_rules.summaries import SUMMARIES
from outcomes.invariant_rules.trades import TRADES
from outcomes.invariant_rules.waiting import WAITING

RULES = (*SIGNALS, *HASHES, *POLICIES, *PERMITS, *TRADES, *OUTCOMES, *SUMMARIES, *WAITING)

__all__ = ["RULES", "Rule"]
