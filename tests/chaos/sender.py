"""The sender: posts alerts as TradingView does, and writes down on its own disk which of them were accepted.

``python -m tests.chaos.sender URL LEDGER SIGNALS SECONDS SEED``. A 5xx or a failed connection is sent again, nothing else is.
"""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import httpx2

from tests.chaos.drawing import draw
from tests.chaos.ledger import Ledger

IN_FLIGHT = 16
TRIES = 8
LONGEST_PAUSE_SECONDS = 4.0


async def send(client: httpx2.AsyncClient, url: str, ledger: Ledger, number: int, *, seed: int) -> None:
    """Post one alert until it is accepted or given up."""
    body = json.dumps(
        {
            "ticker": "SPY",
            "action": "buy" if draw(seed, "side", number) < 0.7 else "sell",
            "interval": "5",
            "time": datetime.now(UTC).isoformat(),
            "close": 589.12,
            "n": number,
        }
    )
    for attempt in range(1, TRIES + 1):
        status = 0
        try:
            answer = await client.post(url, content=body)
            status = answer.status_code
        except httpx2.TimeoutException:
            ledger.write("unanswered", number=number)  # TradingView does not send it again
            return
        except httpx2.HTTPError:
            pass
        if status == HTTPStatus.OK:
            ledger.write(
                "accepted", fsync=True, number=number, signal_hash=answer.json()["signal_hash"], attempt=attempt
            )
            return
        if status and status < HTTPStatus.INTERNAL_SERVER_ERROR:
            break
        await asyncio.sleep(min(0.25 * 2**attempt, LONGEST_PAUSE_SECONDS))
    ledger.write("given up", number=number, status=status)


async def run(url: str, ledger: Ledger, signals: int, seconds: float, seed: int) -> None:
    began = time.monotonic()
    places = asyncio.Semaphore(IN_FLIGHT)
    async with httpx2.AsyncClient(timeout=10, trust_env=False) as client, asyncio.TaskGroup() as group:

        async def one(number: int) -> None:
            try:
                await send(client, url, ledger, number, seed=seed)
            finally:
                places.release()

        for number in range(1, signals + 1):
            await asyncio.sleep(max(0.0, began + seconds * number / signals - time.monotonic()))
            await places.acquire()
            if time.monotonic() > began + seconds * 1.15 + 5:
                places.release()
                break
            group.create_task(one(number))
    ledger.write("done", fsync=True)


if __name__ == "__main__":
    url, path, signals, seconds, seed = sys.argv[1:]
    asyncio.run(run(url, Ledger(Path(path)), int(signals), float(seconds), int(seed)))
