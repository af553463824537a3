"""From an engine's settings to the engine."""

from config.environment import EngineSettings
from orchestrator.engines.http import HttpEngine
from orchestrator.engines.protocol import Engine, NotSent, Reply, Request, Unless, nothing_against
from orchestrator.engines.python import PythonEngine


class MissingEngine:
    """An engine without an address: unavailable, and nothing can be sent to it."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def send(self, request: Request, *, timeout: float, unless: Unless = nothing_against) -> Reply:
        raise NotSent(f"engine {self._name} has no address; set ENGINE_{self._name}_URL")

    async def close(self) -> None:
        """Nothing is held open."""


def connect(settings: EngineSettings) -> Engine:
    """Return the engine that ``settings`` describe."""
    if not settings.url:
        return MissingEngine(settings.name)
    if settings.url.startswith("python:"):
        return PythonEngine(settings)
    return HttpEngine(settings)
