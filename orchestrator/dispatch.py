"""Asking the engines: many questions in flight on one event loop, in a thread that never touches the database.

The worker's thread claims, this thread talks, and what comes back waits in the outbox until the worker records it.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from config.environment import EngineSettings
from orchestrator.domain.vocabulary import Engine
from orchestrator.engines.connect import connect
from orchestrator.engines.protocol import Engine as EngineClient
from orchestrator.engines.protocol import NoAnswer, NotSent, Reply, Request, Unless, nothing_against

CLOSE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back for one piece of work. ``latency`` in seconds, ``received`` on this process's monotonic clock."""

    work: object
    engine: Engine
    outcome: Reply | NotSent | NoAnswer
    received: float
    latency: float

    def seconds_ago(self) -> float:
        """Return how long ago it came; the database clock less this is when, by the one clock that counts."""
        return time.monotonic() - self.received


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
        unless: Unless = nothing_against,
    ) -> None:
        """Send one request; its outcome appears in ``results``.

        :param timeout: seconds for the whole exchange.
        :param unless: asked at the last moment before the request is written; a reason means that nothing is sent.
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
            given_up = asyncio.all_tasks() - {asyncio.current_task()}
            for task in given_up:
                task.cancel()
            await asyncio.wait_for(asyncio.gather(*given_up, return_exceptions=True), CLOSE_SECONDS)
            for client in self._clients.values():
                await client.close()

        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(shut_down(), self._loop).result(timeout=2 * CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    def _submit(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _exchange(
        self, work: object, engine: Engine, request: Request, *, timeout: float, unless: Unless
    ) -> None:
        started = time.monotonic()
        outcome: Reply | NotSent | NoAnswer
        try:
            reason = unless()  # before anything is connected, and again by the client when it is
            client = self._clients[engine]
            outcome = NotSent(reason) if reason else await client.send(request, timeout=timeout, unless=unless)
        except (NotSent, NoAnswer) as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - the worker must hear of it, whatever it was
            outcome = NoAnswer(f"{type(error).__name__}: {error}")
        received = time.monotonic()
        self.results.put(Answered(work, engine, outcome, received, received - started))
