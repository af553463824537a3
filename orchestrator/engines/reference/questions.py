"""Questions and answers: an engine input is kept to the byte, answered once, and answered the same ever after."""

import json
import sqlite3
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

from orchestrator.domain.moments import moment_string, read_moment
from orchestrator.engines.reference.alerts import Alert, SeenPrice, read_alert
from orchestrator.engines.reference.events import record_event
from orchestrator.engines.reference.following import follow_positions
from orchestrator.engines.reference.ledger import Ledger
from orchestrator.engines.reference.plans import Plan, read_plan
from orchestrator.engines.reference.profiles import Profile

LONGEST_MEMORY = 60


class OtherQuestion(ValueError):
    """The same experiment was asked about before, with other bytes."""


def receive_question(profile: Profile, ledger: Ledger, body: bytes, *, at: datetime) -> str:
    """Keep a question and let the alert in it move the open trades of its symbol; return its experiment_id.

    A repeated question is counted and changes nothing.

    :raises UnreadableBody: when it is not an engine input.
    :raises OtherQuestion: when the experiment came with other bytes before.
    """
    alert, input_hash = read_alert(body), sha256(body).hexdigest()
    with ledger.transaction() as tx:
        known = tx.execute(
            "SELECT input_hash FROM questions WHERE experiment_id = ?", (alert.experiment_id,)
        ).fetchone()
        if known and known["input_hash"] != input_hash:
            raise OtherQuestion(f"experiment {alert.experiment_id} was asked about before, with other bytes")
        if known:
            tx.execute("UPDATE questions SET requests = requests + 1 WHERE experiment_id = ?", (alert.experiment_id,))
            return alert.experiment_id
        tx.execute(
            "INSERT INTO questions (experiment_id, body, input_hash, received_at, symbol, signal_at, price)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                alert.experiment_id,
                body,
                input_hash,
                moment_string(at),
                alert.symbol,
                moment_string(alert.at),
                None if alert.price is None else str(alert.price),
            ),
        )
        if alert.price is not None:
            follow_positions(
                tx, engine=profile.name, symbol=alert.symbol, spot=alert.price, market_time=alert.at, at=at
            )
    return alert.experiment_id


def answer_question(profile: Profile, ledger: Ledger, experiment_id: str, *, at: datetime) -> str:
    """Return the answer to a question received before: the stored one, else the one that is made and stored now.

    An engine that answers by event gets its event in the same transaction.
    """
    with ledger.transaction() as tx:
        stored = stored_answer(tx, experiment_id)
        if stored is not None:
            return stored
        question = tx.execute("SELECT * FROM questions WHERE experiment_id = ?", (experiment_id,)).fetchone()
        alert = read_alert(question["body"])
        decision = profile.decide(alert, _seen_before(tx, alert), today=at.date())
        plan = decision if isinstance(decision, Plan) else None
        answer = {
            "experiment_id": experiment_id,
            "input_hash": question["input_hash"],
            "recommendation": None if plan is None else plan.as_json(),
            "reason": decision.rationale if isinstance(decision, Plan) else decision.reason,
        }
        body = json.dumps(answer)
        tx.execute(
            "INSERT INTO answers (experiment_id, action, body, answered_at) VALUES (?, ?, ?, ?)",
            (experiment_id, "PASS" if plan is None else "OPEN", body, moment_string(at)),
        )
        if not profile.synchronous:
            record_event(
                tx,
                message_id=f"{profile.name}-recommendation-{experiment_id}",
                kind="recommendation.completed",
                data=answer,
                at=at,
            )
    return body


def stored_answer(ledger: sqlite3.Connection, experiment_id: str) -> str | None:
    """Return the answer given before, None when there is none yet."""
    found = ledger.execute("SELECT body FROM answers WHERE experiment_id = ?", (experiment_id,)).fetchone()
    return None if found is None else str(found["body"])


def own_recommendation(ledger: sqlite3.Connection, experiment_id: str) -> dict[str, Any] | None:
    """Return what this engine recommended for an experiment, None when it did not or passed."""
    stored = stored_answer(ledger, experiment_id)
    recommendation: dict[str, Any] | None = None if stored is None else json.loads(stored)["recommendation"]
    return recommendation


def own_plan(ledger: sqlite3.Connection, experiment_id: str) -> tuple[Plan, datetime] | None:
    """Return the plan recommended for an experiment and the market time it was made at."""
    recommendation = own_recommendation(ledger, experiment_id)
    if recommendation is None:
        return None
    question = ledger.execute("SELECT signal_at FROM questions WHERE experiment_id = ?", (experiment_id,)).fetchone()
    return read_plan(recommendation), read_moment(question["signal_at"], name="signal_at")


def unanswered(ledger: Ledger, *, received_until: datetime) -> list[str]:
    """Return the experiments asked about until then that have no answer yet, oldest first."""
    with ledger.transaction() as tx:
        rows = tx.execute(
            "SELECT experiment_id FROM questions LEFT JOIN answers USING (experiment_id)"
            " WHERE answers.experiment_id IS NULL AND received_at <= ? ORDER BY received_at, questions.rowid",
            (moment_string(received_until),),
        ).fetchall()
    return [row["experiment_id"] for row in rows]


def last_seen(ledger: sqlite3.Connection, symbol: str) -> SeenPrice | None:
    """Return the price of a symbol that came last."""
    row = ledger.execute(
        "SELECT signal_at, price FROM questions WHERE symbol = ? AND price IS NOT NULL ORDER BY rowid DESC LIMIT 1",
        (symbol,),
    ).fetchone()
    return None if row is None else SeenPrice(read_moment(row["signal_at"], name="signal_at"), Decimal(row["price"]))


def _seen_before(ledger: sqlite3.Connection, alert: Alert) -> list[SeenPrice]:
    """Return the prices of the symbol before the alert's own market time, oldest first, at most the last 60."""
    rows = ledger.execute(
        "SELECT signal_at, price FROM questions WHERE symbol = ? AND signal_at < ? AND price IS NOT NULL"
        " ORDER BY signal_at DESC, rowid DESC LIMIT ?",
        (alert.symbol, moment_string(alert.at), LONGEST_MEMORY),
    ).fetchall()
    return [SeenPrice(read_moment(row["signal_at"], name="signal_at"), Decimal(row["price"])) for row in reversed(rows)]
