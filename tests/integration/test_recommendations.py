"""Recommendations: kept verbatim, once, and with exactly what follows from them."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.calls import fail_overdue_calls
from orchestrator.domain.vocabulary import Engine
from orchestrator.models import (
    EngineCall,
    ExecutionPermit,
    Experiment,
    Incident,
    MarketContext,
    RealTrade,
    Recommendation,
    ShadowTrade,
)
from orchestrator.queue import claim_calls, database_clock
from orchestrator.recommendations import Received, Recorded, record_recommendations
from tests.conftest import LogLines
from tests.engine_server import TERMS
from tests.factories import make_experiment, make_revision
from tests.working import in_threads

pytestmark = pytest.mark.django_db

MODES = ("ENGINE_A_PRIMARY", "ENGINE_B_PRIMARY", "SPLIT_CAPITAL", "SHADOW_ONLY")


def asked(mode: str = "ENGINE_A_PRIMARY", *, age: float = 1, **fields: Any) -> Experiment:
    """Write an experiment whose engines were asked ``age`` seconds ago."""
    return make_experiment(execution_mode=mode, at=database_clock() - timedelta(seconds=age), **fields)


def said(
    experiment: Experiment,
    engine: str = "A",
    recommendation: Mapping[str, Any] | None = TERMS,
    *,
    body: bytes | None = None,
    received_at: datetime | None = None,
    **changes: Any,
) -> Received:
    """Return what an engine answered; ``changes`` replace members of the answer."""
    whole = {
        "experiment_id": str(experiment.pk),
        "input_hash": MarketContext.objects.get(signal=experiment.signal_id).context_hash,
        "recommendation": recommendation,
        "reason": "the trend is up" if recommendation else "the trend is flat",
    }
    return Received(
        experiment_id=experiment.pk,
        engine=Engine(engine),
        body=json.dumps(whole | changes).encode() if body is None else body,
        received_at=received_at or database_clock(),
        latency=0.25,
    )


def record(*received: Received) -> list[Recorded]:
    return record_recommendations(received)


def call_of(experiment: Experiment, engine: str = "A", kind: str = "RECOMMENDATION") -> EngineCall:
    return EngineCall.objects.get(experiment=experiment, engine=engine, kind=kind)


# What follows


@pytest.mark.requirement("7.2", "7.4", "7.5")
def test_an_answer_is_kept_to_the_letter() -> None:
    experiment = asked()
    spaced = said(experiment).body.replace(b'"4.35"', b'4.350000000000000000001 , "their own": {"\\u00e9":[1, 2.50]}')
    record(said(experiment, body=b"  " + spaced))
    kept = Recommendation.objects.get()
    assert kept.raw.encode() == b"  " + spaced
    assert (kept.action, kept.engine, kept.reason) == ("OPEN", "A", "the trend is up")
    assert kept.terms == {**TERMS, "entry_price": 4.35, "their own": {"é": [1, 2.5]}}
    call = call_of(experiment)
    assert (call.state, call.latency, call.error) == ("ANSWERED", 0.25, "")
    with pytest.raises(DatabaseError, match="pgtrigger"), transaction.atomic():
        Recommendation.objects.update(reason="better")


@pytest.mark.requirement("4.1", "4.4", "property-14", "property-16", "7.3")
def test_an_open_of_the_shadow_engine_becomes_its_shadow_trade_and_it_is_told() -> None:
    experiment = asked("ENGINE_A_PRIMARY")
    received = said(experiment, "B")
    record(received)
    trade = ShadowTrade.objects.get()
    assert (trade.experiment_id, trade.engine, trade.purpose, trade.status) == (experiment.pk, "B", "SHADOW", "OPEN")
    assert trade.terms == TERMS
    assert (str(trade.entry_price), str(trade.quantity)) == ("4.35000000", "2.00000000")
    assert trade.entry_time == received.received_at
    assert ExecutionPermit.objects.count() == 0
    told = json.loads(call_of(experiment, "B", "SHADOW_TRADE").request)
    assert told == {
        "trade_id": str(trade.pk),
        "experiment_id": str(experiment.pk),
        "entry_price": "4.35",
        "entry_time": trade.entry_time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "quantity": "2",
        "recommendation": TERMS,
    }


@pytest.mark.requirement("7.3")
def test_an_open_of_the_executed_engine_becomes_its_twin_and_the_permit() -> None:
    experiment = asked("ENGINE_B_PRIMARY")
    before = database_clock()
    record(said(experiment, "B"))
    permit, twin = ExecutionPermit.objects.get(), ShadowTrade.objects.get()
    assert (permit.experiment_id, permit.engine, permit.state) == (experiment.pk, "B", "GRANTED")
    assert before + timedelta(seconds=30) <= permit.not_after <= database_clock() + timedelta(seconds=30)
    assert (twin.engine, twin.purpose) == ("B", "TWIN")
    assert not EngineCall.objects.filter(kind="SHADOW_TRADE").exists()


def test_a_pass_leads_to_nothing() -> None:
    experiment = asked("ENGINE_A_PRIMARY")
    record(said(experiment, "A", None), said(experiment, "B", None))
    assert set(Recommendation.objects.values_list("action", "terms")) == {("PASS", None)}
    assert ShadowTrade.objects.count() == ExecutionPermit.objects.count() == 0
    assert set(EngineCall.objects.values_list("state", flat=True)) == {"ANSWERED"}


ANSWERS = st.sampled_from(["OPEN", "PASS", "GARBAGE", "OTHER_BYTES", None])


@pytest.mark.requirement("property-12", "property-14", "property-16", "4.1", "3.4")
@given(
    cases=st.lists(st.tuples(st.sampled_from(MODES), ANSWERS, ANSWERS, st.booleans()), min_size=1, max_size=3),
    one_by_one=st.booleans(),
)
def test_exactly_what_follows_from_the_answers_and_the_policy_is_written(
    cases: list[tuple[str, str | None, str | None, bool]], one_by_one: bool
) -> None:
    with transaction.atomic():
        expected_trades, expected_permits, received = set(), set(), []
        for mode, *answers, b_first in cases:
            experiment = asked(mode)
            executed = experiment.policy.executed_engine
            both = list(zip("AB", answers, strict=True))
            for engine, kind in reversed(both) if b_first else both:
                if kind is None:
                    continue
                received.append(
                    said(
                        experiment,
                        str(engine),
                        None if kind == "PASS" else TERMS,
                        body=b"\xff" if kind == "GARBAGE" else None,
                        **dict[str, Any]({"input_hash": "0" * 64} if kind == "OTHER_BYTES" else {}),
                    )
                )
                if kind == "OPEN":
                    expected_trades.add((experiment.pk, engine, "TWIN" if engine == executed else "SHADOW"))
                    expected_permits |= {(experiment.pk, engine)} if engine == executed else set()
        for batch in [[one] for one in received] if one_by_one else [received]:
            record_recommendations(batch)
        assert set(ShadowTrade.objects.values_list("experiment_id", "engine", "purpose")) == expected_trades
        assert set(ExecutionPermit.objects.values_list("experiment_id", "engine")) == expected_permits
        told = EngineCall.objects.filter(kind="SHADOW_TRADE").values_list("experiment_id", "engine")
        assert set(told) == {(pk, engine) for pk, engine, purpose in expected_trades if purpose == "SHADOW"}
        assert RealTrade.objects.count() == 0
        refused = [answer for _, *answers, _ in cases for answer in answers if answer in ("GARBAGE", "OTHER_BYTES")]
        assert EngineCall.objects.filter(state="FAILED").count() == len(refused)
        assert Incident.objects.filter(kind="INPUT_HASH_MISMATCH").count() == refused.count("OTHER_BYTES")
        transaction.set_rollback(True)


# What cannot be used


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"PASS",
        b"null",
        b"{}",
        b'{"recommendation":null,"reason":"no"}',
        b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"\xff\xfe",
        b'{"experiment_id":"x","experiment_id":"y"}',
    ],
)
def test_garbage_ends_the_call_as_failed_and_never_as_a_pass(body: bytes) -> None:
    experiment = asked()
    [recorded] = record(said(experiment, body=body))
    call = call_of(experiment)
    assert (call.state, call.error) == ("FAILED", recorded.problem)
    assert recorded.problem
    assert Recommendation.objects.count() == ShadowTrade.objects.count() == ExecutionPermit.objects.count() == 0
    assert call_of(experiment, "B").state == "PENDING"


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"recommendation": {**TERMS, "quantity": "-1"}}, "quantity is '-1'"),
        ({"recommendation": {**TERMS, "entry_price": "NaN"}}, "entry_price is 'NaN'"),
        ({"recommendation": {**TERMS, "entry_price": "1e999999999"}}, "entry_price is '1e999999999'"),
        ({"recommendation": {**TERMS, "action": "PASS"}}, "action is 'PASS'"),
        ({"experiment_id": "0192f0a0-0000-83a8-a210-8b9158f818d1"}, "0192f0a0-0000-83a8-a210-8b9158f818d1"),
        ({"recommendation": None, "reason": ""}, "needs a reason"),
        ({"recommendation": {**TERMS, "rationale": "\x00"}}, "NUL"),
        ({"recommendation": {**TERMS, "rationale": "\ud800"}}, "UTF-8"),
    ],
)
def test_a_senseless_answer_is_failed_with_a_sentence(changes: dict[str, Any], found: str) -> None:
    experiment = asked()
    record(said(experiment, **changes))
    call = call_of(experiment)
    assert call.state == "FAILED"
    assert found in call.error
    assert call.response
    assert Recommendation.objects.count() == 0


@pytest.mark.requirement("1.3", "property-3")
def test_an_answer_for_other_bytes_is_an_incident_and_is_not_used() -> None:
    experiment = asked("ENGINE_A_PRIMARY")
    record(said(experiment, "A", input_hash="0" * 64), said(experiment, "B"))
    incident = Incident.objects.get()
    assert (incident.kind, incident.severity, incident.experiment_id) == ("INPUT_HASH_MISMATCH", "HIGH", experiment.pk)
    assert "0" * 64 in incident.detail["problem"]
    assert "other input" in incident.detail["what"]
    assert list(Recommendation.objects.values_list("engine", flat=True)) == ["B"]
    assert ExecutionPermit.objects.count() == 0
    assert call_of(experiment, "A").state == "FAILED"


# Twice, late, at once


@pytest.mark.parametrize("together", [True, False])
def test_the_same_answer_again_is_the_same_answer(together: bool) -> None:
    experiment = asked()
    first = said(experiment, recommendation={**TERMS, "score": 1e23, "exact": 0.1})
    again = said(experiment, body=json.dumps(json.loads(first.body), indent=1).encode())
    results = record(first, again) if together else record(first) + record(again)
    assert [(one.is_new, one.problem) for one in results] == [(True, ""), (False, "")]
    assert Recommendation.objects.count() == ShadowTrade.objects.count() == ExecutionPermit.objects.count() == 1
    assert Incident.objects.count() == 0


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("second", [{**TERMS, "quantity": "3"}, {**TERMS, "rationale": "no"}, None])
def test_another_answer_to_the_same_question_is_an_incident_and_the_first_stands(
    second: Mapping[str, Any] | None, together: bool
) -> None:
    experiment = asked()
    both = said(experiment), said(experiment, recommendation=second)
    results = record(*both) if together else record(both[0]) + record(both[1])
    assert results[0].problem == ""
    assert "answered twice" in results[1].problem
    assert Recommendation.objects.get().raw.encode() == both[0].body
    assert ShadowTrade.objects.get().quantity == 2
    incident = Incident.objects.get()
    assert (incident.kind, incident.experiment_id) == ("CONFLICTING_ANSWER", experiment.pk)
    assert incident.detail["first"] == both[0].body.decode()
    assert incident.detail["second"] == both[1].body.decode()


def test_an_unreadable_second_answer_leaves_the_first_as_it_is() -> None:
    experiment = asked()
    record(said(experiment))
    record(said(experiment, body=b"what?"))
    record(said(experiment, input_hash="1" * 64))
    assert call_of(experiment).state == "ANSWERED"
    assert Recommendation.objects.count() == 1
    assert [incident.kind for incident in Incident.objects.all()] == ["INPUT_HASH_MISMATCH"]


def late_ones() -> list[tuple[str, Experiment]]:
    """Return experiments whose engine A has no time left, with the state of its call."""
    refused, swept = asked("ENGINE_A_PRIMARY"), asked("ENGINE_A_PRIMARY", age=301)
    record(said(refused, body=b"?"))
    fail_overdue_calls()
    return [("FAILED", refused), ("FAILED", swept), ("PENDING", asked("ENGINE_A_PRIMARY", age=301))]


@pytest.mark.requirement("property-14")
def test_an_answer_after_its_call_ended_is_recorded_and_followed_but_may_not_execute() -> None:
    for state, experiment in late_ones():
        assert call_of(experiment).state == state
        record(said(experiment, "A"), said(experiment, "B"))
        assert call_of(experiment).state == "ANSWERED"
        permit = ExecutionPermit.objects.get(experiment=experiment)
        assert (permit.state, permit.resolved_by) == ("VOID", "deadline")
        assert permit.resolved_at is not None
        told = EngineCall.objects.filter(experiment=experiment, kind="SHADOW_TRADE").values_list("engine", flat=True)
        assert set(told) == {"A", "B"}
        purposes = ShadowTrade.objects.filter(experiment=experiment).values_list("engine", "purpose")
        assert set(purposes) == {("A", "TWIN"), ("B", "SHADOW")}


def test_an_answer_is_recorded_whoever_holds_the_lease_and_ends_it() -> None:
    experiment = asked()
    [held] = claim_calls(Engine.A, limit=1, lease="another", lease_seconds=30)
    record(said(experiment))
    call = call_of(experiment)
    assert (call.state, call.lease, call.lease_expires_at) == ("ANSWERED", "", None)
    assert call.fence > held.fence


@pytest.mark.requirement("property-12", "10.1")
@pytest.mark.django_db(transaction=True)
def test_the_same_answer_at_the_same_moment_in_four_workers_is_recorded_once() -> None:
    make_revision()
    experiments = [asked() for _ in range(5)]
    received = [said(experiment, engine) for experiment in experiments for engine in "AB"]
    orders = [received, received[::-1], received[3:] + received[:3], received[5:] + received[:5]]
    results = in_threads(*[lambda order=order: record(*order) for order in orders])
    assert sum(one.is_new for recorded in results for one in recorded) == 10  # type: ignore[attr-defined]
    assert Recommendation.objects.count() == ShadowTrade.objects.count() == 10
    assert ExecutionPermit.objects.count() == 5
    assert Incident.objects.count() == 0


def test_the_statements_for_a_batch_of_answers_without_conflict_grow_only_by_ending_each_call() -> None:
    counts = []
    for size in (1, 10):
        received = [said(asked(), engine) for _ in range(size) for engine in "AB"]
        with CaptureQueriesContext(connection) as captured:
            record(*received)
        counts.append(len(captured) - 2 * size)
    assert counts[0] == counts[1]


# The log


@pytest.mark.requirement("11.4", "property-30")
def test_a_shadow_trade_is_one_log_event_with_the_fields_that_are_asked_for(log_lines: LogLines) -> None:
    experiment = asked("ENGINE_A_PRIMARY")
    record(said(experiment, "A"), said(experiment, "B"))
    record(said(experiment, "B"))
    ids = {"experiment_id": str(experiment.pk), "signal_id": str(experiment.signal_id)}
    trades = {trade.engine: str(trade.pk) for trade in ShadowTrade.objects.all()}
    logged = [
        {name: value for name, value in line.items() if name not in ("event", "level", "logger", "at")}
        for line in log_lines.of("shadow_trade.created")
    ]
    assert logged == [
        {**ids, "engine": "A", "shadow_trade_id": trades["A"], "purpose": "TWIN"},
        {**ids, "engine": "B", "shadow_trade_id": trades["B"], "purpose": "SHADOW"},
    ]
    assert [line["action"] for line in log_lines.of("engine.answered")] == ["OPEN", "OPEN"]
