"""What would we have earned: policies tried on real rows, through the API and the command."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client

from orchestrator.models import Experiment
from outcomes.domain.policy_rules import read_policy
from outcomes.filters import NAMES, ReportFilters
from outcomes.policy_report import policy_report
from tests.factories import (
    make_experiment,
    make_outcome,
    make_permit,
    make_recommendation,
    make_shadow_trade,
    make_signal,
    make_trade,
)

pytestmark = pytest.mark.django_db
FIRST = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
ADDRESS = "/api/v1/reports/policy/"


def close(trade: Any, pnl: int, *, at: datetime) -> None:
    make_outcome(
        trade, quantity=Decimal(1), multiplier=Decimal(1), entry_price=Decimal(5000), exit_price=Decimal(5000 + pnl),
        fees=Decimal(0), side="BUY", exit_time=at, entry_time=at - timedelta(hours=1),
    )  # fmt: skip


def closed(*, a: int, b: int, real: int | None, day: int, symbol: str = "SPY", **asked: Any) -> Experiment:
    """Write an experiment of which both sides are closed; ``real`` is the result of the engine that executed."""
    at = FIRST + timedelta(days=day)
    experiment = make_experiment(signal=make_signal(symbol=symbol), **asked)
    for engine in "AB":
        make_recommendation(experiment, engine)
    if real is not None:
        close(make_trade(experiment), real, at=at)
    for engine, pnl in (("A", a), ("B", b)):
        close(make_shadow_trade(experiment, engine), pnl, at=at)
    return experiment


def report(*policies: str, **filters: Any) -> dict[str, Any]:
    found = policy_report([read_policy(text) for text in policies], ReportFilters(**filters))
    return json.loads(json.dumps(found, allow_nan=False))  # type: ignore[no-any-return]


def test_a_policy_is_paired_with_what_ran() -> None:
    for day in range(3):
        closed(a=100, b=300, real=90, day=day, execution_mode="ENGINE_A_PRIMARY")
    found = report("ENGINE_B_PRIMARY")
    assert found["record"] == {"experiments": 3, "without_r": 0, "not_complete": 0, "days": 3, "cut": None}
    [one] = found["policies"]
    assert one["plug_in"]["would_have_earned"] == "900"
    assert one["plug_in"]["ran_simulated"] == "300"
    assert one["plug_in"]["difference"]["currency"]["mean"] == "200"
    assert one["plug_in"]["difference"]["R"]["mean"] == pytest.approx(200 / 870)
    assert one["doubly_robust"]["left_out"] == 3
    assert one["doubly_robust"]["difference"]["R"]["mean"] is None
    assert "slippage" in found["caveats"]["fills"]


def test_real_results_correct_what_runs_anyway() -> None:
    closed(a=100, b=300, real=60, day=0, execution_mode="ENGINE_A_PRIMARY")
    [one] = report("SHADOW_ONLY")["policies"]
    assert one["plug_in"]["difference"]["currency"]["mean"] == "-100"
    assert one["doubly_robust"]["difference"]["currency"]["mean"] == "-60"


def test_an_order_that_was_not_executed_earned_nothing() -> None:
    experiment = make_experiment(execution_mode="ENGINE_A_PRIMARY")
    for engine in "AB":
        make_recommendation(experiment, engine)
    make_permit(experiment, state="NOT_EXECUTED")
    for engine in "AB":
        close(make_shadow_trade(experiment, engine), 100, at=FIRST)
    [one] = report("SHADOW_ONLY")["policies"]
    assert one["doubly_robust"]["difference"]["currency"]["mean"] == "0"


def test_rules_split_the_record_by_what_was_known_before() -> None:
    closed(a=100, b=300, real=90, day=0, execution_mode="ENGINE_A_PRIMARY")
    closed(a=100, b=-50, real=90, day=1, symbol="QQQ")
    [one] = report("symbol=SPY -> ENGINE_B_PRIMARY; ENGINE_A_PRIMARY")["policies"]
    assert one["plug_in"]["would_have_earned"] == "400"
    assert report("ENGINE_B_PRIMARY", symbol="QQQ")["policies"][0]["plug_in"]["would_have_earned"] == "-50"


def test_passes_count_nothing_and_what_is_open_is_counted() -> None:
    experiment = make_experiment(execution_mode="ENGINE_A_PRIMARY")
    make_recommendation(experiment, "A", action="PASS")
    make_recommendation(experiment, "B")
    close(make_shadow_trade(experiment, "B"), 70, at=FIRST)
    make_experiment()
    found = report("ENGINE_B_PRIMARY")
    assert (found["record"]["experiments"], found["record"]["not_complete"]) == (1, 1)
    assert found["policies"][0]["plug_in"]["would_have_earned"] == "70"


def test_the_best_of_several_is_judged_on_the_half_that_did_not_choose_it() -> None:
    for day in range(8):
        gain = 100 if day < 4 else -100
        closed(a=0, b=gain + day, real=0, day=day, execution_mode="ENGINE_A_PRIMARY")
    held_out = report("ENGINE_A_PRIMARY", "ENGINE_B_PRIMARY")["held_out"]
    assert held_out["chosen"] == "ENGINE_B_PRIMARY"
    assert held_out["on_the_half_it_was_chosen_on"]["mean"] > 0 > held_out["on_the_held_out_half"]["mean"]
    assert held_out["sentence"].startswith("On the held-out half: ENGINE_B_PRIMARY: -")
    assert "Too few days" in report("SHADOW_ONLY", "ENGINE_B_PRIMARY", until=FIRST)["held_out"]["sentence"]


def test_own_exits_are_compared_where_both_are_known() -> None:
    experiment = closed(a=100, b=300, real=90, day=0, execution_mode="ENGINE_A_PRIMARY")
    at = FIRST + timedelta(days=1)
    for engine, price in (("A", "5.35"), ("B", "4.35")):
        experiment.shadow_trades.filter(engine=engine).update(
            own_exit_price=price, own_exit_time=at, own_exit_reason="target"
        )
    own = report("ENGINE_B_PRIMARY")["policies"][0]["own_exits"]
    assert own["experiments"] == 1
    assert own["difference"]["R"]["mean"] == pytest.approx(-200 / 870)


def test_the_api_refuses_what_cannot_be_read(client: Client) -> None:
    assert client.get(ADDRESS).status_code == 401
    client.force_login(User.objects.create_user("quant"))
    for query, told in (
        ("", "0 policies"),
        ("policy=BOTH", "is no mode"),
        ("policy=SHADOW_ONLY&nonsense=1", "no such filter"),
        ("&".join(["policy=SHADOW_ONLY"] * 11), "11 policies"),
    ):
        answer = client.get(f"{ADDRESS}?{query}")
        assert answer.status_code == 400
        assert told in answer.content.decode()
    answer = client.get(ADDRESS, {"policy": ["SPLIT_CAPITAL:30", "SHADOW_ONLY"], "symbol": "SPY"})
    assert answer.status_code == 200
    assert [one["policy"] for one in answer.json()["policies"]] == ["SPLIT_CAPITAL:30", "SHADOW_ONLY"]


def test_the_command_tells_the_same_with_its_caveats() -> None:
    for day in range(4):
        closed(a=100, b=300, real=90, day=day, execution_mode="ENGINE_A_PRIMARY")
    out = StringIO()
    call_command("simulate_policy", "ENGINE_B_PRIMARY", "SHADOW_ONLY", stdout=out)
    assert "4 experiments on 4 days" in out.getvalue()
    assert "simulated: 1200 against 400 of what ran" in out.getvalue()
    assert "slippage" in out.getvalue()
    out = StringIO()
    call_command("simulate_policy", "ENGINE_B_PRIMARY", "--json", stdout=out)
    assert json.loads(out.getvalue())["policies"][0]["policy"] == "ENGINE_B_PRIMARY"
    with pytest.raises(CommandError, match="is no mode"):
        call_command("simulate_policy", "BOTH")
    assert "policy_version" in NAMES
