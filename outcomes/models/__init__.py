"""The tables of this app."""

from outcomes.models.outcomes import ExitSync, Outcome, RealTradeOutcome, ShadowTradeOutcome
from outcomes.models.summaries import (
    ChangedDay,
    ChangedPair,
    DailyExperiments,
    DailyPairs,
    DailyResult,
    DailyTrades,
    Pair,
    ReportSlice,
)

__all__ = [
    "ChangedDay",
    "ChangedPair",
    "DailyExperiments",
    "DailyPairs",
    "DailyResult",
    "DailyTrades",
    "ExitSync",
    "Outcome",
    "Pair",
    "RealTradeOutcome",
    "ReportSlice",
    "ShadowTradeOutcome",
]
