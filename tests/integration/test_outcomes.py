"""Outcomes: one for each closed trade with every field, real and shadow apart, and a P&L that the database recomputes."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Count, Q, Sum
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.vocabulary import Engine
from orchestrator.events import read_event, store_event
from orchestrator.models import RealTrade, ShadowTrade
from outcomes.domain.pnl import profit_and_loss
from outcomes.exits import apply_exits
from outcomes.models import DailyResult, Outcome, RealTradeOutcome, ShadowTradeOutcome
from tests.conftest import LogLines
from tests.factories import OPTION, make_outcome, make_terms, make_trade
from tests.integration.test_events import exit_of
from tests.integration.test_exits import PUT_TERMS, follow, leave
from tests.protocol_steps import apply_everything, experiment_of

SMALLEST = Decimal("0.00000001")


@pytest.mark.django_db
class TestFields:
    @pytest.mark.requirement("5.1", "5.2", "4.3", "property-16", "property-17")
    def test_every_closed_trade_has_one_outcome_with_every_field(self, log_lines: LogLines) -> None:
        experiment = experiment_of()
        lead, twin, shadow = make_trade(experiment), follow(experiment, "A"), follow(experiment, "B", terms=PUT_TERMS)
        put = PUT_TERMS["instrument"]["option_symbol"]
        conditions = {"underlying_price": "590", "quotes": {put: {"bid": 2, "ask": 3}}}
        leave(lead, market_conditions=conditions)
        apply_everything()
        real = RealTradeOutcome.objects.get()
        facts: list[tuple[Outcome, RealTrade | ShadowTrade, str, str, str, str]] = [
            (real, lead, "A", "5.10", "2.60", "137.40"),  # (5.10 - 4.40) * 2 * 100 - 1.30 - 1.30
            (ShadowTradeOutcome.objects.get(trade=twin), twin, "A", "5.10", "0", "150.00"),  # (5.10 - 4.35) * 2 * 100
            (ShadowTradeOutcome.objects.get(trade=shadow), shadow, "B", "2.50", "0", "-180.00"),  # (2.50 - 3.10) * 300
        ]
        for outcome, trade, engine, price, fees, pnl in facts:
            assert (outcome.experiment, outcome.engine) == (experiment, engine)
            assert (outcome.side, outcome.multiplier, outcome.exit_reason) == ("BUY", 100, "target")
            assert (outcome.entry_price, outcome.quantity) == (trade.entry_price, trade.quantity)
            assert (outcome.exit_price, outcome.fees, outcome.pnl) == (Decimal(price), Decimal(fees), Decimal(pnl))
            assert outcome.entry_time == trade.entry_time < outcome.exit_time == real.exit_time
            assert outcome.market_conditions == conditions
            trade.refresh_from_db()
            assert trade.status == "CLOSED"
        assert (RealTradeOutcome.objects.count(), ShadowTradeOutcome.objects.count()) == (1, 2)
        recorded = log_lines.of("outcome.recorded")
        assert {(line["kind"], line["engine"]) for line in recorded} == {("real", "A"), ("twin", "A"), ("shadow", "B")}
        for line in [*recorded, *log_lines.of("trade.exited")]:
            assert line["experiment_id"] == str(experiment.pk)
            assert line["signal_id"] == str(experiment.signal_id)

    @pytest.mark.requirement("5.1")
    @pytest.mark.parametrize(
        ("side", "multiplier", "pnl"), [("BUY", "100", "198.70"), ("SELL", "100", "-201.30"), ("BUY", None, "0.70")]
    )
    def test_a_sale_gains_when_the_price_falls_and_an_absent_multiplier_is_one(
        self, side: str, multiplier: str | None, pnl: str
    ) -> None:
        instrument = {key: value for key, value in OPTION.items() if key != "multiplier"}
        instrument |= {"multiplier": multiplier} if multiplier else {}
        trade = make_trade(experiment_of(), terms=make_terms(side=side, instrument=instrument))
        leave(trade, exit_price="5.40", fees=None)
        apply_everything()
        assert (trade.outcome.pnl, trade.outcome.fees) == (Decimal(pnl), Decimal("1.30"))

    @pytest.mark.requirement("5.1")
    def test_an_amount_keeps_every_digit_also_as_a_json_number(self) -> None:
        trade = make_trade(experiment_of(), terms=make_terms(instrument={"type": "stock"}, quantity="1"))
        _, kind, data = exit_of(trade.experiment, "A", price="PRICE", after=5, external_id=trade.external_id)
        body = json.dumps({"type": kind, "data": data}).replace('"PRICE"', "123456789012.12345678")
        store_event(Engine.A, f"msg_{uuid4()}", read_event(body.encode()))
        apply_everything()
        assert trade.outcome.exit_price == Decimal("123456789012.12345678")

    @pytest.mark.requirement("5.2", "4.3", "property-18")
    def test_real_and_shadow_results_are_summed_apart(self) -> None:
        for price in ("5.10", "4.00", "4.413", "6"):
            experiment = experiment_of()
            lead = make_trade(experiment)
            for engine in "AB":
                follow(experiment, engine)
            leave(lead, exit_price=price)
        apply_everything()
        kept = {(one.engine, one.kind): (one.trades, one.wins, one.total_pnl) for one in DailyResult.objects.all()}
        parts: dict[Any, Any] = {
            ("A", "real"): RealTradeOutcome.objects.all(),
            ("A", "twin"): ShadowTradeOutcome.objects.filter(trade__purpose="TWIN"),
            ("B", "shadow"): ShadowTradeOutcome.objects.filter(trade__purpose="SHADOW"),
        }
        sums = {"trades": Count("pk"), "wins": Count("pk", filter=Q(pnl__gt=0)), "total": Sum("pnl")}
        assert kept == {key: tuple(part.aggregate(**sums).values()) for key, part in parts.items()}
        assert [trades for trades, *_ in kept.values()] == [4, 4, 4]


@pytest.mark.django_db
class TestWhatTheDatabaseHolds:
    @pytest.mark.requirement("5.1", "property-17")
    @given(
        fields=st.fixed_dictionaries(
            {
                "entry_price": st.decimals(0, 10_000, places=8),
                "exit_price": st.decimals(0, 10_000, places=8),
                "quantity": st.decimals(SMALLEST, 10_000, places=8),
                "multiplier": st.sampled_from([Decimal(1), Decimal(100), Decimal("0.1"), Decimal("12.34567891")]),
                "fees": st.decimals(-100, 100, places=8),
                "side": st.sampled_from(["BUY", "SELL"]),
            }
        ),
        off=st.sampled_from([0, 0, 1, -1, 1000]),
    )
    def test_an_outcome_is_the_formula_to_the_last_digit(self, fields: dict[str, Any], off: int) -> None:
        trade = RealTrade.objects.first() or make_trade(experiment_of())
        pnl = profit_and_loss(**fields) + off * SMALLEST
        with transaction.atomic():  # each example is rolled back, so that one trade serves them all
            if off:
                with pytest.raises(IntegrityError, match="pnl_is_the_formula"), transaction.atomic():
                    make_outcome(trade, **fields, pnl=pnl)
            else:
                make_outcome(trade, **fields, pnl=pnl)
            transaction.set_rollback(True)


@pytest.mark.django_db(transaction=True)
@pytest.mark.requirement("10.2", "property-17", "property-18")
def test_workers_that_close_trades_of_one_day_at_once_neither_deadlock_nor_count_twice() -> None:
    for _ in range(16):
        experiment = experiment_of()
        lead = make_trade(experiment)
        for engine in "AB":
            follow(experiment, engine)
        for _again in range(2):
            leave(lead)
    start = threading.Barrier(6)

    def work(_: int) -> int:
        start.wait(10)
        try:
            return sum(apply_exits(limit=3) for _ in range(12))
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    apply_everything()
    assert (RealTradeOutcome.objects.count(), ShadowTradeOutcome.objects.count()) == (16, 32)
    kept = {(one.engine, one.kind): (one.trades, one.total_pnl) for one in DailyResult.objects.all()}
    assert kept == {
        ("A", "real"): (16, Decimal("137.40") * 16),
        ("A", "twin"): (16, Decimal(150) * 16),
        ("B", "shadow"): (16, Decimal(150) * 16),
    }
