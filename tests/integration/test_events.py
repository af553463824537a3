"""The inbox: facts in any order, any number of times, by any number of workers, always come to the same end."""

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from orchestrator.domain.execution import Fill, Filled
from orchestrator.domain.vocabulary import Engine, Verdict
from orchestrator.events import apply_events, close_event, read_event, store_event
from orchestrator.models import EngineCall, EngineEvent, ExecutionPermit, Experiment, Incident, RealTrade, ShadowTrade
from orchestrator.permits import settle_filled
from orchestrator.queue import lock_experiments
from outcomes.exits import apply_exits
from outcomes.models import ExitSync, RealTradeOutcome, ShadowTradeOutcome
from tests.factories import make_recommendation, make_shadow_trade, make_terms, make_trade
from tests.protocol_steps import apply_everything, experiment_of, granted, now

A_CALL, B_PUT = "SPY260320C00590000", "SPY260320P00590000"
CONDITIONS = {"underlying_price": "590.10", "quotes": {B_PUT: {"bid": "5.00", "ask": "5.20", "last": None}}}
PUT_TERMS = make_terms(
    instrument=make_terms()["instrument"] | {"option_symbol": B_PUT, "right": "PUT"}, entry_price="3.10", quantity="3"
)

Fact = tuple[str, str, dict[str, Any]]  # engine, type, data


def store(engine: str, kind: str, data: dict[str, Any], *, message_id: str = "") -> EngineEvent:
    """Put an event into the inbox as the endpoint does."""
    reading = read_event(json.dumps({"type": kind, "data": data}).encode())
    stored = store_event(Engine(engine), message_id or f"msg_{uuid4()}", reading)
    return EngineEvent.objects.get(pk=stored.event_id)


def answer_of(experiment: Experiment, engine: str, terms: dict[str, Any] | None) -> Fact:
    call = EngineCall.objects.get(experiment=experiment, engine=engine, kind="RECOMMENDATION")
    data = {
        "experiment_id": str(experiment.pk),
        "input_hash": call.input_hash,
        "recommendation": terms,
        "reason": "because",
    }
    return engine, "recommendation.completed", data


def exit_of(
    experiment: Experiment, engine: str, *, price: str, after: float, external_id: str | None = None, fees: str = "0"
) -> Fact:
    """Return the exit of a real trade or, without a reference, of the engine's own shadow; ``after`` in seconds from now."""
    data = {
        "experiment_id": str(experiment.pk),
        "trade": {"external_id": external_id} if external_id else None,
        "exit_price": price,
        "exit_time": (now() + timedelta(seconds=after)).isoformat(),
        "exit_reason": "target",
        "fees": fees,
        "market_conditions": CONDITIONS,
    }
    return engine, "trade.exited", data


def fill_of(experiment: Experiment, engine: str, *, permit: ExecutionPermit | None, external_id: str) -> Fact:
    trade = {
        "external_id": external_id,
        "entry_price": "4.40",
        "entry_time": now().isoformat(),
        "quantity": "2",
        "fees": "1.30",
    }
    data = {
        "permit_id": str(permit.pk) if permit else None,
        "experiment_id": str(experiment.pk),
        "trade": trade,
    }
    return engine, "execution.filled", data


def final_state(experiment: Experiment) -> dict[str, Any]:
    """Return everything that matters when the dust has settled, without ids and times of recording."""
    permit = ExecutionPermit.objects.filter(experiment=experiment).first()
    sync = ExitSync.objects.filter(experiment=experiment).first()
    real: dict[str, Any] = {
        trade.engine: (trade.authorised, trade.status, str(trade.entry_price))
        for trade in RealTrade.objects.filter(experiment=experiment)
    }
    shadow = {
        trade.engine: (trade.purpose, trade.status, str(trade.own_exit_price), trade.own_exit_time)
        for trade in ShadowTrade.objects.filter(experiment=experiment)
    }
    outcomes = sorted(
        (type(one).__name__, one.engine, str(one.pnl), one.exit_time, json.dumps(one.market_conditions, sort_keys=True))
        for table in (RealTradeOutcome, ShadowTradeOutcome)
        for one in table.objects.filter(experiment=experiment)
    )
    return {
        "permit": permit and permit.state,
        "sync": sync and (sync.state, sync.lead_engine, sync.lead_is_real, sync.exit_time),
        "real": real,
        "shadow": shadow,
        "outcomes": outcomes,
        "verdicts": set(
            EngineEvent.objects.filter(experiment=experiment)
            .exclude(verdict="DUPLICATE")
            .values_list("type", "engine", "verdict")
        ),
        "incidents": sorted(Incident.objects.unresolved().filter(experiment=experiment).values_list("kind", flat=True)),
    }


# The stories: each returns its facts in the order in which they happened


def real_story() -> tuple[Experiment, list[Fact]]:
    """Engine A trades and leaves; B answers, and both engines report what their own shadow did."""
    permit = granted(engine="A", state="ARMED")
    experiment = permit.experiment
    return experiment, [
        fill_of(experiment, "A", permit=permit, external_id=f"order-{permit.pk}"),
        answer_of(experiment, "B", PUT_TERMS),
        exit_of(experiment, "B", price="4.00", after=20),
        exit_of(experiment, "A", price="5.00", after=25),
        exit_of(experiment, "A", price="5.10", after=30, external_id=f"order-{permit.pk}", fees="1.30"),
    ]


def refused_story() -> tuple[Experiment, list[Fact]]:
    """Engine A refuses its order; the variant's shadow leads, the other one leaves with it."""
    permit = granted(engine="A", state="UNKNOWN")
    experiment = permit.experiment
    return experiment, [
        ("A", "execution.rejected", {"permit_id": str(permit.pk), "reason": "no margin"}),
        answer_of(experiment, "B", PUT_TERMS | {"instrument": make_terms()["instrument"]}),
        exit_of(experiment, "A", price="5.00", after=20),
        exit_of(experiment, "B", price="4.00", after=25),
    ]


def shadow_story() -> tuple[Experiment, list[Fact]]:
    """Nobody may trade; one engine passes, so that the other one leads whatever the variant."""
    experiment = experiment_of("SHADOW_ONLY")
    return experiment, [
        answer_of(experiment, "B", PUT_TERMS),
        answer_of(experiment, "A", None),
        exit_of(experiment, "B", price="4.00", after=25),
    ]


def rogue_story() -> tuple[Experiment, list[Fact]]:
    """Nobody may trade, and engine A trades all the same."""
    experiment = experiment_of("SHADOW_ONLY")
    make_recommendation(experiment, "A")
    make_shadow_trade(experiment, "A")
    reference = f"rogue-{experiment.pk}"
    return experiment, [
        fill_of(experiment, "A", permit=None, external_id=reference),
        answer_of(experiment, "B", None),
        exit_of(experiment, "A", price="5.10", after=20, external_id=reference),
        exit_of(experiment, "A", price="5.00", after=25),
    ]


STORIES: dict[str, Callable[[], tuple[Experiment, list[Fact]]]] = {
    "real": real_story,
    "refused": refused_story,
    "shadow": shadow_story,
    "rogue": rogue_story,
}
EXPECTED_PNL = {
    # (5.10 - 4.40) * 200 - 2.60; the twin 5.10 - 4.35; B at the mid of its own contract, 5.10 - 3.10
    "real": {
        ("RealTradeOutcome", "A", "137.40"),
        ("ShadowTradeOutcome", "A", "150.00"),
        ("ShadowTradeOutcome", "B", "600.00"),
    },
    "shadow": {("ShadowTradeOutcome", "B", "270.00")},
    "rogue": {("RealTradeOutcome", "A", "138.70"), ("ShadowTradeOutcome", "A", "130.00")},
}


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[int], list[bool], list[bool]]:
    """Draw an order with repetitions: which fact, whether under its old message id, whether it is applied at once."""
    order = draw(st.permutations(range(5)))
    repeated = draw(st.lists(st.integers(0, 4), max_size=6))
    for one in repeated:
        order.insert(draw(st.integers(0, len(order))), one)
    size = len(order)
    flags = st.lists(st.booleans(), min_size=size, max_size=size)
    return list(order), draw(flags), draw(flags)


@pytest.mark.django_db
@pytest.mark.requirement("4.2", "property-15", "property-17")
@examples(max_examples=100)
@given(story=st.sampled_from(sorted(STORIES)), delivery=deliveries())
def test_facts_in_any_order_any_number_of_times_come_to_the_same_end(
    story: str, delivery: tuple[list[int], list[bool], list[bool]]
) -> None:
    experiment, facts = STORIES[story]()
    order, same_message, at_once = delivery
    for number, again, apply in zip(order, same_message, at_once, strict=True):
        if number < len(facts):
            engine, kind, data = facts[number]
            store(engine, kind, data, message_id=f"{experiment.pk}:{number}" if again else "")
            if apply:
                apply_everything()
    apply_everything()
    found = final_state(experiment)
    in_order = in_the_order_they_happened(experiment, facts)
    assert found == in_order
    assert not EngineEvent.objects.filter(experiment=experiment, verdict__in=[None, "WAITING", "UNMATCHED"]).exists()
    if story in EXPECTED_PNL:
        closed = {(kind, engine, pnl.removesuffix("000000")) for kind, engine, pnl, *_ in found["outcomes"]}
        assert closed == EXPECTED_PNL[story]


def in_the_order_they_happened(experiment: Experiment, facts: Sequence[Fact]) -> dict[str, Any]:
    """Say what these facts must lead to, by DESIGN §9 rather than by the code."""
    times = {
        (engine, data["trade"] is not None): data["exit_time"] for engine, kind, data in facts if kind == "trade.exited"
    }
    moments = {key: _moment(value) for key, value in times.items()}
    is_real = any(kind == "execution.filled" and data["permit_id"] for _, kind, data in facts)
    rogue = any(kind == "execution.filled" and not data["permit_id"] for _, kind, data in facts)
    opened = {one.engine for one in ShadowTrade.objects.filter(experiment=experiment)}
    executed = experiment.policy.executed_engine
    lead_engine = "A" if is_real else next(e for e in (experiment.variant, "A", "B") if e in opened)
    left_at = moments[lead_engine, is_real]
    own = {"A": "5.00000000", "B": "4.00000000"}
    shadow = {
        engine: (
            "TWIN" if engine == executed else "SHADOW",
            "CLOSED",
            "None" if engine == lead_engine and not is_real else own[engine],
            None if engine == lead_engine and not is_real else moments[engine, False],
        )
        for engine in opened
    }
    followers = opened - ({lead_engine} if not is_real else set())
    outcomes = final_state(experiment)["outcomes"]  # the amounts are compared with those computed by hand
    assert {(kind, engine) for kind, engine, *_ in outcomes} == {
        ("ShadowTradeOutcome", engine) for engine in opened
    } | ({("RealTradeOutcome", "A")} if is_real or rogue else set())
    assert len(outcomes) == len(opened) + (is_real or rogue)
    assert {at for kind, _, _, at, _ in outcomes if kind == "ShadowTradeOutcome"} == {left_at}
    assert len({conditions for *_, conditions in outcomes}) == 1
    states = {"real": "EXECUTED", "refused": "NOT_EXECUTED"}
    return {
        "permit": states["real"] if is_real else (states["refused"] if executed else None),
        "sync": ("DONE" if followers else "NOT_APPLICABLE", lead_engine, is_real, left_at),
        "real": {"A": (is_real, "CLOSED", "4.40000000")} if is_real or rogue else {},
        "shadow": shadow,
        "outcomes": outcomes,
        "verdicts": {
            (kind, engine, "CONFLICT" if rogue and kind == "execution.filled" else "APPLIED")
            for engine, kind, _ in facts
        },
        "incidents": ["UNAUTHORISED_EXECUTION"] if rogue else [],
    }


def _moment(text: str) -> Any:
    return type(now()).fromisoformat(text)


# One at a time


@pytest.mark.django_db
class TestOrder:
    def test_an_exit_before_its_entry_waits_and_is_applied_when_the_entry_comes(self) -> None:
        permit = granted(engine="A", state="ARMED")
        early = store(*exit_of(permit.experiment, "A", price="5.10", after=5, external_id="order-7"))
        apply_everything()
        early.refresh_from_db()
        assert (early.verdict, early.applied_at) == ("WAITING", None)
        assert Incident.objects.count() == 0
        store(*fill_of(permit.experiment, "A", permit=permit, external_id="order-7"))
        apply_everything()
        early.refresh_from_db()
        assert early.verdict == "APPLIED"
        assert early.applied_at is not None
        assert RealTrade.objects.get().status == "CLOSED"

    @pytest.mark.parametrize("state", ["GRANTED", "ARMED", "UNKNOWN"])
    def test_while_a_permit_is_unsettled_exits_of_the_shadows_wait(self, state: str) -> None:
        permit = granted(engine="A", state=state)
        make_recommendation(permit.experiment, "B")
        make_shadow_trade(permit.experiment, "B")
        for engine in "AB":
            store(*exit_of(permit.experiment, engine, price="5.00", after=5))
        apply_everything()
        assert set(EngineEvent.objects.values_list("verdict", flat=True)) == {"WAITING"}
        assert ShadowTradeOutcome.objects.count() == 0

    def test_an_exit_of_an_engine_that_has_not_answered_waits(self) -> None:
        experiment = experiment_of("SHADOW_ONLY")
        event = store(*exit_of(experiment, "B", price="5.00", after=5))
        apply_everything()
        event.refresh_from_db()
        assert event.verdict == "WAITING"
        store(*answer_of(experiment, "B", None))
        apply_everything()
        event.refresh_from_db()
        assert (event.verdict, Incident.objects.get().kind) == ("UNMATCHED", "UNMATCHED_EVENT")

    def test_an_exit_is_applied_once_and_another_one_does_not_replace_it(self) -> None:
        trade = make_trade(experiment_of())
        first = store(*exit_of(trade.experiment, "A", price="5.10", after=5, external_id=trade.external_id))
        apply_everything()
        second = store(*exit_of(trade.experiment, "A", price="9.99", after=5, external_id=trade.external_id))
        again = store("A", "trade.exited", json.loads(first.body)["data"])
        apply_everything()
        for event, verdict in ((first, "APPLIED"), (second, "CONFLICT"), (again, "DUPLICATE")):
            event.refresh_from_db()
            assert event.verdict == verdict
        assert str(RealTradeOutcome.objects.get().exit_price) == "5.10000000"
        assert Incident.objects.get().kind == "CONFLICTING_EVENT"

    def test_an_exit_of_the_other_engines_trade_is_unmatched_with_an_incident(self) -> None:
        trade = make_trade(experiment_of())
        event = store(*exit_of(trade.experiment, "B", price="5.10", after=5, external_id=trade.external_id))
        make_recommendation(trade.experiment, "B", action="PASS")
        apply_everything()
        event.refresh_from_db()
        assert (event.verdict, RealTrade.objects.get().status) == ("UNMATCHED", "OPEN")
        assert Incident.objects.get().subject == f"event:{event.pk}"

    def test_a_real_exit_of_the_engine_that_may_not_execute_waits_for_nothing(self) -> None:
        permit = granted(engine="A", state="ARMED")
        event = store(*exit_of(permit.experiment, "B", price="5.10", after=5, external_id="order-7"))
        apply_everything()
        event.refresh_from_db()
        assert event.verdict == "UNMATCHED"

    def test_an_exit_in_the_future_is_an_incident_and_closes_nothing(self) -> None:
        trade = make_trade(experiment_of())
        event = store(*exit_of(trade.experiment, "A", price="5.10", after=3600, external_id=trade.external_id))
        apply_everything()
        event.refresh_from_db()
        assert (event.verdict, "future" in event.detail) == ("CONFLICT", True)
        assert (RealTrade.objects.get().status, Incident.objects.get().kind) == ("OPEN", "CONFLICTING_EVENT")

    def test_an_exit_before_the_entrys_time_is_an_incident(self) -> None:
        trade = make_trade(experiment_of())
        event = store(*exit_of(trade.experiment, "A", price="5.10", after=-3600, external_id=trade.external_id))
        apply_everything()
        event.refresh_from_db()
        assert (event.verdict, "before the entry" in event.detail) == ("CONFLICT", True)
        assert RealTrade.objects.get().status == "OPEN"


@pytest.mark.django_db
class TestFills:
    @pytest.mark.requirement("3.4", "3.5")
    def test_a_fill_under_shadow_only_is_stored_as_what_it_is_with_the_highest_severity(self) -> None:
        experiment = experiment_of("SHADOW_ONLY")
        event = store(*fill_of(experiment, "B", permit=None, external_id="rogue"))
        apply_everything()
        trade = RealTrade.objects.get()
        assert (trade.authorised, trade.permit_id, trade.engine, trade.experiment_id) == (
            False,
            None,
            "B",
            experiment.pk,
        )
        incident = Incident.objects.get()
        assert (incident.kind, incident.severity) == ("UNAUTHORISED_EXECUTION", "CRITICAL")
        event.refresh_from_db()
        assert event.verdict == "CONFLICT"

    def test_a_fill_under_the_other_engines_permit_is_that_engines_unauthorised_trade(self) -> None:
        permit = granted(engine="A", state="ARMED")
        _, kind, data = fill_of(permit.experiment, "B", permit=permit, external_id="rogue")
        del data["experiment_id"]
        store("B", kind, data)
        apply_everything()
        trade = RealTrade.objects.get()
        assert (trade.authorised, trade.engine, trade.experiment_id) == (False, "B", permit.experiment_id)
        assert ExecutionPermit.objects.get().state == "ARMED"

    def test_a_fill_that_names_nothing_of_ours_is_critical_too(self) -> None:
        fill = fill_of(experiment_of(), "A", permit=None, external_id="rogue")[2]["trade"]
        event = store("A", "execution.filled", {"permit_id": str(uuid4()), "trade": fill})
        apply_everything()
        event.refresh_from_db()
        assert event.verdict == "UNMATCHED"
        assert set(Incident.objects.values_list("kind", "severity")) == {
            ("UNMATCHED_EVENT", "MEDIUM"),
            ("UNAUTHORISED_EXECUTION", "CRITICAL"),
        }
        assert RealTrade.objects.count() == 0

    @pytest.mark.parametrize("kind", ["same", "other price", "other reference"])
    def test_a_second_fill(self, kind: str) -> None:
        permit = granted(engine="A", state="ARMED")
        first = fill_of(permit.experiment, "A", permit=permit, external_id="order-7")
        store(*first)
        apply_everything()
        data = json.loads(json.dumps(first[2]))
        data["trade"] |= {
            "same": {},
            "other price": {"entry_price": "9.99"},
            "other reference": {"external_id": "order-8"},
        }[kind]
        second = store("A", "execution.filled", data)
        apply_everything()
        second.refresh_from_db()
        assert second.verdict == ("DUPLICATE" if kind == "same" else "CONFLICT")
        authorised = RealTrade.objects.get(authorised=True)
        assert (authorised.external_id, str(authorised.entry_price)) == ("order-7", "4.40000000")
        assert (
            list(Incident.objects.values_list("kind", flat=True))
            == {
                "same": [],
                "other price": ["CONFLICTING_EVENT"],
                "other reference": ["UNAUTHORISED_EXECUTION"],
            }[kind]
        )

    def test_a_fill_after_a_refusal_is_unauthorised_and_the_refusal_stands(self) -> None:
        permit = granted(engine="A", state="ARMED")
        store("A", "execution.rejected", {"permit_id": str(permit.pk), "reason": "no margin"})
        apply_everything()
        store(*fill_of(permit.experiment, "A", permit=permit, external_id="order-7"))
        apply_everything()
        assert ExecutionPermit.objects.get().state == "NOT_EXECUTED"
        assert RealTrade.objects.get().authorised is False
        assert Incident.objects.get().severity == "CRITICAL"

    def test_the_exit_of_an_unauthorised_trade_closes_it_and_it_leads_nobody(self) -> None:
        experiment = experiment_of("SHADOW_ONLY")
        make_recommendation(experiment, "A")
        make_shadow_trade(experiment, "A")
        store(*fill_of(experiment, "A", permit=None, external_id="rogue"))
        store(*exit_of(experiment, "A", price="5.10", after=5, external_id="rogue"))
        apply_everything()
        assert RealTrade.objects.get().status == "CLOSED"
        assert ShadowTrade.objects.get().status == "OPEN"
        assert ExitSync.objects.count() == 0


@pytest.mark.django_db
class TestPoison:
    def test_an_event_that_cannot_be_applied_holds_up_no_other(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE real_trades ADD CONSTRAINT poison CHECK (external_id <> 'poison')")
        events = []
        for external_id in ("one", "poison", "two"):
            permit = granted(engine="A", state="ARMED")
            events.append(store(*fill_of(permit.experiment, "A", permit=permit, external_id=external_id)))
        apply_everything()
        for event in events:
            event.refresh_from_db()
        assert [event.verdict for event in events] == ["APPLIED", "CONFLICT", "APPLIED"]
        assert Incident.objects.get().subject == f"event:{events[1].pk}"

    def test_an_answer_that_cannot_be_recorded_holds_up_no_other(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE recommendations ADD CONSTRAINT poison CHECK (reason <> 'poison')")
        experiments = [experiment_of("SHADOW_ONLY") for _ in range(3)]
        events = []
        for experiment, reason in zip(experiments, ("one", "poison", "two"), strict=True):
            engine, kind, data = answer_of(experiment, "A", None)
            events.append(store(engine, kind, data | {"reason": reason}))
        apply_everything()
        for event in events:
            event.refresh_from_db()
        assert [event.verdict for event in events] == ["APPLIED", "CONFLICT", "APPLIED"]

    def test_an_exit_that_cannot_be_applied_holds_up_no_other(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE real_trade_outcomes ADD CONSTRAINT poison CHECK (exit_price <> 6.66)")
        trades = [make_trade(experiment_of()) for _ in range(3)]
        for trade, price in zip(trades, ("5.10", "6.66", "5.10"), strict=True):
            store(*exit_of(trade.experiment, "A", price=price, after=5, external_id=trade.external_id))
        apply_everything()
        statuses = [RealTrade.objects.get(pk=trade.pk).status for trade in trades]
        assert statuses == ["CLOSED", "OPEN", "CLOSED"]
        assert Incident.objects.get().experiment_id == trades[1].experiment_id


@pytest.mark.django_db(transaction=True)
class TestOneAfterTheOther:
    def test_an_exit_waits_for_whoever_has_its_experiment_in_hand(self) -> None:
        permit = granted(engine="A", state="ARMED")
        event = store(*exit_of(permit.experiment, "A", price="5.10", after=5, external_id="order-7"))
        fill = Fill("order-7", Decimal("4.40"), now(), Decimal(2), Decimal("1.30"))
        applying = threading.Thread(target=in_thread, args=(apply_exits,))
        with transaction.atomic():
            settle_filled(permit.pk, Filled(fill), by="engine A")
            applying.start()
            applying.join(0.3)
            assert applying.is_alive()
        applying.join(10)
        event.refresh_from_db()
        assert (event.verdict, event.detail) == ("APPLIED", "The lead is closed.")

    def test_what_another_worker_applied_in_the_meantime_is_not_applied_again(self) -> None:
        trade = make_trade(experiment_of())
        event = store(*exit_of(trade.experiment, "A", price="5.10", after=3600, external_id=trade.external_id))
        applying = threading.Thread(target=in_thread, args=(apply_exits,))
        with transaction.atomic():
            lock_experiments([trade.experiment_id])
            applying.start()
            applying.join(0.3)
            close_event(event, Verdict.CONFLICT, "another worker said so")
        applying.join(10)
        event.refresh_from_db()
        assert event.detail == "another worker said so"
        assert Incident.objects.count() == 0


def in_thread(action: Callable[[], object]) -> None:
    try:
        action()
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.requirement("10.2", "10.4", "property-17")
def test_workers_that_apply_the_same_inbox_at_once_record_everything_once() -> None:
    stories = [story() for story in [real_story, refused_story, rogue_story] * 4]
    for experiment, facts in stories:
        for number, (engine, kind, data) in reversed(list(enumerate(facts))):
            store(engine, kind, data, message_id=f"{experiment.pk}:{number}")
            store(engine, kind, data)
    start = threading.Barrier(5)

    def work(_: int) -> None:
        start.wait(10)
        try:
            for _round in range(3):
                while apply_events(limit=7) + apply_exits(limit=7):
                    pass
                apply_everything()
        finally:
            connection.close()

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(work, range(5)))
    for experiment, facts in stories:
        assert final_state(experiment) == in_the_order_they_happened(experiment, facts)
    assert not EngineEvent.objects.filter(verdict=None).exists()
    applied = EngineEvent.objects.filter(verdict="APPLIED").count()
    unauthorised = RealTrade.objects.filter(authorised=False).count()
    assert applied == sum(len(facts) for _, facts in stories) - unauthorised
    assert unauthorised == 4
