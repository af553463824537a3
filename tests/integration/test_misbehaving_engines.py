"""Engines that misbehave: the first fact stands, the rest are incidents, and a trade that nobody permitted halts trading."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from orchestrator.domain.execution import Filled, read_fill
from orchestrator.domain.vocabulary import Engine
from orchestrator.events import apply_events, read_event, store_event
from orchestrator.models import EngineEvent, ExecutionPermit, Experiment, Incident, PolicyRevision, RealTrade
from orchestrator.permits import settle_filled
from orchestrator.queue import arm_permits
from orchestrator.revisions import current_revision, record_revision
from tests.protocol_steps import again, apply_everything, arm, experiment_of, granted, now
from tests.working import in_threads

pytestmark = pytest.mark.django_db(transaction=True)


def report(engine: str, kind: str, data: dict[str, Any], *, message_id: str = "") -> EngineEvent:
    """Deliver an event as the endpoint does, apply the inbox, and return the event as it is then."""
    reading = read_event(json.dumps({"type": kind, "data": data}).encode())
    stored = store_event(Engine(engine), message_id or f"msg_{uuid4()}", reading)
    apply_everything()
    return EngineEvent.objects.get(pk=stored.event_id)


def fill(
    permit: ExecutionPermit | None = None, *, experiment: Experiment | None = None, **trade: Any
) -> dict[str, Any]:
    proper = {
        "external_id": "order-1",
        "entry_price": "4.40",
        "entry_time": now().isoformat(),
        "quantity": "2",
        "fees": "1.30",
    }
    data: dict[str, Any] = {"permit_id": str(permit.pk) if permit else None, "trade": proper | trade}
    return data | ({"experiment_id": str(experiment.pk)} if experiment else {})


def open_incidents() -> list[tuple[str, str]]:
    return sorted(Incident.objects.unresolved().values_list("kind", "severity"))


def lift_the_halt() -> None:
    assert record_revision({"TRADING_HALTED": False}, changed_by="olivia") is not None


UNAUTHORISED = ("UNAUTHORISED_EXECUTION", "CRITICAL")


# A real trade that nobody permitted halts trading


def without_any_permit() -> dict[str, Any]:
    return fill(experiment=experiment_of("SHADOW_ONLY"))


def under_a_permit_that_does_not_exist() -> dict[str, Any]:
    return fill(experiment=experiment_of("SHADOW_ONLY")) | {"permit_id": str(uuid4())}


def under_a_permit_that_was_never_sent() -> dict[str, Any]:
    return fill(granted())


def after_a_refusal() -> dict[str, Any]:
    return fill(granted(state="NOT_EXECUTED"))


def after_its_permit_had_ended() -> dict[str, Any]:
    return fill(granted(state="VOID"))


def under_the_other_engines_permit() -> dict[str, Any]:
    return fill(granted(engine="B"))


def of_nothing_of_ours() -> dict[str, Any]:
    return fill() | {"permit_id": str(uuid4())}


CRIMES = [
    without_any_permit,
    under_a_permit_that_does_not_exist,
    under_a_permit_that_was_never_sent,
    after_a_refusal,
    after_its_permit_had_ended,
    under_the_other_engines_permit,
    of_nothing_of_ours,
]


@pytest.mark.requirement("3.4")
@pytest.mark.parametrize("crime", CRIMES)
def test_a_real_trade_that_nobody_permitted_is_stored_told_of_and_halts_trading(crime: Any) -> None:
    data, waiting = crime(), granted()
    ExecutionPermit.objects.filter(state="GRANTED").exclude(pk=waiting.pk).update(
        next_attempt_at=now() + timedelta(hours=1)
    )
    assert not current_revision().trading_halted
    event = report("A", "execution.filled", data)
    assert event.verdict in ("CONFLICT", "UNMATCHED")
    assert UNAUTHORISED in open_incidents()
    stored = list(RealTrade.objects.values_list("engine", "external_id", "authorised"))
    assert stored == ([] if crime is of_nothing_of_ours else [("A", "order-1", False)])
    revision = current_revision()
    assert (revision.trading_halted, revision.changed_by) == (True, "orchestrator")
    assert arm() == []
    lift_the_halt()
    assert [permit.pk for permit in arm()] == [waiting.pk]


def test_the_halt_keeps_every_other_setting_and_comes_once() -> None:
    first = without_any_permit()
    record_revision({"EXECUTION_MODE": "SPLIT_CAPITAL", "SPLIT_PERCENTAGE": 70}, changed_by="olivia")
    report("A", "execution.filled", first)
    report("A", "execution.filled", first | {"trade": first["trade"] | {"external_id": "order-2"}})
    revision = current_revision()
    assert (revision.execution_mode, revision.split_percentage, revision.trading_halted) == ("SPLIT_CAPITAL", 70, True)
    assert PolicyRevision.objects.filter(trading_halted=True).count() == 1
    assert open_incidents() == [UNAUTHORISED, UNAUTHORISED]


@pytest.mark.parametrize("crime", [without_any_permit, of_nothing_of_ours])
def test_the_same_report_again_does_not_undo_what_an_operator_decided_but_another_trade_halts_again(crime: Any) -> None:
    data = crime()
    report("A", "execution.filled", data)
    lift_the_halt()
    report("A", "execution.filled", data)
    assert not current_revision().trading_halted
    report("A", "execution.filled", data | {"trade": data["trade"] | {"external_id": "order-2"}})
    assert current_revision().trading_halted


def test_the_trade_its_incident_and_the_halt_are_one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise RuntimeError("the halt cannot be written")

    monkeypatch.setattr("orchestrator.trades.halt_trading", fails)
    report("A", "execution.filled", without_any_permit())
    assert RealTrade.objects.count() == 0
    assert [kind for kind, _ in open_incidents()] == ["CONFLICTING_EVENT"]  # the event itself is not lost


def test_a_permitted_trade_halts_nothing() -> None:
    permit = granted(state="ARMED")
    assert report("A", "execution.filled", fill(permit)).verdict == "APPLIED"
    assert not current_revision().trading_halted
    assert open_incidents() == []


def test_trades_that_nobody_permitted_arming_and_operators_at_once_never_wait_in_a_circle() -> None:
    """Facts hold experiments and then ask for the policy; arming and saving hold the policy and ask for no experiment."""
    rounds = 8
    experiments = [experiment_of("SHADOW_ONLY") for _ in range(rounds)]
    permits = [granted() for _ in range(rounds)]

    def crimes(engine: str) -> None:
        for number in range(rounds):
            data = fill(experiment=experiments[number], external_id=f"{engine}-{number}")
            reading = read_event(json.dumps({"type": "execution.filled", "data": data}).encode())
            store_event(Engine(engine), f"m-{number}", reading)
            apply_events()

    def arming() -> None:
        for _ in range(rounds * 3):
            for permit in arm_permits(Engine.A, limit=1, lease="worker", lease_seconds=30):
                word = Filled(read_fill(fill(external_id=f"real-{permit.pk}")["trade"]))
                settle_filled(permit.pk, word, by="engine A", fence=permit.fence)

    def operating() -> None:
        for number in range(rounds * 3):
            record_revision({"TRADING_HALTED": False, "SPLIT_PERCENTAGE": number}, changed_by="olivia")

    in_threads(lambda: crimes("A"), lambda: crimes("B"), arming, operating)
    assert RealTrade.objects.filter(authorised=False).count() == 2 * rounds
    assert RealTrade.objects.filter(authorised=True).count() <= len(permits)
    assert Incident.objects.filter(kind="UNAUTHORISED_EXECUTION").count() == 2 * rounds
    assert not Incident.objects.exclude(kind="UNAUTHORISED_EXECUTION").exists()


# The first stands, the rest are incidents


def test_the_same_event_twice_changes_nothing() -> None:
    permit = granted(state="ARMED")
    first = report("A", "execution.filled", fill(permit), message_id="m1")
    second = report("A", "execution.filled", json.loads(first.body)["data"], message_id="m1")
    assert (first.pk, second.verdict, RealTrade.objects.count(), open_incidents()) == (second.pk, "APPLIED", 1, [])


def test_the_same_id_with_other_content_is_an_incident_and_the_first_stands() -> None:
    permit = granted(state="ARMED")
    report("A", "execution.filled", fill(permit), message_id="m1")
    report("A", "execution.filled", fill(permit, entry_price="9.99"), message_id="m1")
    assert str(RealTrade.objects.get().entry_price) == "4.40000000"
    assert open_incidents() == [("CONFLICTING_EVENT", "HIGH")]
    detail = Incident.objects.get().detail
    assert "4.40" in detail["first"]
    assert "9.99" in detail["second"]


@pytest.mark.parametrize("change", [{"entry_price": "4.41"}, {"quantity": "3"}, {"fees": "1.31"}])
def test_a_second_fill_with_another_price_is_an_incident_and_the_first_stands(change: dict[str, Any]) -> None:
    permit = granted(state="ARMED")
    first = fill(permit)
    report("A", "execution.filled", first)
    event = report("A", "execution.filled", first | {"trade": first["trade"] | change})
    trade = RealTrade.objects.get()
    assert (str(trade.entry_price), str(trade.quantity), str(trade.fees)) == ("4.40000000", "2.00000000", "1.30000000")
    assert (event.verdict, open_incidents()) == ("CONFLICT", [("CONFLICTING_EVENT", "HIGH")])
    assert not current_revision().trading_halted


def test_a_second_fill_under_another_reference_is_a_second_real_trade_and_halts_trading() -> None:
    permit = granted(state="ARMED")
    report("A", "execution.filled", fill(permit))
    report("A", "execution.filled", fill(permit, external_id="order-2"))
    assert list(RealTrade.objects.order_by("trade_id").values_list("authorised", flat=True)) == [True, False]
    assert UNAUTHORISED in open_incidents()
    assert current_revision().trading_halted


def test_a_refusal_after_a_fill_is_an_incident_and_the_fill_stands() -> None:
    permit = granted(state="ARMED")
    report("A", "execution.filled", fill(permit))
    event = report("A", "execution.rejected", {"permit_id": str(permit.pk), "reason": "no margin"})
    assert (event.verdict, again(permit).state) == ("CONFLICT", "EXECUTED")
    assert open_incidents() == [("CONFLICTING_EVENT", "HIGH")]


def test_a_fill_after_a_refusal_leaves_the_permit_as_it_ended() -> None:
    permit = granted(state="ARMED")
    report("A", "execution.rejected", {"permit_id": str(permit.pk), "reason": "no margin"})
    report("A", "execution.filled", fill(permit))
    assert again(permit).state == "NOT_EXECUTED"
    assert list(RealTrade.objects.values_list("authorised", flat=True)) == [False]
    assert UNAUTHORISED in open_incidents()


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("recommendation.completed", {"recommendation": None, "reason": "no"}),
        ("trade.exited", {"trade": None, "exit_price": "1", "exit_reason": "x", "market_conditions": {}}),
    ],
)
def test_an_event_about_an_experiment_that_does_not_exist_is_kept_with_an_incident(
    kind: str, data: dict[str, Any]
) -> None:
    event = report("A", kind, {"experiment_id": str(uuid4()), "exit_time": now().isoformat()} | data)
    assert event.verdict == "UNMATCHED"
    assert open_incidents() == [("UNMATCHED_EVENT", "MEDIUM")]


def test_a_refusal_of_the_other_engines_permit_settles_nothing() -> None:
    permit = granted(engine="A", state="UNKNOWN")
    event = report("B", "execution.rejected", {"permit_id": str(permit.pk), "reason": "not mine"})
    assert (event.verdict, again(permit).state) == ("UNMATCHED", "UNKNOWN")
    assert open_incidents() == [("UNMATCHED_EVENT", "MEDIUM")]


def test_a_second_exit_with_another_price_is_an_incident_and_the_first_stands() -> None:
    permit = granted(state="ARMED")
    report("A", "execution.filled", fill(permit, entry_time=(now() - timedelta(seconds=5)).isoformat()))
    left = {
        "experiment_id": str(permit.experiment_id),
        "trade": {"external_id": "order-1"},
        "exit_price": "5.10",
        "exit_time": now().isoformat(),
        "exit_reason": "target",
        "market_conditions": {},
    }
    assert report("A", "trade.exited", left).verdict == "APPLIED"
    assert report("A", "trade.exited", left | {"exit_price": "6.10"}).verdict == "CONFLICT"
    assert str(RealTrade.objects.get().outcome.exit_price) == "5.10000000"
    assert open_incidents() == [("CONFLICTING_EVENT", "HIGH")]
