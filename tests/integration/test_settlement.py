"""Settling incidents: what each choice records, who may, when, and what becomes of two operators at once."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from threading import Barrier

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client, override_settings
from django.urls import reverse

from orchestrator.domain.execution import Fill, Filled
from orchestrator.domain.settling import UnusableInput
from orchestrator.domain.vocabulary import Engine, IncidentKind
from orchestrator.events import read_event, store_event
from orchestrator.experiments import process_signals
from orchestrator.incidents import open_incident
from orchestrator.models import EngineCall, EngineEvent, ExecutionPermit, Experiment, Incident, RealTrade, ShadowTrade
from orchestrator.permits import doubt_silent_permits, settle_filled
from orchestrator.queue import claim_signals
from orchestrator.settlement import AlreadySettled, NotPossible, choices_for, settle
from outcomes.exits import _ask_operator
from outcomes.expiry import report_expired_trades
from outcomes.invariants import violations
from outcomes.models import ExitSync, RealTradeOutcome, ShadowTradeOutcome
from tests.factories import (
    OPTION,
    make_exit_sync,
    make_experiment,
    make_incident,
    make_outcome,
    make_recommendation,
    make_shadow_trade,
    make_signal,
    make_terms,
    make_trade,
)
from tests.integration.test_admin import page_of, text_of
from tests.protocol_steps import apply_everything, granted, lose_lease, now

pytestmark = pytest.mark.django_db

WHY = "Seen in the broker's order book."


def unknown(*, engine: str = "A", seconds_over: float = 120) -> Incident:
    """Write an execution that is UNKNOWN, with its incident; its not_after passed ``seconds_over`` ago."""
    armed_at = now() - timedelta(seconds=seconds_over + 30)
    permit = granted(engine=engine, state="ARMED", seconds=-seconds_over, armed_at=armed_at)
    make_recommendation(permit.experiment, "B" if engine == "A" else "A", action="PASS")
    lose_lease(permit)
    assert doubt_silent_permits() == 1
    return Incident.objects.get(kind="UNKNOWN_EXECUTION", permit=permit)


def permit_of(incident: Incident) -> ExecutionPermit:
    """Return the permit of an incident as it is now."""
    return ExecutionPermit.objects.get(incidents=incident)


def fill(**overrides: str) -> dict[str, str]:
    told = {"price": "4.40", "quantity": "2", "time": now().isoformat(timespec="seconds"), "fees": "1.30"}
    return told | {"reference": "IB-1", "reason": WHY} | overrides


def engine_says(message_id: str, kind: str, **data: object) -> None:
    """Put an event of engine A into the inbox, as its endpoint does."""
    store_event(Engine.A, message_id, read_event(json.dumps({"type": kind, "data": data}).encode()))


def operator(name: str = "ann", *permissions: str) -> User:
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(codename__in=permissions or ["view_incident", "settle_incident"])
    )
    return user


def path_of(incident: Incident, choice: str) -> str:
    return reverse("admin:orchestrator_incident_settle", args=[incident.pk, choice])


def names(incident: Incident) -> list[str]:
    return [choice.name for choice in choices_for(incident)]


# An unknown execution


def test_an_execution_that_an_operator_found_is_recorded_like_the_engines_own_word() -> None:
    incident = unknown()
    recorded = settle(incident.pk, "executed", given=fill(), by="ann")
    permit, trade = permit_of(incident), RealTrade.objects.get()
    assert (permit.state, permit.resolved_by) == ("EXECUTED", "ann")
    assert (trade.authorised, trade.permit_id, trade.external_id) == (True, permit.pk, "IB-1")
    assert (trade.entry_price, trade.quantity, trade.fees) == (Decimal("4.40"), Decimal(2), Decimal("1.30"))
    incident.refresh_from_db()
    assert incident.resolved_by == "ann"
    assert incident.resolution == f"It was executed. {recorded} Reason: {WHY}"
    assert "reference IB-1" in recorded
    assert violations() == []


def test_exits_that_waited_for_the_operator_are_applied_and_take_the_twin_along() -> None:
    incident = unknown()
    exit_time = now() + timedelta(seconds=1)
    engine_says(
        "msg_exit",
        "trade.exited",
        experiment_id=str(incident.experiment_id),
        trade={"external_id": "IB-1"},
        exit_price="5.10",
        exit_time=exit_time.isoformat(),
        exit_reason="target",
        fees="1.30",
        market_conditions={},
    )
    apply_everything()
    assert EngineEvent.objects.get().verdict == "WAITING"
    assert "1 exit waits" in " ".join(choices_for(incident)[0].effects(incident))
    settle(incident.pk, "executed", given=fill(), by="ann")
    apply_everything()
    assert EngineEvent.objects.get().verdict == "APPLIED"
    assert RealTradeOutcome.objects.get().pnl == Decimal("137.40")
    assert ShadowTradeOutcome.objects.get().exit_time == RealTradeOutcome.objects.get().exit_time
    assert violations() == []


def test_an_execution_that_did_not_happen_ends_the_permit_and_leaves_the_twin_to_its_engine() -> None:
    incident = unknown()
    settle(incident.pk, "not-executed", given={"reason": WHY}, by="ann")
    permit = permit_of(incident)
    assert (permit.state, permit.resolved_by, permit.detail) == ("NOT_EXECUTED", "ann", WHY)
    assert not RealTrade.objects.exists()
    assert EngineCall.objects.filter(kind="SHADOW_TRADE", engine="A").count() == 1
    incident.refresh_from_db()
    assert incident.resolved_by == "ann"
    assert violations() == []


def test_an_engine_that_contradicts_the_operator_later_is_an_unauthorised_trade() -> None:
    incident = unknown()
    settle(incident.pk, "not-executed", given={"reason": WHY}, by="ann")
    trade = {
        "external_id": "IB-9",
        "entry_price": "4.4",
        "entry_time": now().isoformat(),
        "quantity": "2",
        "fees": None,
    }
    engine_says("msg_late", "execution.filled", permit_id=str(incident.permit_id), trade=trade)
    apply_everything()
    assert permit_of(incident).state == "NOT_EXECUTED"
    assert RealTrade.objects.get().authorised is False
    assert Incident.objects.unresolved().get().kind == "UNAUTHORISED_EXECUTION"
    assert violations() == []


@pytest.mark.parametrize("choice", ["executed", "not-executed"])
def test_nothing_can_be_settled_before_not_after_and_the_quiet_period_have_passed(choice: str) -> None:
    incident = unknown(seconds_over=59)
    with pytest.raises(NotPossible, match="too early"):
        settle(incident.pk, choice, given=fill(), by="ann")
    assert permit_of(incident).state == "UNKNOWN"
    incident.refresh_from_db()
    assert incident.resolved_at is None
    with override_settings(QUIET_PERIOD_SECONDS=58.0):
        settle(incident.pk, choice, given=fill(), by="ann")
    assert permit_of(incident).state != "UNKNOWN"


def test_the_engines_own_word_goes_first_when_it_has_just_come() -> None:
    incident = unknown()
    engine_says("msg_own", "execution.rejected", permit_id=str(incident.permit_id), reason="no funds")
    with pytest.raises(NotPossible, match="own word"):
        settle(incident.pk, "executed", given=fill(), by="ann")
    apply_everything()
    with pytest.raises(AlreadySettled, match="event msg_own settled it"):
        settle(incident.pk, "executed", given=fill(), by="ann")
    assert permit_of(incident).state == "NOT_EXECUTED"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("price", "NaN", "The price is 'NaN'; accepted is a finite decimal number of at least 0"),
        ("price", "-1", "The price is '-1'; accepted"),
        ("price", "", "The price is missing; accepted"),
        ("price", "1e400", "The price is '1e400'; accepted"),
        ("price", "4,40", "The price is '4,40'; accepted"),
        ("quantity", "0", "The quantity is '0'; accepted is a finite decimal number above 0"),
        ("quantity", "Infinity", "The quantity is 'Infinity'; accepted"),
        ("fees", "x", "The fees is 'x'; accepted"),
        ("time", "yesterday", "The time is 'yesterday'; accepted is a time in UTC such as"),
        ("time", "2999-01-01T00:00:00", "in the future"),
        ("time", "2020-01-01T00:00:00Z", "before the signal was received"),
        ("reference", "", "The reference is missing; accepted is a text of 1 to 200 characters"),
        ("reference", "x" * 201, "The reference is 201 characters long"),
        ("reference", "a\x00b", "The reference is 3 characters long"),
        ("reason", "", "The reason is missing; accepted is a text of 5 to 1000 characters"),
    ],
)
def test_what_cannot_be_recorded_is_refused_with_a_sentence_at_its_field(field: str, value: str, said: str) -> None:
    incident = unknown()
    with pytest.raises(UnusableInput) as refused:
        settle(incident.pk, "executed", given=fill(**{field: value}), by="ann")
    assert list(refused.value.problems) == [field]
    assert said in refused.value.problems[field]
    assert not RealTrade.objects.exists()
    incident.refresh_from_db()
    assert incident.resolved_at is None


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(UnusableInput) as refused:
        settle(unknown().pk, "executed", given={}, by="ann")
    assert set(refused.value.problems) == {"price", "quantity", "time", "reference", "reason"}


def test_a_reference_names_one_trade() -> None:
    other = make_trade(make_experiment(execution_mode="ENGINE_A_PRIMARY"), external_id="IB-1")
    incident = unknown()
    with pytest.raises(UnusableInput) as refused:
        settle(incident.pk, "executed", given=fill(), by="ann")
    assert f"experiment {other.experiment_id}" in refused.value.problems["reference"]
    assert permit_of(incident).state == "UNKNOWN"


# A follower without a price


def blocked() -> Incident:
    """Write a real trade that has exited and a follower on another contract for which nobody knows a price."""
    experiment = make_experiment(execution_mode="ENGINE_A_PRIMARY")
    make_recommendation(experiment, "A")
    other = make_terms(instrument=OPTION | {"option_symbol": "SPY260320C00600000", "strike": "600"})
    make_recommendation(experiment, "B", terms=other)
    lead, twin = make_trade(experiment), make_shadow_trade(experiment, "A")
    follower = make_shadow_trade(experiment, "B", terms=other)
    for trade in (lead, twin):
        make_outcome(trade)
    make_exit_sync(lead, state="BLOCKED")
    _ask_operator(follower, "its engine answered without a price")
    assert violations() == []
    return Incident.objects.get(kind="MISSING_EXIT_PRICE")


def test_a_follower_is_closed_at_the_operators_price_with_its_lead() -> None:
    incident = blocked()
    recorded = settle(incident.pk, "exit-price", given={"price": "3.05", "reason": WHY}, by="ann")
    outcome = ShadowTradeOutcome.objects.get(trade__pk=incident.subject)
    lead = RealTradeOutcome.objects.get()
    assert (outcome.exit_price, outcome.pnl) == (Decimal("3.05"), Decimal(-260))
    assert (outcome.exit_time, outcome.exit_reason, outcome.market_conditions) == (
        lead.exit_time,
        lead.exit_reason,
        lead.market_conditions,
    )
    assert ExitSync.objects.get().state == "DONE"
    assert recorded == "Closed at 3.05, P&L -260."
    assert not Incident.objects.unresolved().exists()
    assert violations() == []


@pytest.mark.parametrize("price", ["NaN", "-0.01", "", "999999999999"])
def test_an_exit_price_that_makes_no_sense_is_refused(price: str) -> None:
    incident = blocked()
    with pytest.raises(UnusableInput) as refused:
        settle(incident.pk, "exit-price", given={"price": price, "reason": WHY}, by="ann")
    assert list(refused.value.problems) == ["price"]
    assert ExitSync.objects.get().state == "BLOCKED"
    assert violations() == []


def test_a_missing_price_is_not_acknowledged_away() -> None:
    incident = blocked()
    with pytest.raises(NotPossible, match="still open"):
        settle(incident.pk, "acknowledge", given={"reason": WHY}, by="ann")


# An open trade whose contract has expired


def expired(*, mode: str = "ENGINE_A_PRIMARY") -> Experiment:
    """Write trades that are open although their option is long gone, each with its incident."""
    old = make_terms(instrument=OPTION | {"option_symbol": "SPY200320C00300000", "expiration": "2020-03-20"})
    experiment = make_experiment(execution_mode=mode, at=now() - timedelta(minutes=1))
    for engine in ("A", "B"):
        make_recommendation(experiment, engine, terms=old)
        make_shadow_trade(experiment, engine, terms=old)
    if mode != "SHADOW_ONLY":
        make_trade(experiment, terms=old)
    report_expired_trades()
    return experiment


def told_exit(**overrides: str) -> dict[str, str]:
    return {"price": "0", "time": now().isoformat(timespec="seconds"), "reason": WHY} | overrides


def test_the_exit_of_an_expired_real_trade_closes_it_and_takes_its_followers_along() -> None:
    expired()
    trade = RealTrade.objects.get()
    settle(Incident.objects.get(subject=str(trade.pk)).pk, "exit", given=told_exit(fees="0.50"), by="ann")
    outcome = RealTradeOutcome.objects.get()
    assert (outcome.exit_price, outcome.fees, outcome.exit_reason) == (
        Decimal(0),
        Decimal("1.80"),
        "told by an operator",
    )
    assert ShadowTradeOutcome.objects.filter(exit_time=outcome.exit_time, exit_price=0).count() == 2
    event = EngineEvent.objects.get()
    assert (event.verdict, event.message_id.split(":")[0]) == ("APPLIED", "operator")
    assert '"told_by": "ann"' in event.body
    assert violations() == []
    follower = Incident.objects.unresolved().first()
    assert follower is not None
    settle(follower.pk, "acknowledge", given={"reason": "It left with its lead."}, by="ann")


def test_the_exit_of_an_expired_follower_is_kept_as_its_own() -> None:
    expired()
    follower = ShadowTrade.objects.get(purpose="SHADOW")
    incident = Incident.objects.get(subject=str(follower.pk))
    assert "own exit" in choices_for(incident)[0].effects(incident)[0]
    settle(incident.pk, "exit", given=told_exit(price="0.05"), by="ann")
    follower.refresh_from_db()
    assert (follower.status, follower.own_exit_price) == ("OPEN", Decimal("0.05"))
    assert violations() == []


def test_the_lead_of_shadow_trades_is_closed_by_an_operator_too() -> None:
    experiment = expired(mode="SHADOW_ONLY")
    lead = ShadowTrade.objects.get(engine=experiment.variant)
    settle(Incident.objects.get(subject=str(lead.pk)).pk, "exit", given=told_exit(), by="ann")
    assert ShadowTradeOutcome.objects.count() == 2
    assert ExitSync.objects.get().lead_trade_id == lead.pk
    assert violations() == []


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("time", "2020-01-01", "before the entry"), ("time", "2999-01-01", "in the future"), ("fees", "NaN", "fees")],
)
def test_an_exit_that_makes_no_sense_is_refused(field: str, value: str, said: str) -> None:
    expired()
    incident = Incident.objects.get(subject=str(RealTrade.objects.get().pk))
    with pytest.raises(UnusableInput) as refused:
        settle(incident.pk, "exit", given=told_exit(**{field: value}), by="ann")
    assert said in refused.value.problems[field]
    assert not EngineEvent.objects.exists()


# What is parked, and what only has to be seen


def test_a_parked_signal_can_be_tried_again() -> None:
    signal = make_signal()
    type(signal).objects.filter(pk=signal.pk).update(parked_at=now(), attempts=5, last_error="boom")
    open_incident(IncidentKind.POISON_SIGNAL, subject=str(signal.pk), detail={"what": "parked"})
    incident = Incident.objects.get()
    assert names(incident) == ["try-again", "acknowledge"]
    settle(incident.pk, "try-again", given={"reason": WHY}, by="ann")
    process_signals(claim_signals(limit=10, lease_seconds=30))
    assert Experiment.objects.get().signal_id == signal.pk
    assert violations() == []


def test_a_parked_signal_that_was_acknowledged_stays_parked() -> None:
    signal = make_signal()
    type(signal).objects.filter(pk=signal.pk).update(parked_at=now(), attempts=5)
    open_incident(IncidentKind.POISON_SIGNAL, subject=str(signal.pk), detail={"what": "parked"})
    settle(Incident.objects.get().pk, "acknowledge", given={"reason": WHY}, by="ann")
    assert claim_signals(limit=10, lease_seconds=30) == []
    assert violations() == []


SETTLED_BY_FACTS = {IncidentKind.UNKNOWN_EXECUTION, IncidentKind.MISSING_EXIT_PRICE, IncidentKind.EXPIRED_OPEN_TRADE}


@pytest.mark.parametrize("kind", [kind for kind in IncidentKind if kind not in SETTLED_BY_FACTS])
def test_what_needs_no_fact_is_acknowledged(kind: IncidentKind) -> None:
    incident = make_incident(kind=kind.value)
    assert names(incident) == ["acknowledge"]
    settle(incident.pk, "acknowledge", given={"reason": WHY}, by="ann")
    incident.refresh_from_db()
    assert (incident.resolved_by, incident.resolution) == (
        "ann",
        f"Acknowledged. Nothing else was changed. Reason: {WHY}",
    )


@pytest.mark.parametrize("kind", IncidentKind)
def test_nothing_is_ever_sent_again_by_an_operator(kind: IncidentKind) -> None:
    offered = {choice for incident in (unknown(), make_incident(kind=kind.value)) for choice in names(incident)}
    assert offered <= {"executed", "not-executed", "acknowledge"}


# Two operators at once


def at_once(*actions: Callable[[], str]) -> list[str | Exception]:
    """Do all at the same moment, each on a connection of its own."""
    barrier = Barrier(len(actions))

    def do(action: Callable[[], str]) -> str | Exception:
        try:
            barrier.wait(10)
            return action()
        except (AlreadySettled, NotPossible) as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(actions)) as threads:
        return list(threads.map(do, actions))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", range(5))
def test_of_two_operators_one_wins_and_the_other_is_told_who(turn: int) -> None:
    incident = unknown()
    answers = at_once(
        lambda: settle(incident.pk, "executed", given=fill(), by="ann"),
        lambda: settle(incident.pk, "not-executed", given={"reason": WHY}, by="bob"),
    )
    [recorded] = [answer for answer in answers if isinstance(answer, str)]
    [refused] = [answer for answer in answers if not isinstance(answer, str)]
    incident.refresh_from_db()
    winner = "ann" if answers[0] is recorded else "bob"
    assert incident.resolved_by == winner
    assert isinstance(refused, AlreadySettled)
    assert f"{winner} settled it at" in str(refused)
    assert permit_of(incident).state == ("EXECUTED" if winner == "ann" else "NOT_EXECUTED")
    assert RealTrade.objects.count() == (1 if winner == "ann" else 0)
    assert violations() == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", range(3))
def test_an_operator_and_the_engines_own_word_at_once_come_to_one_end(turn: int) -> None:
    incident = unknown()
    assert incident.permit_id is not None
    permit_id, found = incident.permit_id, Fill("IB-7", Decimal("4.40"), now(), Decimal(2), Decimal(0))
    told, _ = at_once(
        lambda: settle(incident.pk, "not-executed", given={"reason": WHY}, by="ann"),
        lambda: settle_filled(permit_id, Filled(found), by="engine A")[1],
    )
    permit, trade = permit_of(incident), RealTrade.objects.get()
    if isinstance(told, str):
        assert (permit.state, trade.authorised) == ("NOT_EXECUTED", False)
        assert Incident.objects.unresolved().get().kind == "UNAUTHORISED_EXECUTION"
    else:
        assert "engine A settled it at" in str(told)
        assert (permit.state, trade.authorised) == ("EXECUTED", True)
        assert not Incident.objects.unresolved().exists()
    assert violations() == []


@pytest.mark.django_db(transaction=True)
def test_two_operators_cannot_give_two_trades_one_reference() -> None:
    first, second = unknown(), unknown()

    def say(incident: Incident, by: str) -> str:
        try:
            return settle(incident.pk, "executed", given=fill(), by=by)
        except UnusableInput as error:
            raise NotPossible(error.problems["reference"]) from None

    answers = at_once(lambda: say(first, "ann"), lambda: say(second, "bob"))
    assert [type(answer) for answer in answers].count(str) == 1
    assert RealTrade.objects.count() == 1
    assert Incident.objects.unresolved().count() == 1
    assert violations() == []


# The pages


def test_the_page_says_what_happened_what_can_be_done_and_shows_the_evidence(client: Client) -> None:
    client.force_login(operator())
    incident = unknown()
    shown = text_of(client.get(page_of(incident)))
    for said in (
        "it is not known whether it did",
        "It was executed",
        "It was not executed",
        "The permit becomes NOT_EXECUTED, for good",
        "the twin of engine A will exit with it",
        "permit armed: the order may have left",
        "POST /executions to engine A",
        f'"permit_id":"{incident.permit_id}"',
        "made for a test",  # the answer to the letter
    ):
        assert said in shown, said
    source = client.get(page_of(incident)).content.decode()
    assert path_of(incident, "executed") in source
    assert "resend" not in source.lower()
    assert "send again" not in shown.lower()


def test_settling_asks_shows_and_is_confirmed(client: Client) -> None:
    client.force_login(operator())
    incident = unknown()
    path = path_of(incident, "executed")
    assert "What you know" in text_of(client.get(path))
    looked_over = client.post(path, fill())
    assert "Yes: It was executed" in text_of(looked_over)
    assert "IB-1" in text_of(looked_over)
    assert permit_of(incident).state == "UNKNOWN"
    changing = client.post(path, fill() | {"change": "yes"})
    assert "What you know" in text_of(changing)
    assert 'value="4.40"' in changing.content.decode()
    done = client.post(path, fill() | {"confirmed": "yes"}, follow=True)
    assert "Settled: It was executed. Filled 2 at 4.4" in text_of(done)
    assert permit_of(incident).state == "EXECUTED"
    assert Incident.objects.get(pk=incident.pk).resolved_by == "ann"
    late = client.post(path, fill() | {"confirmed": "yes"}, follow=True)
    assert "Nothing was done, the incident is settled already. ann settled it at" in text_of(late)


def test_bad_input_stands_at_its_field_on_the_page(client: Client) -> None:
    client.force_login(operator())
    incident = unknown()
    for confirmed in ({}, {"confirmed": "yes"}):
        response = client.post(path_of(incident, "executed"), fill(price="NaN", reason="") | confirmed)
        form = response.context["form"]
        assert set(form.errors) == {"price", "reason"}
        assert "The price is 'NaN'; accepted is a finite decimal number" in text_of(response)
    assert permit_of(incident).state == "UNKNOWN"


@pytest.mark.parametrize(
    ("permissions", "status"),
    [(("view_incident",), 403), (("settle_incident",), 403), (("view_incident", "settle_incident"), 200)],
)
def test_settling_takes_its_own_permission(client: Client, permissions: tuple[str, ...], status: int) -> None:
    client.force_login(operator("ann", *permissions))
    incident = unknown()
    path = path_of(incident, "not-executed")
    assert client.get(path).status_code == status
    assert client.post(path, {"reason": WHY, "confirmed": "yes"}, follow=True).status_code == status
    assert (permit_of(incident).state == "NOT_EXECUTED") is (status == 200)


def test_a_viewer_sees_the_choices_but_no_way_to_take_them(client: Client) -> None:
    client.force_login(operator("eve", "view_incident"))
    incident = unknown()
    response = client.get(page_of(incident))
    assert "that takes the permission" in text_of(response)
    assert path_of(incident, "executed") not in response.content.decode()


def test_a_stranger_is_sent_to_the_log_in(client: Client) -> None:
    response = client.post(path_of(unknown(), "executed"), fill() | {"confirmed": "yes"})
    assert response.status_code == 302
    assert not RealTrade.objects.exists()


def test_a_forged_post_is_refused() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(operator())
    incident = unknown()
    assert client.post(path_of(incident, "not-executed"), {"reason": WHY, "confirmed": "yes"}).status_code == 403
    assert permit_of(incident).state == "UNKNOWN"


def test_looking_at_the_settlement_changes_nothing(client: Client) -> None:
    client.force_login(operator())
    incident = unknown()
    assert client.get(path_of(incident, "not-executed"), {"reason": WHY, "confirmed": "yes"}).status_code == 200
    assert client.put(path_of(incident, "not-executed")).status_code == 405
    assert permit_of(incident).state == "UNKNOWN"


def test_a_choice_that_does_not_exist_is_not_found(client: Client) -> None:
    client.force_login(operator())
    incident = unknown()
    for name in ("resend", "acknowledge", "exit-price"):
        assert client.post(path_of(incident, name), {"reason": WHY, "confirmed": "yes"}).status_code == 404


def test_too_early_is_said_on_the_page(client: Client) -> None:
    client.force_login(operator())
    incident = unknown(seconds_over=1)
    page = client.get(page_of(incident))
    assert "It is too early" in text_of(page)
    assert path_of(incident, "executed") not in page.content.decode()
    asking = client.get(path_of(incident, "executed"), follow=True)
    response = client.post(path_of(incident, "executed"), fill() | {"confirmed": "yes"}, follow=True)
    for refused in (asking, response):
        assert "Nothing was done. It is too early" in text_of(refused)


def test_hostile_words_of_an_operator_are_shown_and_not_obeyed(client: Client) -> None:
    client.force_login(operator())
    incident = unknown()
    hostile = "<script>alert(1)</script>"
    response = client.post(path_of(incident, "executed"), fill(reference=hostile, reason=hostile))
    assert hostile not in response.content.decode()
    done = client.post(
        path_of(incident, "executed"), fill(reference=hostile, reason=hostile) | {"confirmed": "y"}, follow=True
    )
    assert hostile not in done.content.decode()
    assert RealTrade.objects.get().external_id == hostile
