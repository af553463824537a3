"""The tables of the orchestrator, by what they are about."""

from orchestrator.models.database import DatabaseIdentity
from orchestrator.models.engines import EngineCall, EngineEvent, EngineHealth, Recommendation, WorkerHeartbeat
from orchestrator.models.experiments import Experiment
from orchestrator.models.incidents import Incident, IncidentNotification
from orchestrator.models.market import MarketContext, MarketQuote
from orchestrator.models.permits import ExecutionPermit
from orchestrator.models.policies import ExecutionPolicy, PolicyRevision
from orchestrator.models.proofs import EngineProof, EngineTrial
from orchestrator.models.repeats import RepeatedQuestion
from orchestrator.models.trades import RealTrade, ShadowTrade

__all__ = [
    "DatabaseIdentity",
    "EngineCall",
    "EngineEvent",
    "EngineHealth",
    "EngineProof",
    "EngineTrial",
    "ExecutionPermit",
    "ExecutionPolicy",
    "Experiment",
    "Incident",
    "IncidentNotification",
    "MarketContext",
    "MarketQuote",
    "PolicyRevision",
    "RealTrade",
    "Recommendation",
    "RepeatedQuestion",
    "ShadowTrade",
    "WorkerHeartbeat",
]
