"""The orchestrator's tables in the admin; experiments are registered by ``outcomes``, whose trace their page shows."""

from orchestrator.admin import engines, incidents, market, permits, policies, trades
from orchestrator.panel import admin as panel

__all__ = ["engines", "incidents", "market", "panel", "permits", "policies", "trades"]
