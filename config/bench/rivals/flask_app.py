"""Flask and psycopg with a pool, for gunicorn's threads."""

import os

from flask import Flask, Response, abort, jsonify, request
from psycopg_pool import ConnectionPool

from config.bench.rivals.least import COLUMNS, values_of

INSERT = (
    f"INSERT INTO signals ({COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s) "  # noqa: S608
    "ON CONFLICT (signal_hash) DO NOTHING RETURNING signal_id"
)
pool = ConnectionPool(os.environ["DATABASE_URL"], min_size=8, max_size=8, open=True)
app = Flask(__name__)


@app.post("/webhooks/tradingview/<token>/")
def receive(token: str) -> Response:
    """Store one alert."""
    if token != os.environ["WEBHOOK_TOKEN"]:
        abort(404)
    values = values_of(request.get_data())
    with pool.connection() as connection:
        row = connection.execute(INSERT, values).fetchone()
    return jsonify(signal_id=str(values[0]), signal_hash=values[8], duplicate=row is None)
