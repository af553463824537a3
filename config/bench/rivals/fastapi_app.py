"""FastAPI and asyncpg with a pool, for uvicorn."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from fastapi import FastAPI, HTTPException, Request

from config.bench.rivals.least import COLUMNS, values_of

INSERT = (
    f"INSERT INTO signals ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, $11) "  # noqa: S608
    "ON CONFLICT (signal_hash) DO NOTHING RETURNING signal_id"
)


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """Keep a pool while the server runs."""
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=8, max_size=8) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=opened)


@app.post("/webhooks/tradingview/{token}/")
async def receive(token: str, request: Request) -> dict[str, Any]:
    """Store one alert."""
    if token != os.environ["WEBHOOK_TOKEN"]:
        raise HTTPException(404)
    values = values_of(await request.body())
    row = await app.state.pool.fetchrow(INSERT, *values)
    return {"signal_id": str(values[0]), "signal_hash": values[8], "duplicate": row is None}
