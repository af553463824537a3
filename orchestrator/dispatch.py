"""Asking the engines: many questions in flight on one event loop, in a thread that never touches the database.

The worker's thread claims, this thread talks, and what comes back waits in the outbox until the worker records it.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any

from config.environment import EngineSettings
from orchestrator.domain.vocabulary import Engine
from orchestrator.engines.connect import connect
from orchestrator.engines.protocol import Engine as EngineClient
from orchestrator.engines.protocol import NoAnswer, NotSent, Reply, Request


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back for one piece of work. ``latency`` in seconds."""

    work: object
    engine: Engine
    outcome: Reply | NotSent | NoAnswer
    received_at: datetime
    latency: float


class Wake:
    """Something may be due: look now rather than at the next poll."""


class Dispatcher:
    """The event loop, the clients of both engines, and what is in flight."""

    def __init__(self, engines: dict[str, EngineSettings]) -> None:
        self.results: SimpleQueue[Answered | Wake] = SimpleQueue()
        self.in_flight: Counter[Engine] = Counter()
        self._clients: dict[Engine, EngineClient] = {Engine(name): connect(found) for name, found in engines.items()}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="dispatch", daemon=True)
        self._thread.start()

    def ask(
        self,
        work: object,
        engine: Engine,
        request: Request,
        *,
        timeout: float,
        unless: Callable[[], str] = lambda: "",
    ) -> None:
        """Send one request; its outcome appears in ``results``.

        :param timeout: seconds for the whole exchange.
        :param unless: asked at the last moment; a reason that it returns means that nothing is sent.
        """
        self.in_flight[engine] += 1
        self._submit(self._exchange(work, engine, request, timeout=timeout, unless=unless))

    def finish(self, answer: Answered) -> None:
        """Count an answer as taken out of flight."""
        self.in_flight[answer.engine] -= 1

    def wake(self) -> None:
        """Let whoever waits for results look around."""
        self.results.put(Wake())

    def close(self) -> None:
        """Close the connections and end the thread; what is still in flight is given up."""

        async def shut_down() -> None:
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            for client in self._clients.values():
                await client.close()

        asyncio.run_coroutine_threadsafe(shut_down(), self._loop).result(timeout=5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)

    def _submit(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _exchange(
        self, work: object, engine: Engine, request: Request, *, timeout: float, unless: Callable[[], str]
    ) -> None:
        started = time.monotonic()
        outcome: Reply | NotSent | NoAnswer
        try:
            reason = unless()
            outcome = NotSent(reason) if reason else await self._clients[engine].send(request, timeout=timeout)
        except (NotSent, NoAnswer) as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - the worker must hear of it, whatever it was
            outcome = NoAnswer(f"{type(error).__name__}: {error}")
        self.results.put(Answered(work, engine, outcome, datetime.now(UTC), time.monotonic() - started))
