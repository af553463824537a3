"""Lead and followers: who leads, at which price the others leave with it, and what is left to an operator."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from orchestrator.calls import fail_overdue_calls
from orchestrator.models import EngineCall, EngineEvent, Experiment, Incident, RealTrade, ShadowTrade
from orchestrator.permits import settle_not_executed
from orchestrator.queue import in_seconds
from orchestrator.shadow_trades import tell_engines
from outcomes.exits import apply_exits, price_followers, settle_late_followers
from outcomes.expiry import report_expired_trades
from outcomes.models import ExitSync, RealTradeOutcome, ShadowTradeOutcome
from tests.engine_server import CLOSE_SHADOW_TRADE, OPEN_SHADOW_TRADE, Behaviour, EngineServer
from tests.factories import OPTION, make_experiment, make_recommendation, make_shadow_trade, make_terms, make_trade
from tests.integration.test_events import exit_of, store
from tests.protocol_steps import a_worker, apply_everything, experiment_of, granted, now

CALL, PUT = OPTION["option_symbol"], "SPY260320P00590000"
PUT_TERMS = make_terms(instrument=OPTION | {"option_symbol": PUT, "right": "PUT"}, entry_price="3.10", quantity="3")
STOCK_TERMS = make_terms(instrument={"type": "stock"}, entry_price="589", side="SELL", direction="short")


def follow(experiment: Experiment, engine: str, *, terms: dict[str, Any] | None = None, **fields: Any) -> ShadowTrade:
    """Write an engine's OPEN and its shadow trade or twin."""
    terms = terms or make_terms()
    make_recommendation(experiment, engine, terms=terms)
    return make_shadow_trade(experiment, engine, terms=terms, **fields)


def leave(trade: RealTrade | ShadowTrade, **changes: Any) -> EngineEvent:
    """Report the exit of a trade by its engine."""
    external_id = trade.external_id if isinstance(trade, RealTrade) else None
    engine, kind, data = exit_of(
        trade.experiment, trade.engine, price="5.10", after=5, external_id=external_id, fees="1.30"
    )
    return store(engine, kind, data | changes)


def quotes(**of: Any) -> dict[str, Any]:
    return {"underlying_price": "590.10", "quotes": of}


def verdict(event: EngineEvent) -> tuple[str | None, str]:
    event.refresh_from_db()
    return event.verdict, event.detail


@pytest.mark.django_db
class TestLead:
    @pytest.mark.requirement("4.2", "4.3", "property-15")
    def test_the_real_trade_takes_its_twin_and_the_shadow_with_it(self) -> None:
        experiment = experiment_of()
        lead, twin, shadow = make_trade(experiment), follow(experiment, "A"), follow(experiment, "B")
        conditions = {
            "underlying_price": 590.1,
            "quotes": {CALL: {"bid": "5.00", "ask": None}},
            "more": [1, {"a": None}],
        }
        leave(lead, market_conditions=conditions)
        apply_everything()
        real = RealTradeOutcome.objects.get()
        followers = {one.trade_id: one for one in ShadowTradeOutcome.objects.all()}
        assert set(followers) == {twin.pk, shadow.pk}
        for outcome in (real, *followers.values()):
            assert (outcome.exit_time, outcome.exit_price) == (real.exit_time, Decimal("5.10"))
            assert outcome.market_conditions == conditions
            assert outcome.exit_reason == "target"
        assert (real.fees, followers[twin.pk].fees) == (Decimal("2.60"), 0)
        sync = ExitSync.objects.get()
        assert (sync.lead_trade_id, sync.lead_is_real, sync.state) == (lead.pk, True, "DONE")
        assert sync.market_conditions == conditions
        with connection.cursor() as cursor:  # equal as JSON, to the database as well
            cursor.execute("SELECT count(DISTINCT market_conditions) FROM shadow_trade_outcomes")
            assert cursor.fetchone() == (1,)

    @pytest.mark.requirement("4.2")
    def test_the_lead_leaves_in_the_transaction_that_takes_its_followers_out(self) -> None:
        experiment = experiment_of()
        lead, shadow = make_trade(experiment), follow(experiment, "B")
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE shadow_trade_outcomes ADD CONSTRAINT poison CHECK (engine <> 'B')")
        event = leave(lead)
        apply_everything()
        assert verdict(event)[0] == "CONFLICT"
        for trade in (lead, shadow):
            trade.refresh_from_db()
            assert trade.status == "OPEN"
        assert (RealTradeOutcome.objects.count(), ExitSync.objects.count()) == (0, 0)

    @pytest.mark.parametrize("variant_passes", [False, True])
    def test_under_shadow_only_the_variant_leads_or_else_the_only_open(self, variant_passes: bool) -> None:
        experiment = experiment_of("SHADOW_ONLY")
        other = "B" if experiment.variant == "A" else "A"
        follower = follow(experiment, other)
        if variant_passes:
            make_recommendation(experiment, experiment.variant, action="PASS")
        else:
            lead = follow(experiment, experiment.variant)
        event = leave(follower)
        apply_everything()
        if variant_passes:
            assert verdict(event) == ("APPLIED", "The lead is closed.")
            assert (ExitSync.objects.get().state, ExitSync.objects.get().lead_engine) == ("NOT_APPLICABLE", other)
            return
        assert ShadowTradeOutcome.objects.count() == 0
        leave(lead, exit_price="6.00")
        apply_everything()
        assert ExitSync.objects.get().lead_trade_id == lead.pk
        # whatever the engine says of its shadow's fees, there are none
        assert set(ShadowTradeOutcome.objects.values_list("exit_price", "fees")) == {(Decimal("6.00"), Decimal(0))}

    @pytest.mark.parametrize("variant", ["A", "B"])
    def test_after_a_refusal_the_twin_counts_as_a_shadow_trade(self, variant: str) -> None:
        while True:
            experiment = experiment_of()
            if experiment.variant == variant:
                break
        permit = granted(engine="A", state="ARMED", experiment=experiment)
        twin, shadow = ShadowTrade.objects.get(experiment=experiment), follow(experiment, "B")
        settle_not_executed(permit.pk, by="engine A", reason="no margin")
        lead, follower = (twin, shadow) if variant == "A" else (shadow, twin)
        leave(follower, exit_price="9.99")
        leave(lead)
        apply_everything()
        assert ExitSync.objects.get().lead_trade_id == lead.pk
        follower.refresh_from_db()
        assert (follower.status, follower.own_exit_price) == ("CLOSED", Decimal("9.99"))
        assert follower.outcome.exit_price == Decimal("5.10")
        assert ShadowTrade.objects.get(pk=twin.pk).purpose == "TWIN"

    def test_an_exit_of_the_lead_waits_for_the_variants_answer(self) -> None:
        experiment = make_experiment(execution_mode="SHADOW_ONLY", at=now() - timedelta(minutes=6))
        other = "B" if experiment.variant == "A" else "A"
        event = leave(follow(experiment, other))
        apply_everything()
        assert verdict(event)[0] == "WAITING"
        assert fail_overdue_calls() == 1
        apply_everything()
        assert verdict(event)[0] == "APPLIED"


@pytest.mark.django_db
class TestFollowerPrices:
    @pytest.mark.requirement("4.2", "property-15")
    @pytest.mark.parametrize(
        ("terms", "conditions", "price"),
        [
            (None, quotes(), "5.10"),
            (PUT_TERMS, quotes(**{PUT: {"bid": "5.00", "ask": "5.25"}}), "5.125"),
            (STOCK_TERMS, quotes(SPY={"bid": 589, "ask": 590}), "589.5"),
        ],
    )
    def test_the_same_contract_at_the_leads_price_another_one_at_its_own_mid(
        self, terms: dict[str, Any] | None, conditions: dict[str, Any], price: str
    ) -> None:
        experiment = experiment_of()
        lead, shadow = make_trade(experiment), follow(experiment, "B", terms=terms)
        leave(lead, market_conditions=conditions)
        apply_everything()
        assert shadow.outcome.exit_price == Decimal(price)
        assert ExitSync.objects.get().state == "DONE"

    def test_an_engine_that_was_told_of_its_trade_is_told_of_its_exit(self) -> None:
        experiment = experiment_of()
        lead, shadow = make_trade(experiment), follow(experiment, "B")
        tell_engines([shadow], at=now())
        leave(lead)
        apply_everything()
        told = EngineCall.objects.get(kind="SHADOW_EXIT")
        body = json.loads(told.request)
        assert (told.engine, told.state, body["experiment_id"]) == ("B", "PENDING", str(experiment.pk))
        assert body["exit_reason"] == "target"
        assert body["exit_time"] == shadow.outcome.exit_time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def test_without_a_quote_the_price_is_asked_for_and_the_lead_does_not_wait(self) -> None:
        experiment = experiment_of()
        lead, twin, shadow = make_trade(experiment), follow(experiment, "A"), follow(experiment, "B", terms=PUT_TERMS)
        leave(lead, market_conditions=quotes(**{PUT: {"bid": "5.00", "ask": None}}))
        apply_everything()
        statuses = [type(one)._default_manager.get(pk=one.pk).status for one in (lead, twin, shadow)]
        assert statuses == ["CLOSED", "CLOSED", "OPEN"]
        assert ExitSync.objects.get().state == "PENDING"
        assert EngineCall.objects.get(kind="SHADOW_EXIT").engine == "B"
        assert Incident.objects.count() == 0
        assert price_followers() == 0  # nothing to do until the engine has answered

    @pytest.mark.parametrize(
        ("state", "response", "price"),
        [
            ("ANSWERED", '{"exit_price": "2.75"}', "2.75"),
            ("ANSWERED", '{"exit_price": 0}', "0"),
            ("ANSWERED", '{"exit_price": null}', None),
            ("ANSWERED", '{"exit_price": "NaN"}', None),
            ("ANSWERED", '{"exit_price": "-1"}', None),
            ("ANSWERED", "", None),
            ("ANSWERED", "<html>", None),
            ("FAILED", '{"exit_price": "2.75"}', None),
        ],
    )
    def test_what_the_engine_answers_is_its_price_and_nothing_is_invented(
        self, state: str, response: str, price: str | None
    ) -> None:
        experiment = experiment_of()
        lead, shadow = make_trade(experiment), follow(experiment, "B", terms=PUT_TERMS)
        leave(lead, market_conditions=quotes())
        apply_everything()
        EngineCall.objects.filter(kind="SHADOW_EXIT").update(state="SENT")
        EngineCall.objects.filter(kind="SHADOW_EXIT").update(state=state, response=response)
        apply_everything()
        shadow.refresh_from_db()
        sync = ExitSync.objects.get()
        if price is None:
            assert (shadow.status, sync.state) == ("OPEN", "BLOCKED")
            [incident] = Incident.objects.unresolved()
            assert (incident.kind, incident.subject) == ("MISSING_EXIT_PRICE", str(shadow.pk))
            assert price_followers() == settle_late_followers() == 0  # an operator is asked once
            return
        assert (shadow.status, sync.state) == ("CLOSED", "DONE")
        assert (shadow.outcome.exit_price, shadow.outcome.exit_time) == (Decimal(price), sync.exit_time)
        assert Incident.objects.count() == 0

    def test_a_follower_whose_result_does_not_fit_blocks_itself_not_its_lead(self) -> None:
        experiment = experiment_of()
        huge = make_terms(instrument={"type": "future", "multiplier": "900000000000"}, quantity="900000000000")
        lead, shadow = make_trade(experiment), follow(experiment, "B", terms=huge)
        event = leave(lead, market_conditions=quotes(SPY={"bid": "9", "ask": "9"}))
        apply_everything()
        assert verdict(event)[0] == "APPLIED"
        shadow.refresh_from_db()
        assert (shadow.status, ExitSync.objects.get().state) == ("OPEN", "BLOCKED")
        assert "10^12" in Incident.objects.get().detail["why"]

    def test_a_lead_whose_result_does_not_fit_stays_open_with_an_incident(self) -> None:
        experiment = experiment_of()
        huge = make_terms(instrument={"type": "future", "multiplier": "900000000000"}, quantity="900000000000")
        lead, shadow = make_trade(experiment, terms=huge), follow(experiment, "B")
        event = leave(lead)
        apply_everything()
        assert verdict(event)[0] == "CONFLICT"
        assert "10^12" in event.detail
        for trade in (lead, shadow):
            trade.refresh_from_db()
            assert trade.status == "OPEN"
        assert (Incident.objects.get().kind, ExitSync.objects.count()) == ("CONFLICTING_EVENT", 0)

    def test_followers_that_cannot_be_settled_hold_up_no_others(self) -> None:
        experiments = [experiment_of() for _ in range(3)]
        for experiment in experiments:
            lead = make_trade(experiment)
            follow(experiment, "B", terms=PUT_TERMS)
            leave(lead, market_conditions=quotes())
        apply_everything()
        calls = EngineCall.objects.filter(kind="SHADOW_EXIT")
        calls.update(state="SENT")
        calls.update(state="ANSWERED", response='{"exit_price": "2.75"}')
        bad = experiments[1].pk
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE shadow_trade_outcomes ADD CONSTRAINT poison CHECK (experiment_id <> '{bad}')")
        price_followers()
        assert set(ShadowTradeOutcome.objects.values_list("experiment_id", flat=True)) == {
            experiments[0].pk,
            experiments[2].pk,
        }
        assert (Incident.objects.get().kind, Incident.objects.get().experiment_id) == ("POISON_WORK", bad)


@pytest.mark.django_db
class TestTimes:
    @pytest.mark.requirement("4.2")
    def test_a_follower_that_would_have_been_entered_after_the_exit_is_void(self) -> None:
        experiment = experiment_of()
        lead = make_trade(experiment)
        late = follow(experiment, "B", entry_time=now() + timedelta(seconds=20))
        leave(lead)
        apply_everything()
        late.refresh_from_db()
        assert (late.status, ExitSync.objects.get().state) == ("VOID", "NOT_APPLICABLE")
        assert not ShadowTradeOutcome.objects.filter(trade=late).exists()

    @pytest.mark.parametrize(("seconds", "status"), [(4.9, "CLOSED"), (20, "VOID")])
    def test_a_follower_that_was_recorded_after_the_exit_is_settled_afterwards(
        self, seconds: float, status: str
    ) -> None:
        experiment = experiment_of()
        lead = make_trade(experiment)
        event = leave(lead)
        apply_everything()
        left_at = now().fromisoformat(json.loads(event.body)["data"]["exit_time"])
        late = follow(experiment, "B", entry_time=left_at + timedelta(seconds=seconds - 5))
        assert settle_late_followers() == 1
        late.refresh_from_db()
        assert late.status == status
        assert ExitSync.objects.get().state == ("DONE" if status == "CLOSED" else "NOT_APPLICABLE")
        assert settle_late_followers() == 0

    def test_entry_and_exit_at_the_same_instant_are_comparable(self) -> None:
        experiment = experiment_of()
        lead = make_trade(experiment)
        moment = now() + timedelta(seconds=5)
        shadow = follow(experiment, "B", entry_time=moment)
        leave(lead, exit_time=moment.isoformat())
        apply_everything()
        assert shadow.outcome.exit_time == shadow.outcome.entry_time == moment

    @pytest.mark.requirement("4.5")
    @pytest.mark.parametrize("own_first", [True, False])
    @pytest.mark.parametrize("engine", ["A", "B"])
    def test_a_followers_own_exit_is_kept_beside_the_synchronised_one(self, own_first: bool, engine: str) -> None:
        experiment = experiment_of()
        trades: dict[str, RealTrade | ShadowTrade] = {
            "lead": make_trade(experiment),
            "A": follow(experiment, "A"),
            "B": follow(experiment, "B"),
        }
        own_time = now() + timedelta(seconds=9)
        for which in [engine, "lead"] if own_first else ["lead", engine]:
            own = {"exit_price": "7.00", "exit_time": own_time.isoformat(), "exit_reason": "stop"}
            event = leave(trades[which], **({} if which == "lead" else own))
            apply_everything()
            assert verdict(event)[0] == "APPLIED"
        follower = ShadowTrade.objects.get(pk=trades[engine].pk)
        assert (follower.own_exit_price, follower.own_exit_time, follower.own_exit_reason) == (
            Decimal("7.00"),
            own_time,
            "stop",
        )
        assert (follower.outcome.exit_price, follower.outcome.exit_reason) == (Decimal("5.10"), "target")
        assert follower.outcome.exit_time != own_time
        other = ShadowTrade.objects.get(experiment=experiment, engine="B" if engine == "A" else "A")
        assert other.own_exit_time is None

    def test_an_own_exit_is_kept_once(self) -> None:
        experiment = experiment_of()
        make_trade(experiment)
        shadow = follow(experiment, "B")
        first = leave(shadow, exit_price="7.00")
        apply_everything()
        second = leave(shadow, exit_price="8.00")
        again = store("B", "trade.exited", json.loads(first.body)["data"])
        apply_everything()
        assert [verdict(one)[0] for one in (first, second, again)] == ["APPLIED", "CONFLICT", "DUPLICATE"]
        shadow.refresh_from_db()
        assert (shadow.status, shadow.own_exit_price) == ("OPEN", Decimal("7.00"))


@pytest.mark.django_db
class TestUnauthorised:
    def test_a_trade_of_an_engine_that_recommended_nothing_cannot_be_valued(self) -> None:
        rogue = make_trade(experiment_of("SHADOW_ONLY"), authorised=False, engine="A", terms={"quantity": "1"})
        event = leave(rogue)
        apply_everything()
        assert verdict(event)[0] == "CONFLICT"
        assert "terms" in event.detail
        assert Incident.objects.get().kind == "CONFLICTING_EVENT"


@pytest.mark.django_db(transaction=True)
class TestOverHttp:
    """The engine of a follower is told of its trade and of its exit, and may name its price."""

    def closed_lead(self) -> ShadowTrade:
        experiment = experiment_of()
        make_recommendation(experiment, "A")
        lead, shadow = make_trade(experiment), follow(experiment, "B", terms=PUT_TERMS)
        tell_engines([shadow], at=now() - timedelta(seconds=1))
        leave(lead, market_conditions=quotes())
        apply_everything()
        return shadow

    def drive(self, worker: Any) -> None:
        for _ in range(4):
            EngineCall.objects.filter(state__in=["PENDING", "SENT"]).update(next_attempt_at=in_seconds(-1))
            worker.call()
        apply_everything()

    @pytest.mark.requirement("4.1", "4.2", "property-15")
    def test_the_engine_names_the_price_of_its_own_contract(self, engines: dict[str, EngineServer]) -> None:
        engines["B"].will(CLOSE_SHADOW_TRADE, Behaviour(status=500), Behaviour(body='{"exit_price": "2.75"}'))
        shadow = self.closed_lead()
        with a_worker() as worker:
            self.drive(worker)
        told = [request.operation for request in engines["B"].requests]
        assert told == [OPEN_SHADOW_TRADE, CLOSE_SHADOW_TRADE, CLOSE_SHADOW_TRADE]
        assert {request.key for request in engines["B"].requests} == {str(shadow.pk)}
        assert engines["B"].requests_of(CLOSE_SHADOW_TRADE)[0].json["market_conditions"] == quotes()
        assert engines["A"].requests == []
        shadow.refresh_from_db()
        assert (shadow.status, shadow.outcome.exit_price) == ("CLOSED", Decimal("2.75"))

    @pytest.mark.parametrize("status", [404, 501])
    def test_an_engine_that_follows_no_shadow_trades_leaves_an_operator_to_ask(
        self, engines: dict[str, EngineServer], status: int
    ) -> None:
        engines["B"].always(OPEN_SHADOW_TRADE, Behaviour(status=status))
        engines["B"].always(CLOSE_SHADOW_TRADE, Behaviour(status=status))
        shadow = self.closed_lead()
        with a_worker() as worker:
            self.drive(worker)
        shadow.refresh_from_db()
        assert (shadow.status, ExitSync.objects.get().state) == ("OPEN", "BLOCKED")
        assert Incident.objects.get().kind == "MISSING_EXIT_PRICE"

    def test_an_engine_that_does_not_answer_in_time_leaves_an_operator_to_ask(self, settings: Settings) -> None:
        settings.RECOMMENDATION_DEADLINE_SECONDS = 0.001
        shadow = self.closed_lead()
        assert fail_overdue_calls() == 2
        apply_everything()
        shadow.refresh_from_db()
        assert (shadow.status, ExitSync.objects.get().state) == ("OPEN", "BLOCKED")
        assert "deadline" in Incident.objects.get().detail["why"]


@pytest.mark.django_db
class TestExpiry:
    def expired(self, days: int) -> dict[str, Any]:
        day = (now() - timedelta(days=days)).date().isoformat()
        return make_terms(instrument=OPTION | {"expiration": day})

    def test_an_open_option_past_its_expiration_is_one_incident(self) -> None:
        experiment = experiment_of()
        real = make_trade(experiment, terms=self.expired(1))
        shadow = follow(experiment, "B", terms=self.expired(30))
        assert report_expired_trades() == 2
        assert report_expired_trades() == 0
        incidents = Incident.objects.unresolved().filter(kind="EXPIRED_OPEN_TRADE", severity="HIGH")
        assert {one.subject for one in incidents} == {str(real.pk), str(shadow.pk)}
        assert {one.experiment_id for one in incidents} == {experiment.pk}
        Incident.objects.update(resolved_at=now(), resolved_by="operator")
        assert report_expired_trades() == 0

    def test_what_expires_today_or_is_closed_or_never_expires_is_none(self) -> None:
        make_trade(experiment_of(), terms=self.expired(0))
        make_trade(experiment_of(), terms=STOCK_TERMS)
        closed = make_trade(experiment_of(), terms=self.expired(3))
        leave(closed)
        apply_everything()
        assert report_expired_trades() == 0

    def test_the_exit_of_an_expired_trade_still_closes_it(self) -> None:
        trade = make_trade(experiment_of(), terms=self.expired(1))
        report_expired_trades()
        leave(trade, exit_price="0")
        apply_everything()
        trade.refresh_from_db()
        assert (trade.status, trade.outcome.exit_price) == ("CLOSED", 0)


@pytest.mark.django_db
def test_a_batch_of_exits_takes_a_fixed_number_of_statements_to_look_at(
    django_assert_max_num_queries: Any,
) -> None:
    for _ in range(10):
        leave(make_trade(experiment_of()))
    # the claim, the locks, the situations; then for each exit its close, its sync and its verdict
    with django_assert_max_num_queries(30 + 10 * 6):
        assert apply_exits() == 10
