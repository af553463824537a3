"""Engines that are Python objects, for tests: ``python:tests.python_engines:<factory>``."""

import asyncio
import json
import time
from hashlib import sha256
from typing import Any

from tests.engine_server import TERMS


class PlainEngine:
    """Answers at once, without waiting for anything."""

    def health(self) -> dict[str, str]:
        return {"status": "ok"}

    def recommend(self, body: bytes) -> dict[str, Any]:
        return {
            "experiment_id": json.loads(body)["experiment_id"],
            "input_hash": sha256(body).hexdigest(),
            "recommendation": TERMS,
            "reason": "",
        }

    def execution(self, key: str) -> tuple[int, dict[str, str]]:
        return 404, {"key": key}

    def close_shadow_trade(self, key: str, body: bytes) -> dict[str, Any]:
        return {"exit_price": "5", "key": key, "body": body.decode()}


class AsyncEngine(PlainEngine):
    async def recommend(self, body: bytes) -> dict[str, Any]:  # type: ignore[override]
        await asyncio.sleep(0.01)
        return PlainEngine.recommend(self, body)


class HangingEngine(PlainEngine):
    """Blocks whatever it runs on."""

    def recommend(self, body: bytes) -> dict[str, Any]:
        time.sleep(5)
        return {}

    async def execute(self, body: bytes) -> dict[str, Any]:
        time.sleep(5)
        return {}


class FaultyEngine(PlainEngine):
    def health(self) -> dict[str, str]:
        raise SystemExit(3)

    def recommend(self, body: bytes) -> dict[str, Any]:
        raise KeyError("no model")

    def execution(self, key: str) -> Any:
        return {"price": float("nan")}

    def execute(self) -> None:
        """Takes no body."""


def broken_factory() -> None:
    raise RuntimeError("no weights")
