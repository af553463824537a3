"""What the model of the protocol found in the code, trace by trace, on PostgreSQL; ``docs/reliability-model.md`` tells of it."""

import json
from typing import Any

import pytest
from pytest_django import Settings

from orchestrator.domain.execution import Filled, read_fill
from orchestrator.domain.vocabulary import Engine
from orchestrator.engines.protocol import NoAnswer, NotSent, Reply
from orchestrator.events import read_event, store_event
from orchestrator.models import ExecutionPermit, Incident, RealTrade
from orchestrator.permits import doubt_silent_permits, settle_filled, void_expired_permits
from orchestrator.queue import claim_unsettled
from orchestrator.revisions import record_revision
from tests.engine_server import EngineServer
from tests.protocol_steps import again, apply_everything, arm, granted, lose_lease, make_due, tell

pytestmark = pytest.mark.django_db

TRADE = {
    "external_id": "order-7",
    "entry_price": "4.40",
    "entry_time": "2026-03-02T14:30:02.000000Z",
    "quantity": "2",
    "fees": "1.30",
}
ACCEPTED = Reply(202, b'{"status": "ACCEPTED"}')
NOT_FOUND = Reply(404, b"{}")


@pytest.fixture(autouse=True)
def able(settings: Settings) -> None:
    """Both engines claim everything."""
    engines = {}
    for name in Engine:
        with EngineServer(name) as server:
            engines[name.value] = server.settings(idempotent=True, queryable=True, honours_not_after=True)
    settings.ENGINES = engines


def reported(kind: str, *, engine: str = "A", message: str = "msg_1", **data: Any) -> None:
    """Let an engine report something by event, and apply it."""
    store_event(Engine(engine), message, read_event(json.dumps({"type": kind, "data": data}).encode()))
    apply_everything()


def repeated(permit: ExecutionPermit) -> ExecutionPermit:
    make_due(permit)
    [claimed] = claim_unsettled(
        Engine.A, limit=10, lease="worker 2", lease_seconds=30, queryable=False, idempotent=True
    )
    return claimed


def asked(permit: ExecutionPermit) -> ExecutionPermit:
    make_due(permit)
    [claimed] = claim_unsettled(
        Engine.A, limit=10, lease="worker 2", lease_seconds=30, queryable=True, idempotent=False
    )
    return claimed


def incidents(permit: ExecutionPermit) -> list[str]:
    return sorted(Incident.objects.unresolved().filter(experiment=permit.experiment).values_list("kind", flat=True))


# 1. A refusal by event does not say which attempt it is about


@pytest.mark.requirement("10.4")
def test_a_refusal_by_event_proves_nothing_once_the_order_was_repeated() -> None:
    # the first attempt is executed and its answer lost; the repetition is refused as a duplicate, and that by event
    permit = granted()
    [first] = arm()
    tell(first, NoAnswer("reset"))
    tell(repeated(permit), NoAnswer("reset"), is_resend=True)
    reported("execution.rejected", permit_id=str(permit.pk), reason="seen before")
    assert (again(permit).state, incidents(permit)) == ("UNKNOWN", ["UNKNOWN_EXECUTION"])
    assert "seen before" in again(permit).detail
    reported("execution.filled", message="msg_2", permit_id=str(permit.pk), trade=TRADE)
    assert (again(permit).state, incidents(permit)) == ("EXECUTED", [])


def test_a_refusal_by_event_of_the_only_attempt_settles_the_permit() -> None:
    permit = granted()
    [armed] = arm()
    tell(armed, NoAnswer("reset"))
    reported("execution.rejected", permit_id=str(permit.pk), reason="no margin")
    assert (again(permit).state, incidents(permit)) == ("NOT_EXECUTED", [])


def test_attempts_that_never_left_are_no_repetitions() -> None:
    permit = granted()
    [armed] = arm()
    tell(armed, NotSent("refused"))
    make_due(permit)
    [armed] = arm()
    tell(armed, ACCEPTED)
    assert again(permit).attempts == 2
    reported("execution.rejected", permit_id=str(permit.pk), reason="no margin")
    assert again(permit).state == "NOT_EXECUTED"


# 2. An acceptance that is recorded while, or after, the engine says that it never saw the permit


def test_never_seen_proves_nothing_when_an_acceptance_was_recorded_while_the_question_was_out(
    settings: Settings,
) -> None:
    settings.CLOCK_MARGIN_SECONDS = 0.0
    permit, first = _doubted_and_expired()
    question = asked(permit)
    tell(first, ACCEPTED)
    assert question.accepted_at is None
    after = tell(question, NOT_FOUND, is_query=True)
    assert (after.state, incidents(permit)) == ("UNKNOWN", ["UNKNOWN_EXECUTION"])
    assert "contradicts" in after.detail


def test_an_acceptance_after_never_seen_is_a_contradiction_that_an_operator_hears_of(settings: Settings) -> None:
    settings.CLOCK_MARGIN_SECONDS = 0.0
    permit, first = _doubted_and_expired()
    tell(asked(permit), NOT_FOUND, is_query=True)
    assert (again(permit).state, incidents(permit)) == ("NOT_EXECUTED", [])
    tell(first, ACCEPTED)
    assert (again(permit).state, incidents(permit)) == ("NOT_EXECUTED", ["CONFLICTING_EVENT"])


def test_an_acceptance_that_a_refusal_has_overtaken_is_no_contradiction() -> None:
    permit = granted()
    [armed] = arm()
    reported("execution.rejected", permit_id=str(permit.pk), reason="no margin")
    tell(armed, ACCEPTED)
    assert (again(permit).state, incidents(permit)) == ("NOT_EXECUTED", [])


def _doubted_and_expired() -> tuple[ExecutionPermit, ExecutionPermit]:
    """Return a permit past its not_after that is UNKNOWN, and the copy of the worker that still waits for the answer."""
    permit = granted(seconds=-1, state="ARMED")
    first = again(permit)
    lose_lease(permit)
    assert doubt_silent_permits() == 1
    return permit, first


# 3. A real trade that nobody permitted, and a permit that is still to be sent


def _traded_unasked(permit: ExecutionPermit, *, engine: str = "A") -> None:
    """Let an engine trade for the experiment without a permit; trading halts itself, and an operator lifts the halt."""
    reported("execution.filled", engine=engine, permit_id=None, experiment_id=str(permit.experiment_id), trade=TRADE)
    record_revision({"TRADING_HALTED": False}, changed_by="operator")
    assert incidents(permit) == ["UNAUTHORISED_EXECUTION"]


@pytest.mark.requirement("3.5", "property-12")
@pytest.mark.parametrize("engine", Engine)
def test_nothing_is_armed_beside_a_real_trade_whoever_placed_it(engine: Engine) -> None:
    permit, other = granted(), granted()
    _traded_unasked(permit, engine=engine)
    assert [armed.pk for armed in arm()] == [other.pk]
    assert again(permit).state == "GRANTED"
    assert RealTrade.objects.get().authorised is False


def test_a_permit_beside_a_real_trade_ends_at_its_not_after() -> None:
    permit = granted(seconds=-0.001)
    _traded_unasked(permit)
    assert void_expired_permits() == 1
    assert again(permit).state == "VOID"


@pytest.mark.requirement("3.5", "property-12")
def test_nothing_is_armed_again_beside_a_real_trade() -> None:
    permit = granted()
    [armed] = arm()
    _traded_unasked(permit)
    tell(armed, NotSent("held up"))
    make_due(permit)
    assert (again(permit).state, arm()) == ("GRANTED", [])


def test_nothing_is_sent_again_beside_a_real_trade() -> None:
    permit = granted(state="UNKNOWN", lease="", lease_expires_at=None)
    _traded_unasked(permit)
    make_due(permit)
    assert claim_unsettled(Engine.A, limit=9, lease="w", lease_seconds=30, queryable=False, idempotent=True) == []
    [question] = claim_unsettled(Engine.A, limit=9, lease="w", lease_seconds=30, queryable=True, idempotent=True)
    assert question.resend is False  # type: ignore[attr-defined]


def test_the_permitted_fill_beside_another_trade_is_still_recorded() -> None:
    permit = granted(state="UNKNOWN")
    _traded_unasked(permit)
    settle_filled(permit.pk, Filled(read_fill(TRADE | {"external_id": "order-8"})), by="engine A")
    assert again(permit).state == "EXECUTED"
    assert sorted(RealTrade.objects.values_list("authorised", flat=True)) == [False, True]
