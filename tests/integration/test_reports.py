"""The reports over real rows: sums of parts, kinds apart, filters, pairs on one fill basis."""

import csv
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from itertools import product
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import transaction
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.models import Experiment, ShadowTrade
from outcomes import reports
from outcomes.counting import count_changes
from outcomes.filters import ReportFilters, read_filters
from outcomes.models import DailyResult
from outcomes.pair_rows import Place, all_pair_rows, pair_rows, spread_of_pairs
from outcomes.summaries import rebuild_summaries
from tests.factories import (
    make_experiment,
    make_outcome,
    make_permit,
    make_recommendation,
    make_revision,
    make_shadow_trade,
    make_signal,
    make_terms,
    make_trade,
)

pytestmark = pytest.mark.django_db
FIRST = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


FIXED = (
    "trades",
    "wins",
    "losses",
    "scratches",
    "win_rate",
    "average_pnl",
    "total_pnl",
    "sharpe_ratio",
    "profit_factor",
    "max_drawdown",
)


def close(trade: Any, pnl: Decimal | int | str, *, at: datetime) -> Any:
    """Close a trade of 1 x multiplier 1 with exactly this P&L."""
    return make_outcome(
        trade,
        quantity=Decimal(1),
        multiplier=Decimal(1),
        entry_price=Decimal(5000),
        exit_price=Decimal(5000) + Decimal(pnl),
        fees=Decimal(0),
        side="BUY",
        exit_time=at,
        entry_time=at - timedelta(hours=1),
    )


def executed(*, real: int, twin: int, shadow: int, at: datetime, **signal: Any) -> Experiment:
    """Write an experiment that engine A executed, with all three trades closed at ``at``."""
    experiment = make_experiment(signal=make_signal(**signal), execution_mode="ENGINE_A_PRIMARY")
    for engine in "AB":
        make_recommendation(experiment, engine)
    close(make_trade(experiment), real, at=at)
    close(make_shadow_trade(experiment, "A"), twin, at=at)
    close(make_shadow_trade(experiment, "B"), shadow, at=at)
    return experiment


def both_closed(a: int | None, b: int | None, *, at: datetime, terms: Mapping[str, Any] | None = None) -> Experiment:
    """Write a SHADOW_ONLY experiment with these results; None is a PASS."""
    experiment = make_experiment(execution_mode="SHADOW_ONLY")
    for engine, pnl in (("A", a), ("B", b)):
        if pnl is None:
            make_recommendation(experiment, engine, action="PASS", received_at=at)
        else:
            proposal = make_terms(**(terms or {}))
            make_recommendation(experiment, engine, terms=proposal, received_at=at - timedelta(hours=1))
            close(make_shadow_trade(experiment, engine, terms=proposal), pnl, at=at)
    return experiment


@pytest.fixture
def client_of_a_quant(client: Client) -> Client:
    client.force_login(User.objects.create_user("quant"))
    return client


@pytest.mark.requirement("5.2", "5.3", "property-18")
def test_each_kind_is_reported_apart_for_each_engine() -> None:
    executed(real=100, twin=110, shadow=-30, at=FIRST)
    executed(real=-40, twin=-50, shadow=20, at=FIRST + timedelta(days=1))
    engines = reports.performance()["engines"]
    totals = {(engine, kind): engines[engine][kind]["total_pnl"] for engine in "AB" for kind in engines[engine]}
    assert totals == {
        ("A", "real"): "60",
        ("A", "shadow"): "0",
        ("A", "twin"): "60",
        ("B", "real"): "0",
        ("B", "shadow"): "-10",
        ("B", "twin"): "0",
    }
    real = engines["A"]["real"]
    assert {name: real[name] for name in FIXED} == {
        "trades": 2,
        "wins": 1,
        "losses": 1,
        "scratches": 0,
        "win_rate": 0.5,
        "average_pnl": "30",
        "total_pnl": "60",
        "sharpe_ratio": pytest.approx(30 / np.std([100, -40], ddof=1)),
        "profit_factor": 2.5,
        "max_drawdown": "40",
    }


@pytest.mark.requirement("5.4", "property-19")
def test_undefined_is_null_in_the_json() -> None:
    body = json.loads(json.dumps(reports.performance(), allow_nan=False))
    for kinds in body["engines"].values():
        for found in kinds.values():
            assert found["trades"] == 0
            assert [found[name] for name in ("win_rate", "average_pnl", "sharpe_ratio", "profit_factor")] == [None] * 4


@pytest.mark.requirement("5.4")
def test_the_drawdown_starts_at_zero_and_follows_the_order_of_closing() -> None:
    for number, pnl in enumerate((-30, 100, -20, -50, 40)):
        executed(real=pnl, twin=0, shadow=0, at=FIRST + timedelta(hours=number))
    assert reports.performance()["engines"]["A"]["real"]["max_drawdown"] == "70"
    later = ReportFilters(until=FIRST)
    assert reports.performance(later)["engines"]["A"]["real"]["max_drawdown"] == "30"


@pytest.mark.requirement("5.4", "property-18", "property-19")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    closed=st.lists(
        st.tuples(
            st.sampled_from("AB"), st.sampled_from(["real", "shadow"]), st.integers(-500, 500), st.integers(0, 3)
        ),
        max_size=14,
    )
)
def test_the_totals_are_the_sums_of_the_parts(closed: list[tuple[str, str, int, int]]) -> None:
    with transaction.atomic():
        revision = make_revision(execution_mode="SHADOW_ONLY")
        parts: dict[tuple[str, str], list[tuple[datetime, int]]] = {}
        for number, (engine, kind, pnl, day) in enumerate(closed):
            experiment = make_experiment(revision=revision)
            at = FIRST + timedelta(days=day, minutes=number)
            trade = (
                make_trade(experiment, authorised=False, engine=engine)
                if kind == "real"
                else make_shadow_trade(experiment, engine)
            )
            close(trade, pnl, at=at)
            parts.setdefault((engine, kind), []).append((at, pnl))
        engines = reports.performance()["engines"]
        for engine, kinds in engines.items():
            for kind, found in kinds.items():
                _check(found, [pnl for _, pnl in sorted(parts.get((engine, kind), []))])
        by_day = [
            reports.performance(read_filters({"from": [day], "to": [day]}))["engines"]
            for day in ("2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05")
        ]
        for engine, kinds in engines.items():
            for kind, found in kinds.items():
                assert found["trades"] == sum(day[engine][kind]["trades"] for day in by_day)
                assert Decimal(found["total_pnl"]) == sum(Decimal(day[engine][kind]["total_pnl"]) for day in by_day)
        assert rebuild_summaries() == []
        transaction.set_rollback(True)


def _check(found: Mapping[str, Any], pnls: list[int]) -> None:
    """Compare one report with numpy."""
    assert (found["trades"], found["wins"], found["losses"]) == (
        len(pnls),
        sum(pnl > 0 for pnl in pnls),
        sum(pnl < 0 for pnl in pnls),
    )
    assert Decimal(found["total_pnl"]) == sum(pnls)
    if not pnls:
        return
    curve = np.concatenate([[0], np.cumsum(pnls)])
    assert Decimal(found["max_drawdown"]) == int((np.maximum.accumulate(curve) - curve).max())
    assert float(found["average_pnl"]) == pytest.approx(np.mean(pnls), abs=1e-8)
    if len(set(pnls)) > 1:
        assert found["sharpe_ratio"] == pytest.approx(np.mean(pnls) / np.std(pnls, ddof=1), abs=1e-12)
    else:
        assert found["sharpe_ratio"] is None


@pytest.mark.requirement("5.3")
def test_filters_choose_trades_by_exit_symbol_timeframe_and_mode() -> None:
    executed(real=1, twin=0, shadow=0, at=FIRST, symbol="SPY", timeframe="5")
    executed(real=10, twin=0, shadow=0, at=FIRST + timedelta(days=1), symbol="QQQ", timeframe="60")
    both_closed(100, 100, at=FIRST + timedelta(days=2))

    def found(**params: str) -> tuple[str, str]:
        report = reports.performance(read_filters({name.rstrip("_"): [value] for name, value in params.items()}))
        return report["engines"]["A"]["real"]["total_pnl"], report["engines"]["B"]["shadow"]["total_pnl"]

    assert found() == ("11", "100")
    assert found(symbol="SPY") == ("1", "100")
    assert found(symbol="NASDAQ:QQQ") == ("10", "0")
    assert found(timeframe="1h") == ("10", "0")
    assert found(mode="SHADOW_ONLY") == ("0", "100")
    assert found(from_="2026-03-03") == ("10", "100")
    assert found(to="2026-03-03") == ("11", "0")
    assert found(from_="2026-03-02T15:00:00Z", to="2026-03-02T15:00:00Z") == ("1", "0")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=yesterday", "from"),
        ("from=2026-03-02T10:00:00", "from"),
        ("to=2026-02-30", "to"),
        ("from=2026-03-03&to=2026-03-02", "to"),
        ("mode=AUTO", "mode"),
        ("mode=SHADOW_ONLY&mode=SPLIT_CAPITAL", "mode"),
        ("timeframe=soon", "timeframe"),
        ("symbol=", "symbol"),
        ("symbol=%00", "symbol"),
        ("engine=A", "engine"),
    ],
)
@pytest.mark.parametrize("report", ["performance", "comparison"])
def test_a_senseless_filter_is_refused_by_name(client_of_a_quant: Client, report: str, query: str, field: str) -> None:
    answer = client_of_a_quant.get(f"/api/v1/reports/{report}/?{query}")
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert error["accepted"]


def test_the_report_over_http_has_the_promised_shape(client_of_a_quant: Client) -> None:
    executed(real=100, twin=110, shadow=-30, at=FIRST)
    body = client_of_a_quant.get("/api/v1/reports/performance/?symbol=SPY").json()
    assert body["filters"] == {
        "from": None,
        "to": None,
        "symbol": "SPY",
        "timeframe": None,
        "mode": None,
        "policy_version": None,
    }
    assert {engine: list(kinds) for engine, kinds in body["engines"].items()} == {
        "A": ["real", "shadow", "twin"],
        "B": ["real", "shadow", "twin"],
    }


def test_a_pair_takes_the_twin_of_the_engine_that_executed() -> None:
    executed(real=1000, twin=50, shadow=20, at=FIRST)
    found = reports.comparison()
    assert found["pairs"]["complete"] == 1
    assert found["difference"]["currency"]["mean"] == "30"


def test_a_pass_counts_zero_and_is_shown_as_a_pass() -> None:
    both_closed(None, 87, at=FIRST)
    both_closed(None, None, at=FIRST + timedelta(days=1))
    found = reports.comparison()
    assert found["pairs"]["passes"] == {"A": 2, "B": 1, "both": 1}
    assert found["pairs"]["complete"] == 2
    assert found["difference"]["currency"]["mean"] == "-43.5"
    assert found["difference"]["R"]["mean"] == pytest.approx(-0.05)
    assert found["wins_more_often"]["only_b_won"] == 1


def test_capital_at_risk_is_max_loss_else_what_a_bought_contract_cost() -> None:
    both_closed(870, None, at=FIRST)
    both_closed(5000, None, at=FIRST, terms={"max_loss": None})
    found = reports.comparison()["difference"]["R"]
    assert found["mean"] == pytest.approx(1.0)


@pytest.mark.parametrize("terms", [{"max_loss": "0"}, {"max_loss": "unknown"}])
def test_without_readable_capital_at_risk_there_is_no_r(terms: dict[str, Any]) -> None:
    both_closed(870, None, at=FIRST, terms=terms)
    found = reports.comparison()
    assert found["pairs"]["complete_without_r"] == 1
    assert (found["difference"]["R"]["pairs"], found["difference"]["currency"]["pairs"]) == (0, 1)


def test_open_pairs_are_counted_with_the_age_of_the_oldest() -> None:
    waiting = make_experiment(execution_mode="SHADOW_ONLY")
    make_recommendation(waiting, "A", action="PASS")
    half = make_experiment(execution_mode="SHADOW_ONLY")
    for engine in "AB":
        make_recommendation(half, engine)
    close(make_shadow_trade(half, "A"), 10, at=FIRST)
    make_shadow_trade(half, "B")
    found = reports.comparison()["pairs"]
    assert (found["total"], found["complete"], found["open"]) == (2, 0, 2)
    assert found["oldest_open_seconds"] is not None


def test_a_void_side_and_a_missing_answer_are_not_comparable() -> None:
    void = make_experiment(execution_mode="SHADOW_ONLY")
    for engine in "AB":
        make_recommendation(void, engine)
    close(make_shadow_trade(void, "A"), 10, at=FIRST)
    ShadowTrade.objects.filter(pk=make_shadow_trade(void, "B").pk).update(status="VOID")
    silent = make_experiment(execution_mode="SHADOW_ONLY")
    make_recommendation(silent, "A", action="PASS")
    silent.calls.filter(engine="B").update(state="FAILED", error="no answer before the deadline")
    found = reports.comparison()["pairs"]
    assert found["not_comparable"] == {"void": 1, "no_answer": 1}
    assert (found["complete"], found["open"]) == (0, 0)


def test_the_comparison_reaches_a_verdict_over_days() -> None:
    for number in range(32):
        both_closed(100 + number % 7, 10, at=FIRST + timedelta(days=number))
    found = json.loads(json.dumps(reports.comparison(), allow_nan=False))
    assert found["verdict"]["code"] == "A_BETTER"
    assert found["difference"]["R"]["days"] == 32
    assert found["difference"]["R"]["p_value"] < 0.05
    low, high = found["difference"]["currency"]["interval"]
    assert Decimal(low) < Decimal(found["difference"]["currency"]["mean"]) < Decimal(high)


def test_a_twin_whose_permit_ended_without_execution_stays_a_twin() -> None:
    experiment = make_experiment(execution_mode="ENGINE_A_PRIMARY")
    for engine in "AB":
        make_recommendation(experiment, engine)
    make_permit(experiment, state="NOT_EXECUTED")
    close(make_shadow_trade(experiment, "A"), 10, at=FIRST)
    close(make_shadow_trade(experiment, "B"), 4, at=FIRST)
    engines = reports.performance()["engines"]["A"]
    assert (engines["twin"]["trades"], engines["shadow"]["trades"], engines["real"]["trades"]) == (1, 0, 0)
    assert reports.comparison()["difference"]["currency"]["mean"] == "6"


@pytest.mark.requirement("property-18")
def test_the_daily_sums_follow_the_outcomes_and_a_wrong_one_is_found_and_corrected() -> None:
    executed(real=100, twin=110, shadow=-30, at=FIRST)
    executed(real=-5, twin=0, shadow=0, at=FIRST.replace(hour=23, minute=59))
    row = DailyResult.objects.get(engine="A", kind="real")
    assert (row.day.isoformat(), row.trades, row.wins, row.losses, row.total_pnl) == (
        "2026-03-02",
        2,
        1,
        1,
        Decimal(95),
    )
    assert rebuild_summaries() == []
    DailyResult.objects.filter(pk=row.pk).update(total_pnl=1)
    DailyResult.objects.filter(engine="B").delete()
    printed = StringIO()
    call_command("rebuild_summaries", stdout=printed)
    assert "2026-03-02 engine A real: kept 2 trades, 1 won, 1 lost, 1; the outcomes say" in printed.getvalue()
    assert "2 differences, corrected." in printed.getvalue()
    assert rebuild_summaries() == []
    assert DailyResult.objects.get(engine="A", kind="real").total_pnl == 95


def test_the_command_prints_a_plain_table_or_the_json() -> None:
    executed(real=1234, twin=110, shadow=-30, at=FIRST)
    printed = StringIO()
    call_command("performance_report", stdout=printed)
    text = printed.getvalue()
    assert "\x1b" not in text
    assert "1,234.00" in text
    assert "Too early to say" in text
    printed = StringIO()
    call_command("performance_report", "--json", "--symbol", "SPY", stdout=printed)
    assert json.loads(printed.getvalue()) == reports.performance(ReportFilters(symbol="SPY"))


def test_the_command_refuses_a_senseless_filter_in_a_sentence() -> None:
    with pytest.raises(CommandError, match="--mode is 'AUTO'; accepted is SHADOW_ONLY or"):
        call_command("performance_report", "--mode", "AUTO")


def test_filters_choose_pairs_by_completion_symbol_timeframe_and_mode() -> None:
    executed(real=1, twin=30, shadow=10, at=FIRST, symbol="QQQ", timeframe="60")
    both_closed(1, 0, at=FIRST + timedelta(days=1))
    make_experiment(execution_mode="SHADOW_ONLY")

    def found(**params: str) -> tuple[int, int, str | None]:
        report = reports.comparison(read_filters({name.rstrip("_"): [value] for name, value in params.items()}))
        return report["pairs"]["complete"], report["pairs"]["open"], report["difference"]["currency"]["mean"]

    assert found() == (2, 1, "10.5")
    assert found(symbol="QQQ", timeframe="60", mode="ENGINE_A_PRIMARY") == (1, 0, "20")
    assert found(mode="SHADOW_ONLY") == (1, 1, "1")
    assert found(from_="2026-03-03") == (1, 1, "1")
    assert found(to="2026-03-02") == (1, 0, "20")


def test_the_command_prints_a_line_per_engine_and_kind_or_per_pair_for_a_spreadsheet() -> None:
    executed(real=-40, twin=-30, shadow=20, at=FIRST, symbol="SPY")
    both_closed(None, 87, at=FIRST + timedelta(days=1))
    lines = list(csv.DictReader(StringIO(_printed("--csv"))))
    assert [(line["engine"], line["kind"]) for line in lines] == list(product("AB", ("real", "shadow", "twin")))
    assert (lines[0]["total_pnl"], lines[0]["sharpe_ratio"], lines[0]["filter_symbol"]) == ("-40", "", "")
    assert float(lines[0]["win_rate_interval_low"]) == 0
    pairs = list(csv.DictReader(StringIO(_printed("--csv", "--comparison"))))
    assert [(line["a_pnl"], line["b_pnl"], line["difference"], line["a_action"]) for line in pairs] == [
        ("-30", "20", "-50", "OPEN"),
        ("0", "87", "-87", "PASS"),
    ]
    assert pairs[1]["difference_in_r"] == "-0.1"
    count_changes()
    assert list(csv.DictReader(StringIO(_printed("--csv", "--comparison")))) == pairs


@pytest.mark.parametrize("symbol", ["=1+1", "+A1", "-2+3", "@SUM(A1)"])
def test_no_text_of_the_csv_is_a_formula(symbol: str) -> None:
    """A symbol may begin like one; an amount below 0 stays a number."""
    executed(real=-1, twin=-1, shadow=1, at=FIRST, symbol=symbol)
    (pair,) = csv.DictReader(StringIO(_printed("--csv", "--comparison")))
    assert pair["symbol"] == f"'{symbol}"
    assert pair["a_pnl"] == "-1"


def test_the_command_prints_the_comparison_as_the_api_answers_it() -> None:
    both_closed(1, 0, at=FIRST)
    found = json.loads(_printed("--json", "--comparison", "--policy-version", Experiment.objects.get().policy_version))
    assert found["pairs"]["complete"] == 1
    with pytest.raises(CommandError, match="the table shows both"):
        _printed("--comparison")


def _printed(*options: str) -> str:
    printed = StringIO()
    call_command("performance_report", *options, stdout=printed)
    return printed.getvalue()


def test_reports_can_be_about_one_policy_version() -> None:
    both_closed(5, 0, at=FIRST)
    both_closed(7, 0, at=FIRST)
    first, second = Experiment.objects.order_by("pk")
    for experiment, pnl in ((first, "5"), (second, "7")):
        filters = ReportFilters(policy_version=experiment.policy_version)
        assert reports.performance(filters)["engines"]["A"]["shadow"]["total_pnl"] == pnl
        assert reports.comparison(filters)["difference"]["currency"]["mean"] == pnl


def test_the_reports_are_as_the_api_describes_them(client_of_a_quant: Client) -> None:
    """Every member is described, and nothing else; so is its type, as far as JSON has types."""
    for number in range(25):
        both_closed(100 + number, None if number % 5 else 10, at=FIRST + timedelta(days=number))
    generator: Any = SchemaGenerator
    described = generator().get_schema(request=None, public=True)["components"]["schemas"]
    for report in ("performance", "comparison"):
        body = client_of_a_quant.get(f"/api/v1/reports/{report}/").json()
        assert _undescribed(body, described[f"{report.title()}Report"], described, at=report) == []


def _undescribed(found: Any, schema: Mapping[str, Any], described: Mapping[str, Any], *, at: str) -> list[str]:
    """Return where an answer is not as its description says."""
    if found is None:
        return [] if schema.get("nullable") else [f"{at} is null"]
    (schema,) = schema.get("allOf", [schema])
    if "$ref" in schema:
        schema = described[schema["$ref"].rsplit("/", 1)[1]]
    if schema.get("type") == "object" and "properties" in schema:
        if set(found) != set(schema["properties"]):
            return [f"{at}: {sorted(set(found) ^ set(schema['properties']))}"]
        return [
            fault
            for name, member in schema["properties"].items()
            for fault in _undescribed(found[name], member, described, at=f"{at}.{name}")
        ]
    if schema.get("type") == "array":
        return [fault for one in found for fault in _undescribed(one, schema["items"], described, at=f"{at}[]")]
    types: dict[str, Any] = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict}
    wanted = types[schema["type"]] if "type" in schema else object
    return [] if isinstance(found, wanted) else [f"{at} is {found!r}"]


def test_the_comparison_over_time_ends_with_the_interval_of_today() -> None:
    for number in range(25):
        both_closed(100 + number % 7, 10, at=FIRST + timedelta(days=number))
    found = reports.comparison()
    moments = found["over_time"]["difference"]["R"]
    assert len(moments) == 25
    assert [moments[-1]["low"], moments[-1]["high"]] == found["difference"]["R"]["interval"]
    assert (moments[0]["low"], moments[0]["enough"], moments[-1]["enough"]) == (None, False, False)


def test_pairs_are_spread_into_bins_by_the_database() -> None:
    for number, (a, b) in enumerate(((0, 0), (435, -435), (870, 870), (None, 870), (None, None))):
        both_closed(a, b, at=FIRST + timedelta(days=number))
    noted = spread_of_pairs(ReportFilters(), bins=4)
    count_changes()
    found = spread_of_pairs(ReportFilters(), bins=4)
    assert found == noted
    assert found is not None
    assert (found.lowest, found.highest, found.widest) == (-0.5, 1.0, 1.0)
    assert [(one.a, one.b, one.pairs) for one in found.results] == [(1, 1, 2), (1, 3, 1), (2, 0, 1), (3, 3, 1)]
    assert list(found.differences) == [1, 0, 3, 1]
    assert spread_of_pairs(ReportFilters(symbol="QQQ")) is None


def test_pairs_come_a_page_at_a_time() -> None:
    for number in range(5):
        both_closed(number, 0, at=FIRST + timedelta(days=number // 2))
        if number == 2:
            count_changes()
    rows = list(all_pair_rows(ReportFilters()))
    assert sorted(row.a_pnl for row in rows) == [0, 1, 2, 3, 4]
    assert [(row.completed_at, row.experiment_id) for row in rows] == sorted(
        (row.completed_at, row.experiment_id) for row in rows
    )
    first = pair_rows(ReportFilters(), limit=2)
    rest = pair_rows(ReportFilters(), after=Place(first[-1].completed_at, first[-1].experiment_id))
    assert [*first, *rest] == rows
