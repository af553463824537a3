"""The sample alerts: made again they are the same file, and on them the reference engines trade, differ and finish."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from orchestrator.domain.engine_input import SignalFacts, Snapshot, build_engine_input
from orchestrator.engines.reference.executions import execute_permit
from orchestrator.engines.reference.ledger import Ledger
from orchestrator.engines.reference.profiles import PROFILES, Profile
from orchestrator.engines.reference.questions import answer_question, receive_question
from orchestrator.samples.make_alerts import ALERTS_FILE, alerts_text

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
ALERTS: list[dict[str, Any]] = [json.loads(line) for line in ALERTS_FILE.read_text().splitlines()]
Answers = list[dict[str, Any]]


def test_the_same_prices_make_the_same_alerts_to_the_byte() -> None:
    assert alerts_text() == ALERTS_FILE.read_text()


def test_there_are_enough_alerts_each_different_in_the_order_of_time() -> None:
    assert len(ALERTS) >= 500
    assert len({json.dumps(alert) for alert in ALERTS}) == len(ALERTS)
    assert all(before["time"] <= after["time"] for before, after in pairwise(ALERTS))
    assert {alert["ticker"] for alert in ALERTS} == {"SPX", "IXIC"}


def test_every_alert_of_a_symbol_turns_the_strategy_round() -> None:
    for ticker in ("SPX", "IXIC"):
        positions = [alert["market_position"] for alert in ALERTS if alert["ticker"] == ticker]
        assert all(before != after for before, after in pairwise(positions))
    assert all(
        (alert["action"], alert["market_position"], alert["prev_market_position"])
        in {("buy", "long", "short"), ("sell", "short", "long")}
        for alert in ALERTS
    )


def question(number: int, alert: dict[str, Any]) -> bytes:
    """Return what an engine is asked about the sample alert of that number."""
    key = UUID(int=number)
    facts = SignalFacts(
        signal_id=key,
        signal_hash=f"{number:064x}",
        symbol=alert["ticker"],
        direction=alert["market_position"],
        timeframe=alert["interval"],
        timestamp=datetime.fromisoformat(alert["time"]),
        raw_payload=alert,
    )
    indicators = {name: str(alert[name]) for name in ("open", "high", "low", "rsi", "atr", "sma_fast", "sma_slow")}
    snapshot = Snapshot(Decimal(str(alert["close"])), None, None, alert["volume"], indicators)
    return build_engine_input(key, facts, snapshot).encode()


def trade_all_samples(profile: Profile, ledger: Ledger) -> Answers:
    """Ask one engine about every sample and execute whatever it recommends."""
    answers = []
    for number, alert in enumerate(ALERTS, start=1):
        experiment_id = receive_question(profile, ledger, question(number, alert), at=NOW)
        answers.append(json.loads(answer_question(profile, ledger, experiment_id, at=NOW)))
        if answers[-1]["recommendation"]:
            order = {
                "permit_id": experiment_id,
                "experiment_id": experiment_id,
                "not_after": "2026-03-02T15:00:30Z",
                "app_mode": "PAPER",
                "recommendation": answers[-1]["recommendation"],
            }
            execute_permit(profile, ledger, json.dumps(order).encode(), clock=lambda: NOW)
    return answers


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Answers, Path]]:
    """Return, for each engine, its answers to all samples and the ledger of their trades."""
    run = {}
    for name, profile in PROFILES.items():
        path = tmp_path_factory.mktemp("ledgers") / f"{name}.sqlite3"
        with Ledger(path) as ledger:
            run[name] = (trade_all_samples(profile, ledger), path)
    return run


@pytest.mark.parametrize("engine", ["A", "B"])
def test_most_trades_close_within_the_run_and_for_every_reason(
    first_run: dict[str, tuple[Answers, Path]], engine: str
) -> None:
    with Ledger(first_run[engine][1]) as ledger, ledger.transaction() as tx:
        opened = tx.execute("SELECT count(*) FROM positions").fetchone()[0]
        reasons = [row["exit_reason"] for row in tx.execute("SELECT exit_reason FROM exits")]
        untold = tx.execute(
            "SELECT count(*) FROM exits LEFT JOIN events ON message_id = ? || position_id WHERE message_id IS NULL",
            (f"{engine}-exit-",),
        ).fetchone()[0]
    assert opened >= 300
    assert len(reasons) / opened > 0.7
    assert {reason: reasons.count(reason) > 20 for reason in set(reasons)} == {
        "stop_loss": True,
        "take_profit": True,
        "time_limit": True,
    }
    assert untold == 0


def test_the_engines_differ_visibly(first_run: dict[str, tuple[Answers, Path]]) -> None:
    by_rules, by_vote = ([answer["recommendation"] for answer in first_run[engine][0]] for engine in ("A", "B"))
    assert 50 < by_rules.count(None) < 400
    assert 50 < by_vote.count(None) < 400
    both = [(a["instrument"], b["instrument"]) for a, b in zip(by_rules, by_vote, strict=True) if a and b]
    same = sum(a == b for a, b in both)
    assert same > 50
    assert len(both) - same > 50
