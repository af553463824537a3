"""The one authorisation to trade: every move is fenced and committed, facts are recorded whoever holds them, on PostgreSQL."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from functools import partial
from itertools import product
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from pytest_django import Settings

from orchestrator.domain.execution import Fill, Filled
from orchestrator.domain.vocabulary import Engine, PermitState, Verdict
from orchestrator.engines.protocol import NoAnswer, NotSent, Reply
from orchestrator.models import EngineCall, EngineEvent, ExecutionPermit, Incident, RealTrade
from orchestrator.permits import doubt_silent_permits, settle_filled, settle_not_executed, void_expired_permits
from orchestrator.queue import claim_unsettled, database_clock
from orchestrator.revisions import record_revision
from tests.conftest import LogLines
from tests.engine_server import EngineServer
from tests.factories import make_event, make_revision, make_trade
from tests.protocol_steps import again, arm, granted, lose_lease, make_due, now, tell

TRADE = {
    "external_id": "order-7",
    "entry_price": "4.40",
    "entry_time": "2026-03-02T14:30:02.000000Z",
    "quantity": "2",
    "fees": "1.30",
}


def fill(**changes: Any) -> Fill:
    fields: dict[str, Any] = {
        "external_id": "order-7",
        "entry_price": Decimal("4.40"),
        "entry_time": now().replace(year=2026, month=3, day=2, hour=14, minute=30, second=2, microsecond=0),
        "quantity": Decimal(2),
        "fees": Decimal("1.30"),
    }
    return Fill(**(fields | changes))


def said(permit: ExecutionPermit, status: str, **more: Any) -> Reply:
    """Return what an engine answers about a permit."""
    return Reply(200, json.dumps({"permit_id": str(permit.pk), "status": status, **more}).encode())


def filled(permit: ExecutionPermit, **changes: Any) -> Reply:
    return said(permit, "FILLED", trade=TRADE | changes)


def open_incidents(permit: ExecutionPermit) -> list[str]:
    return sorted(Incident.objects.unresolved().filter(experiment=permit.experiment).values_list("kind", flat=True))


def capable(settings: Settings, **abilities: Any) -> None:
    """Configure both engines with these capabilities; nothing is sent to them here."""
    engines = {}
    for name in ("A", "B"):
        server = EngineServer(name)
        engines[name] = server.settings(**abilities)
        server.close()
    settings.ENGINES = engines


def claim(*, queryable: bool = False, idempotent: bool = False, engine: str = "A") -> list[ExecutionPermit]:
    return claim_unsettled(
        Engine(engine), limit=100, lease="worker 2", lease_seconds=30, queryable=queryable, idempotent=idempotent
    )


@contextmanager
def held_by_another(statement: str, permit: ExecutionPermit) -> Iterator[Callable[[], None]]:
    """Run a statement in an open transaction of another connection; call what is yielded to commit it."""
    done, may_commit = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement, [permit.pk])
                done.set()
                assert may_commit.wait(20)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold)
        assert done.wait(20)
        try:
            yield may_commit.set
        finally:
            may_commit.set()
            holding.result(20)


def in_thread(action: Callable[[], Any]) -> Any:
    try:
        return action()
    finally:
        connection.close()


@pytest.mark.django_db
class TestArming:
    @pytest.mark.requirement("10.4")
    def test_arming_counts_the_attempt_and_moves_the_fence_before_anything_is_sent(self) -> None:
        permit = granted()
        [armed] = arm(lease="worker 1", seconds=30)
        assert (armed.pk, armed.state, armed.fence, armed.attempts) == (permit.pk, "ARMED", 1, 1)
        assert armed.lease == "worker 1"
        assert armed.armed_at is not None
        assert armed.lease_expires_at is not None
        assert timedelta(seconds=29) < armed.lease_expires_at - armed.armed_at <= timedelta(seconds=31)
        assert 25 < armed.seconds_left < 30  # type: ignore[attr-defined]
        assert arm() == []

    def test_only_the_engine_of_the_permit_is_armed_and_only_as_many_as_asked_for(self) -> None:
        for _ in range(5):
            granted(engine="A")
        granted(engine="B")
        assert len(arm("A", limit=3)) == 3
        assert [permit.engine for permit in arm("B")] == ["B"]
        assert len(arm("A")) == 2

    @pytest.mark.requirement("3.4")
    def test_a_halt_stops_arming_and_its_end_lets_it_go_on(self) -> None:
        granted()
        record_revision({"TRADING_HALTED": True}, changed_by="operator")
        assert arm() == []
        record_revision({"TRADING_HALTED": False}, changed_by="operator")
        assert len(arm()) == 1

    def test_a_permit_past_not_after_is_never_armed_but_void_and_its_twin_is_told(self) -> None:
        permit = granted(seconds=-0.001)
        assert arm() == []
        assert void_expired_permits() == 1
        permit = again(permit)
        assert (permit.state, permit.resolved_by) == ("VOID", "not_after")
        assert permit.resolved_at is not None
        assert EngineCall.objects.filter(experiment=permit.experiment, engine="A", kind="SHADOW_TRADE").exists()
        assert void_expired_permits() == 0

    def test_a_permit_that_still_has_time_is_not_void(self) -> None:
        permit = granted(seconds=5)
        assert void_expired_permits() == 0
        assert again(permit).state == "GRANTED"


@pytest.mark.django_db(transaction=True)
class TestManyWorkers:
    @pytest.mark.requirement("3.5", "10.1", "10.2", "10.4", "property-12")
    def test_workers_that_arm_at_once_share_the_permits(self) -> None:
        permits = {granted().pk for _ in range(24)}
        start = threading.Barrier(8)

        def work(number: int) -> list[Any]:
            start.wait(10)
            return [permit.pk for _ in range(6) for permit in arm(limit=2, lease=f"worker {number}")]

        with ThreadPoolExecutor(8) as pool:
            armed = [pk for found in pool.map(lambda n: in_thread(lambda: work(n)), range(8)) for pk in found]
        assert sorted(armed) == sorted(permits)
        assert set(ExecutionPermit.objects.values_list("attempts", "fence", "state")) == {(1, 1, "ARMED")}

    @pytest.mark.requirement("10.4")
    def test_workers_that_ask_at_once_share_the_unsettled_permits(self) -> None:
        permits = {granted(state="UNKNOWN").pk for _ in range(12)}
        start = threading.Barrier(4)

        def work() -> list[Any]:
            start.wait(10)
            return [permit.pk for permit in claim(queryable=True)]

        with ThreadPoolExecutor(4) as pool:
            claimed = [pk for found in pool.map(lambda _: in_thread(work), range(4)) for pk in found]
        assert sorted(claimed) == sorted(permits)

    def test_arming_waits_for_a_halt_that_is_being_saved(self) -> None:
        permit = granted()
        saving, saved = threading.Event(), threading.Event()

        def halt() -> None:
            with transaction.atomic():
                record_revision({"TRADING_HALTED": True}, changed_by="operator")
                saving.set()
                assert saved.wait(20)

        with ThreadPoolExecutor(2) as pool:
            halting = pool.submit(in_thread, halt)
            assert saving.wait(20)
            arming = pool.submit(in_thread, arm)
            time.sleep(0.3)
            assert not arming.done()
            saved.set()
            halting.result(20)
            assert arming.result(20) == []
        assert again(permit).state == "GRANTED"

    def test_a_sweep_that_waits_for_an_arming_in_hand_leaves_the_permit_armed(self) -> None:
        # 1. a worker arms just before not_after  2. not_after passes  3. the sweep reads GRANTED and waits for the row
        permit = granted(seconds=-0.01)
        statement = "UPDATE execution_permits SET state = 'ARMED', armed_at = now(), fence = 1 WHERE permit_id = %s"
        with held_by_another(statement, permit) as commit, ThreadPoolExecutor(1) as pool:
            sweeping = pool.submit(in_thread, void_expired_permits)
            time.sleep(0.3)
            assert not sweeping.done()
            commit()
            assert sweeping.result(20) == 0
        assert again(permit).state == "ARMED"

    def test_a_doubt_that_waits_for_a_late_not_sent_leaves_the_permit_granted(self) -> None:
        permit = granted(state="ARMED", lease_expires_at=now() - timedelta(seconds=1))
        statement = "UPDATE execution_permits SET state = 'GRANTED', lease_expires_at = NULL WHERE permit_id = %s"
        with held_by_another(statement, permit) as commit, ThreadPoolExecutor(1) as pool:
            doubting = pool.submit(in_thread, doubt_silent_permits)
            time.sleep(0.3)
            assert not doubting.done()
            commit()
            assert doubting.result(20) == 0
        assert (again(permit).state, open_incidents(permit)) == ("GRANTED", [])

    def test_a_doubt_that_waits_for_a_late_acceptance_leaves_the_permit_armed(self) -> None:
        permit = granted(state="ARMED", lease_expires_at=now() - timedelta(seconds=1))
        statement = "UPDATE execution_permits SET accepted_at = now(), lease_expires_at = NULL WHERE permit_id = %s"
        with held_by_another(statement, permit) as commit, ThreadPoolExecutor(1) as pool:
            doubting = pool.submit(in_thread, doubt_silent_permits)
            time.sleep(0.3)
            commit()
            assert doubting.result(20) == 0
        assert (again(permit).state, open_incidents(permit)) == ("ARMED", [])

    def test_a_fact_waits_for_a_claim_in_hand_and_is_recorded_under_the_fence_that_it_leaves(self) -> None:
        permit = granted(state="UNKNOWN")
        statement = "UPDATE execution_permits SET fence = fence + 1, lease = 'worker 2' WHERE permit_id = %s"
        with held_by_another(statement, permit) as commit, ThreadPoolExecutor(1) as pool:
            settling = pool.submit(in_thread, partial(settle_filled, permit.pk, Filled(fill()), by="event 1"))
            time.sleep(0.3)
            assert not settling.done()
            commit()
            assert settling.result(20)[0] is Verdict.APPLIED
        assert (again(permit).state, again(permit).fence, again(permit).lease) == ("EXECUTED", permit.fence + 2, "")

    @pytest.mark.requirement("3.5", "10.2", "property-12")
    def test_the_same_fill_from_many_sides_at_once_is_one_trade(self) -> None:
        permit = granted(state="ARMED")
        start = threading.Barrier(6)

        def report(number: int) -> Verdict:
            start.wait(10)
            return settle_filled(permit.pk, Filled(fill()), by=f"event {number}")[0]

        with ThreadPoolExecutor(6) as pool:
            verdicts = list(pool.map(lambda n: in_thread(lambda: report(n)), range(6)))
        assert sorted(verdicts) == [Verdict.APPLIED] + [Verdict.DUPLICATE] * 5
        assert RealTrade.objects.count() == 1
        assert again(permit).state == "EXECUTED"

    def test_a_fill_and_a_refusal_at_once_leave_one_of_them_and_an_incident(self) -> None:
        for _ in range(5):
            permit = granted(state="UNKNOWN")
            word = Filled(fill(external_id=f"order-{permit.pk}"))
            with ThreadPoolExecutor(2) as pool:
                by_fill = pool.submit(in_thread, partial(settle_filled, permit.pk, word, by="one"))
                by_refusal = pool.submit(in_thread, partial(settle_not_executed, permit.pk, by="other", reason="no"))
                verdicts = {by_fill.result(20)[0], by_refusal.result(20)[0]}
            assert verdicts == {Verdict.APPLIED, Verdict.CONFLICT}
            trade = RealTrade.objects.get(experiment=permit.experiment)
            assert trade.authorised == (again(permit).state == "EXECUTED")
            assert open_incidents(permit) == ["CONFLICTING_EVENT" if trade.authorised else "UNAUTHORISED_EXECUTION"]


@pytest.mark.django_db
class TestDoubt:
    def test_a_worker_that_never_comes_back_leaves_an_unknown_execution_and_an_incident(self) -> None:
        permit = granted()
        [armed] = arm()
        assert doubt_silent_permits() == 0
        lose_lease(armed)
        assert doubt_silent_permits() == 1
        permit = again(permit)
        assert (permit.state, permit.lease, permit.resolved_at) == ("UNKNOWN", "", None)
        assert permit.fence > armed.fence
        [incident] = Incident.objects.unresolved()
        assert (incident.kind, incident.severity, incident.permit_id) == ("UNKNOWN_EXECUTION", "HIGH", permit.pk)

    @pytest.mark.parametrize("late", [NotSent("refused"), NoAnswer("reset"), Reply(500, b"")])
    def test_after_lease_loss_the_first_workers_intents_match_no_row(self, late: Reply | NotSent | NoAnswer) -> None:
        granted()
        [armed] = arm()
        lose_lease(armed)
        doubt_silent_permits()
        before = again(armed)
        after = tell(armed, late)
        assert (after.state, after.fence, after.detail) == ("UNKNOWN", before.fence, before.detail)
        assert open_incidents(armed) == ["UNKNOWN_EXECUTION"]

    def test_after_lease_loss_the_first_workers_answer_is_still_recorded(self) -> None:
        granted()
        [armed] = arm()
        lose_lease(armed)
        doubt_silent_permits()
        assert tell(armed, filled(armed)).state == "EXECUTED"
        assert RealTrade.objects.get().permit_id == armed.pk
        assert open_incidents(armed) == []
        resolved = Incident.objects.get(kind="UNKNOWN_EXECUTION")
        assert (resolved.resolved_by, resolved.resolved_at is not None) == ("engine A", True)

    def test_after_lease_loss_the_first_workers_refusal_is_still_recorded(self) -> None:
        granted()
        [armed] = arm()
        lose_lease(armed)
        doubt_silent_permits()
        after = tell(armed, said(armed, "REJECTED", reason="no margin"))
        assert (after.state, after.detail, open_incidents(armed)) == ("NOT_EXECUTED", "no margin", [])

    def test_an_accepted_permit_stays_armed_until_not_after_and_the_margin_have_passed(
        self, settings: Settings
    ) -> None:
        settings.CLOCK_MARGIN_SECONDS = 5.0
        just, long_ago = granted(seconds=30, state="GRANTED"), granted(seconds=30)
        for armed in arm():
            accepted = tell(armed, Reply(202, b'{"status": "ACCEPTED"}'))
            assert (accepted.state, accepted.lease_expires_at) == ("ARMED", None)
            assert accepted.accepted_at is not None
        assert doubt_silent_permits() == 0
        in_margin = granted(seconds=-4, state="ARMED", accepted_at=now(), lease_expires_at=None)
        over = granted(seconds=-6, state="ARMED", accepted_at=now(), lease_expires_at=None)
        assert doubt_silent_permits() == 1
        assert [again(one).state for one in (just, long_ago, in_margin, over)] == ["ARMED"] * 3 + ["UNKNOWN"]
        assert open_incidents(over) == ["UNKNOWN_EXECUTION"]

    def test_a_late_acceptance_is_kept_and_nothing_is_sent_again(self) -> None:
        granted()
        [armed] = arm()
        lose_lease(armed)
        doubt_silent_permits()
        after = tell(armed, Reply(202, b""))
        assert (after.state, after.accepted_at is not None) == ("UNKNOWN", True)
        make_due(armed)
        assert claim(idempotent=True) == []

    @pytest.mark.parametrize(
        ("said_so", "state"),
        [
            (NotSent("connection refused"), "GRANTED"),
            (NoAnswer("time-out"), "UNKNOWN"),
            (Reply(500, b"oops"), "UNKNOWN"),
            (Reply(503, b'{"permit_id": "x", "status": "REJECTED"}'), "UNKNOWN"),
            (Reply(400, b'{"error": "bad"}'), "UNKNOWN"),
            (Reply(404, b""), "UNKNOWN"),
            (Reply(409, b""), "UNKNOWN"),
            (Reply(302, b""), "UNKNOWN"),
            (Reply(204, b""), "UNKNOWN"),
            (Reply(200, b""), "UNKNOWN"),
            (Reply(200, b"<html>"), "UNKNOWN"),
            (Reply(200, b"\xff\xfe"), "UNKNOWN"),
            (Reply(200, b"[]"), "UNKNOWN"),
            (Reply(200, b'{"status": "FILLED"}'), "UNKNOWN"),
            (Reply(202, b"<html>"), "UNKNOWN"),
            (Reply(202, json.dumps({"permit_id": str(uuid4()), "status": "ACCEPTED"}).encode()), "UNKNOWN"),
        ],
    )
    def test_what_an_answer_to_the_only_request_makes_of_a_permit(
        self, said_so: Reply | NotSent | NoAnswer, state: str
    ) -> None:
        permit = granted()
        [armed] = arm()
        after = tell(armed, said_so)
        assert after.state == state
        assert (after.lease, after.lease_expires_at) == ("", None)
        assert open_incidents(permit) == (["UNKNOWN_EXECUTION"] if state == "UNKNOWN" else [])
        assert after.detail
        assert RealTrade.objects.count() == 0

    @pytest.mark.parametrize(
        "answer",
        [
            {"permit_id": str(uuid4())},
            {"status": "DONE"},
            {"status": None},
            {"trade": None},
            {"trade": TRADE | {"entry_price": "NaN"}},
            {"trade": TRADE | {"entry_price": "-1"}},
            {"trade": TRADE | {"entry_price": None}},
            {"trade": TRADE | {"quantity": "0"}},
            {"trade": TRADE | {"quantity": "-2"}},
            {"trade": TRADE | {"entry_time": "2026-03-02T14:30:00"}},
            {"trade": TRADE | {"entry_time": "yesterday"}},
            {"trade": TRADE | {"external_id": ""}},
            {"trade": TRADE | {"external_id": 7}},
            {"trade": TRADE | {"external_id": "x" * 201}},
            {"trade": TRADE | {"fees": "many"}},
        ],
    )
    def test_a_fill_that_cannot_be_read_is_unknown(self, answer: dict[str, Any]) -> None:
        permit = granted()
        [armed] = arm()
        body = {"permit_id": str(permit.pk), "status": "FILLED", "trade": TRADE} | answer
        assert tell(armed, Reply(200, json.dumps(body).encode())).state == "UNKNOWN"
        assert open_incidents(permit) == ["UNKNOWN_EXECUTION"]
        assert RealTrade.objects.count() == 0

    def test_a_refused_connection_is_tried_again_after_a_pause_until_not_after(self) -> None:
        permit = granted()
        [armed] = arm()
        after = tell(armed, NotSent("connection refused"))
        assert after.next_attempt_at > database_clock()
        assert arm() == []
        make_due(permit)
        [armed] = arm()
        assert (armed.attempts, armed.fence) == (2, 2)
        assert tell(armed, filled(armed)).state == "EXECUTED"


WORDS = ("filled", "refused")
# state before, word -> state after, verdict, whether the trade is authorised (None: no trade), incident
SETTLEMENTS = {
    ("GRANTED", "filled"): ("VOID", "CONFLICT", False, "UNAUTHORISED_EXECUTION"),
    ("GRANTED", "refused"): ("GRANTED", "CONFLICT", None, "CONFLICTING_EVENT"),
    ("ARMED", "filled"): ("EXECUTED", "APPLIED", True, None),
    ("ARMED", "refused"): ("NOT_EXECUTED", "APPLIED", None, None),
    ("UNKNOWN", "filled"): ("EXECUTED", "APPLIED", True, None),
    ("UNKNOWN", "refused"): ("NOT_EXECUTED", "APPLIED", None, None),
    ("EXECUTED", "filled"): ("EXECUTED", "CONFLICT", False, "UNAUTHORISED_EXECUTION"),
    ("EXECUTED", "refused"): ("EXECUTED", "CONFLICT", None, "CONFLICTING_EVENT"),
    ("NOT_EXECUTED", "filled"): ("NOT_EXECUTED", "CONFLICT", False, "UNAUTHORISED_EXECUTION"),
    ("NOT_EXECUTED", "refused"): ("NOT_EXECUTED", "DUPLICATE", None, None),
    ("VOID", "filled"): ("VOID", "CONFLICT", False, "UNAUTHORISED_EXECUTION"),
    ("VOID", "refused"): ("VOID", "DUPLICATE", None, None),
}


@pytest.mark.django_db
class TestSettlement:
    def test_the_table_is_complete(self) -> None:
        assert set(SETTLEMENTS) == set(product(PermitState, WORDS))

    @pytest.mark.requirement("3.5")
    @pytest.mark.parametrize(("before", "word"), SETTLEMENTS)
    def test_what_a_fact_makes_of_a_permit(self, before: str, word: str) -> None:
        after, verdict, authorised, incident = SETTLEMENTS[before, word]
        permit = granted(state=before)
        if before == "EXECUTED":
            make_trade(permit.experiment, permit=permit, external_id="the first")
        if word == "filled":
            found, sentence = settle_filled(permit.pk, Filled(fill()), by="engine A")
        else:
            found, sentence = settle_not_executed(permit.pk, by="engine A", reason="no margin")
        assert (again(permit).state, found) == (after, verdict)
        assert sentence
        trades = RealTrade.objects.filter(external_id="order-7")
        assert [trade.authorised for trade in trades] == ([] if authorised is None else [authorised])
        assert open_incidents(permit) == ([incident] if incident else [])

    @pytest.mark.requirement("3.5", "property-12")
    def test_the_same_fill_again_is_a_duplicate_and_a_different_one_does_not_replace_it(self) -> None:
        permit = granted(state="ARMED")
        assert settle_filled(permit.pk, Filled(fill()), by="a")[0] is Verdict.APPLIED
        assert settle_filled(permit.pk, Filled(fill()), by="b")[0] is Verdict.DUPLICATE
        assert open_incidents(permit) == []
        assert settle_filled(permit.pk, Filled(fill(entry_price=Decimal("9.99"))), by="c")[0] is Verdict.CONFLICT
        assert RealTrade.objects.get().entry_price == Decimal("4.40")
        assert open_incidents(permit) == ["CONFLICTING_EVENT"]

    def test_a_second_real_order_under_one_permit_is_stored_as_what_it_is(self) -> None:
        permit = granted(state="ARMED")
        settle_filled(permit.pk, Filled(fill()), by="a")
        for _ in range(2):
            settle_filled(permit.pk, Filled(fill(external_id="order-8")), by="b")
        first, second = RealTrade.objects.order_by("external_id")
        assert (first.authorised, first.permit_id) == (True, permit.pk)
        assert (second.authorised, second.permit_id) == (False, None)
        [incident] = Incident.objects.unresolved()
        assert (incident.kind, incident.severity) == ("UNAUTHORISED_EXECUTION", "CRITICAL")

    def test_an_unauthorised_fill_told_again_is_a_duplicate(self) -> None:
        permit = granted(state="VOID")
        assert settle_filled(permit.pk, Filled(fill()), by="a")[0] is Verdict.CONFLICT
        assert settle_filled(permit.pk, Filled(fill()), by="b")[0] is Verdict.DUPLICATE
        assert settle_filled(permit.pk, Filled(fill(quantity=Decimal(3))), by="c")[0] is Verdict.CONFLICT
        assert open_incidents(permit) == ["CONFLICTING_EVENT", "UNAUTHORISED_EXECUTION"]
        assert RealTrade.objects.get().quantity == Decimal(2)

    @pytest.mark.parametrize("before", ["ARMED", "UNKNOWN"])
    def test_a_fill_under_another_trades_reference_settles_nothing(self, before: str) -> None:
        settle_filled(granted(state="ARMED").pk, Filled(fill()), by="a")
        permit = granted(state=before)
        assert settle_filled(permit.pk, Filled(fill()), by="b")[0] is Verdict.CONFLICT
        assert again(permit).state == "UNKNOWN"
        assert "CONFLICTING_EVENT" in open_incidents(permit)
        assert RealTrade.objects.count() == 1

    def test_two_engines_may_use_the_same_reference(self) -> None:
        settle_filled(granted(engine="A", state="ARMED").pk, Filled(fill()), by="a")
        assert settle_filled(granted(engine="B", state="ARMED").pk, Filled(fill()), by="b")[0] is Verdict.APPLIED

    @pytest.mark.requirement("4.1")
    def test_a_permit_that_ends_without_execution_lets_its_engine_follow_the_twin(self) -> None:
        permit = granted(state="ARMED")
        settle_not_executed(permit.pk, by="engine A", reason="no margin")
        told = EngineCall.objects.get(experiment=permit.experiment, kind="SHADOW_TRADE")
        assert (told.engine, told.state) == ("A", "PENDING")

    def test_an_executed_permit_does_not_have_its_twin_told(self) -> None:
        permit = granted(state="ARMED")
        settle_filled(permit.pk, Filled(fill()), by="engine A")
        assert not EngineCall.objects.filter(kind="SHADOW_TRADE").exists()

    def test_facts_that_waited_are_looked_at_again(self) -> None:
        permit = granted(state="UNKNOWN")
        event = make_event("A", experiment=permit.experiment, verdict="WAITING")
        settle_filled(permit.pk, Filled(fill()), by="engine A")
        event.refresh_from_db()
        assert event.verdict is None

    def test_an_exit_that_a_query_brings_along_goes_into_the_inbox_once(self) -> None:
        permit = granted(state="UNKNOWN")
        left = {
            "exit_price": "5.10",
            "exit_time": "2026-03-02T15:00:00Z",
            "exit_reason": "target",
            "fees": "1.30",
            "market_conditions": {"underlying_price": 590.1, "quotes": {}},
        }
        for _ in range(2):
            [claimed] = claim(queryable=True) or [permit]
            tell(claimed, said(permit, "FILLED", trade=TRADE, exit=left), is_query=True)
        event = EngineEvent.objects.get()
        data = json.loads(event.body)["data"]
        assert data == left | {"experiment_id": str(permit.experiment_id), "trade": {"external_id": "order-7"}}
        assert (event.type, event.verdict, event.experiment_id) == ("trade.exited", None, permit.experiment_id)

    def test_an_exit_that_comes_after_the_fill_was_known_is_not_lost(self) -> None:
        permit = granted(state="UNKNOWN")
        [claimed] = claim(queryable=True)
        settle_filled(permit.pk, Filled(fill()), by="event 1")
        left = {"exit_price": "5.10", "exit_time": "2026-03-02T15:00:00Z", "exit_reason": "target"}
        tell(claimed, said(permit, "FILLED", trade=TRADE, exit=left), is_query=True)
        assert EngineEvent.objects.filter(type="trade.exited").count() == 1

    def test_an_answer_that_cannot_be_recorded_becomes_an_incident_and_raises_nothing(self) -> None:
        permit = granted()
        [armed] = arm()
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE real_trades ADD CONSTRAINT poison CHECK (external_id <> 'order-7')")
        assert tell(armed, filled(permit)).state == "ARMED"
        [incident] = Incident.objects.unresolved()
        assert (incident.kind, incident.permit_id) == ("POISON_WORK", permit.pk)
        assert "order-7" in incident.detail["answer"]

    def test_the_settlement_is_one_log_line_with_the_signal(self, log_lines: LogLines) -> None:
        permit = granted(state="ARMED")
        settle_filled(permit.pk, Filled(fill()), by="engine A")
        [line] = log_lines.of("permit.resolved")
        assert (line["state"], line["signal_id"]) == ("EXECUTED", str(permit.experiment.signal_id))
        [opened] = log_lines.of("trade.opened")
        assert (opened["external_id"], opened["authorised"]) == ("order-7", True)


@pytest.mark.django_db
class TestUnsettled:
    @pytest.mark.parametrize(
        ("permit_is", "engine_is", "done"),
        [
            # nothing is asked of an engine that can neither be asked nor be sent the same again
            ("UNKNOWN", "", None),
            ("ARMED accepted", "", None),
            # an engine that deduplicates is sent the same again, before not_after only
            ("UNKNOWN", "idempotent", "resend"),
            ("UNKNOWN late", "idempotent", None),
            ("UNKNOWN", "idempotent queryable", "resend"),
            ("UNKNOWN late", "idempotent queryable", "query"),
            # not while trading is halted, and not what it has accepted
            ("UNKNOWN halted", "idempotent", None),
            ("UNKNOWN halted", "idempotent queryable", "query"),
            ("UNKNOWN accepted", "idempotent", None),
            ("UNKNOWN accepted", "idempotent queryable", "query"),
            ("ARMED accepted", "idempotent", None),
            ("ARMED accepted", "idempotent queryable", "query"),
            # any other engine is asked
            ("UNKNOWN", "queryable", "query"),
            ("UNKNOWN late", "queryable", "query"),
            ("ARMED accepted", "queryable", "query"),
            # what a worker has in hand is left alone, what is settled as well
            ("ARMED", "idempotent queryable", None),
            ("GRANTED", "idempotent queryable", None),
            ("EXECUTED", "idempotent queryable", None),
            ("NOT_EXECUTED", "idempotent queryable", None),
            ("VOID", "idempotent queryable", None),
        ],
    )
    def test_what_is_done_about_an_unsettled_permit(self, permit_is: str, engine_is: str, done: str | None) -> None:
        state, *more = permit_is.split()
        queryable, idempotent = "queryable" in engine_is, "idempotent" in engine_is
        permit = granted(
            state=state, seconds=-1 if "late" in more else 30, accepted_at=now() if "accepted" in more else None
        )
        if "halted" in more:
            make_revision(trading_halted=True)
        claimed = claim(queryable=queryable, idempotent=idempotent)
        assert [("resend" if one.resend else "query") for one in claimed] == ([done] if done else [])  # type: ignore[attr-defined]
        after = again(permit)
        assert after.state == state
        assert after.attempts == permit.attempts + (done == "resend")
        assert (after.fence > permit.fence) == (done is not None)
        assert claim(queryable=queryable, idempotent=idempotent) == []

    def test_a_question_whose_worker_died_is_asked_again_when_its_lease_has_ended(self) -> None:
        permit = granted(state="UNKNOWN")
        [first] = claim(queryable=True)
        assert claim(queryable=True) == []
        make_due(permit)
        [second] = claim(queryable=True)
        assert second.fence > first.fence
        assert tell(first, NoAnswer("late"), is_query=True).lease == "worker 2"
        assert again(permit).lease_expires_at is not None

    @pytest.mark.parametrize("accepted", [False, True])
    @pytest.mark.parametrize("honours", [False, True])
    @pytest.mark.parametrize("seconds", [30, -1, -6])
    def test_not_found_is_a_proof_only_after_not_after_and_the_margin_from_an_engine_that_honours_it(
        self, settings: Settings, honours: bool, seconds: float, accepted: bool
    ) -> None:
        capable(settings, queryable=True, honours_not_after=honours)
        settings.CLOCK_MARGIN_SECONDS = 5.0
        permit = granted(state="UNKNOWN", seconds=seconds, accepted_at=now() if accepted else None)
        [claimed] = claim(queryable=True)
        after = tell(claimed, Reply(404, b"{}"), is_query=True)
        proven = honours and seconds == -6 and not accepted
        assert after.state == ("NOT_EXECUTED" if proven else "UNKNOWN")
        if not proven:
            assert (after.lease, after.next_attempt_at > database_clock()) == ("", True)
            assert "not found" in again(permit).detail

    def test_the_deadline_is_judged_by_the_time_of_asking_not_of_the_answer(self, settings: Settings) -> None:
        capable(settings, queryable=True, honours_not_after=True)
        settings.CLOCK_MARGIN_SECONDS = 0.1
        permit = granted(state="UNKNOWN", seconds=0.2)
        [early] = claim(queryable=True)
        time.sleep(0.5)
        assert tell(early, Reply(404, b""), is_query=True).state == "UNKNOWN"
        make_due(permit)
        [late] = claim(queryable=True)
        assert tell(late, Reply(404, b""), is_query=True).state == "NOT_EXECUTED"

    def test_not_found_in_answer_to_an_order_proves_nothing(self, settings: Settings) -> None:
        capable(settings, queryable=True, honours_not_after=True)
        granted()
        [armed] = arm()
        assert tell(armed, Reply(404, b"")).state == "UNKNOWN"

    def test_a_refusal_of_a_retry_proves_nothing_about_the_first_attempt(self) -> None:
        permit = granted(state="UNKNOWN")
        [retry] = claim(idempotent=True)
        after = tell(retry, said(permit, "REJECTED", reason="seen before"), is_resend=True)
        assert (after.state, after.lease) == ("UNKNOWN", "")
        assert "seen before" in after.detail

    def test_a_refusal_of_the_first_attempt_proves_nothing_about_a_retry(self) -> None:
        # 1. the first attempt is slow  2. it is doubted and sent again  3. its refusal arrives while the retry is out
        granted()
        [first] = arm()
        lose_lease(first)
        doubt_silent_permits()
        make_due(first)
        [retry] = claim(idempotent=True)
        assert tell(first, said(first, "REJECTED", reason="market closed")).state == "UNKNOWN"
        assert tell(retry, filled(retry), is_resend=True).state == "EXECUTED"
        assert open_incidents(first) == []

    def test_what_a_question_is_told_settles_also_what_was_sent_twice(self) -> None:
        permit = granted(state="UNKNOWN")
        claim(idempotent=True)
        make_due(permit)
        [asked] = claim(queryable=True)
        assert tell(asked, said(permit, "REJECTED", reason="no margin"), is_query=True).state == "NOT_EXECUTED"

    @pytest.mark.parametrize("outcome", [NotSent("refused"), NoAnswer("time-out"), Reply(500, b""), Reply(200, b"?")])
    @pytest.mark.parametrize("how", ["is_query", "is_resend"])
    def test_a_question_or_repetition_without_an_answer_changes_nothing(
        self, outcome: Reply | NotSent | NoAnswer, how: str
    ) -> None:
        permit = granted(state="UNKNOWN")
        [claimed] = claim(queryable=how == "is_query", idempotent=how == "is_resend")
        after = tell(claimed, outcome, **{how: True})
        assert (after.state, after.lease, after.lease_expires_at) == ("UNKNOWN", "", None)
        assert after.next_attempt_at > database_clock()
        assert RealTrade.objects.filter(experiment=permit.experiment).count() == 0

    def test_questions_become_rarer_the_longer_nothing_is_known(self) -> None:
        waits = []
        for seconds in (1, 100, 100_000):
            permit = granted(state="UNKNOWN", armed_at=now() - timedelta(seconds=seconds))
            [claimed] = claim(queryable=True)
            waits.append((tell(claimed, NoAnswer("-"), is_query=True).next_attempt_at - now()).total_seconds())
            ExecutionPermit.objects.filter(pk=permit.pk).update(state="NOT_EXECUTED")
        assert waits == pytest.approx([2, 10, 60], abs=1)
