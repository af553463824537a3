"""The trace of an experiment: the whole story, one address, a fixed number of queries."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from config.keys import new_key
from orchestrator.domain.assignment import bucket
from orchestrator.domain.moments import read_moment
from orchestrator.models import EngineCall, EngineEvent, Experiment, ShadowTrade
from outcomes.trace import trace
from tests.factories import (
    make_event,
    make_exit_sync,
    make_experiment,
    make_incident,
    make_outcome,
    make_permit,
    make_recommendation,
    make_shadow_trade,
    make_trade,
)

pytestmark = pytest.mark.django_db
MEMBERS = [
    "experiment_id",
    "signal",
    "market_context",
    "assignment",
    "policy",
    "recommendations",
    "permit",
    "trades",
    "outcomes",
    "incidents",
    "timeline",
    "answer",
]


def finished() -> Experiment:
    """Write an experiment that engine A executed and that has closed."""
    experiment = make_experiment(execution_mode="ENGINE_A_PRIMARY")
    for engine in "AB":
        make_recommendation(experiment, engine)
    trade = make_trade(experiment)
    followers = [make_shadow_trade(experiment, engine) for engine in "AB"]
    event = make_event("A", experiment=experiment)
    EngineEvent.objects.filter(pk=event.pk).update(
        verdict="APPLIED", applied_at=event.received_at + timedelta(seconds=1), detail="exited"
    )
    ShadowTrade.objects.filter(pk=followers[1].pk).update(
        own_exit_price="5.00", own_exit_time=experiment.created_at + timedelta(hours=2), own_exit_reason="stop"
    )
    make_outcome(trade)
    for follower in followers:
        make_outcome(follower)
    make_exit_sync(trade)
    make_incident(
        experiment=experiment,
        kind="CONFLICTING_EVENT",
        resolved_at=experiment.created_at + timedelta(days=30),
        resolved_by="ann",
        resolution="checked with the broker",
    )
    return experiment


@pytest.mark.requirement("5.5", "property-20")
def test_the_trace_of_a_finished_experiment_tells_everything_in_order() -> None:
    experiment = finished()
    found = json.loads(json.dumps(trace(experiment), allow_nan=False))
    assert list(found) == MEMBERS
    assert found["assignment"] == {
        "variant": experiment.variant,
        "assignment_hash": experiment.assignment_hash,
        "bucket": bucket(experiment.assignment_hash),
        "split_percentage": 50,
    }
    assert [trade["kind"] for trade in found["trades"]] == ["real", "twin", "shadow"]
    assert [outcome["kind"] for outcome in found["outcomes"]] == ["real", "twin", "shadow"]
    assert {engine: answer["action"] for engine, answer in found["recommendations"].items()} == {
        "A": "OPEN",
        "B": "OPEN",
    }
    assert found["permit"]["state"] == "EXECUTED"
    times = [read_moment(step["at"], name="at") for step in found["timeline"]]
    assert times == sorted(times)
    assert {step["event"] for step in found["timeline"]} == {
        "signal.received",
        "experiment.created",
        "context.captured",
        "policy.applied",
        "engine.called",
        "engine.answered",
        "recommendation.recorded",
        "permit.granted",
        "permit.armed",
        "permit.resolved",
        "trade.opened",
        "shadow_trade.created",
        "shadow_trade.own_exit",
        "event.received",
        "event.applied",
        "trade.exited",
        "outcome.recorded",
        "incident.opened",
        "incident.resolved",
    }
    assert found["answer"] == (
        "Engine A recommended BUY 2 SPY260320C00590000 at 4.35 and executed it. Why this engine: The panel asks for "
        "ENGINE_A_PRIMARY. Engine B recommended BUY 2 SPY260320C00590000 at 4.35, followed as a shadow trade."
    )


@pytest.mark.requirement("5.5")
def test_a_fresh_experiment_is_told_as_undecided() -> None:
    found = trace(make_experiment(execution_mode="ENGINE_A_PRIMARY"))
    assert found["recommendations"] == {"A": None, "B": None}
    assert (found["permit"], found["trades"], found["outcomes"], found["incidents"]) == (None, [], [], [])
    assert found["answer"].startswith("Still undecided: engine A is to execute, but has not answered yet.")


@pytest.mark.requirement("5.5")
def test_an_engine_that_failed_is_told_with_its_error() -> None:
    experiment = make_experiment(execution_mode="ENGINE_A_PRIMARY")
    EngineCall.objects.filter(experiment=experiment, engine="A").update(
        state="FAILED", error="HTTP 422", sent_at=experiment.created_at, answered_at=experiment.created_at, attempts=3
    )
    found = trace(experiment)
    assert "gave no usable answer (HTTP 422)" in found["answer"]
    failed = [step for step in found["timeline"] if step["event"] == "engine.failed"]
    assert [(step["engine"], step["what"]) for step in failed] == [
        ("A", "gave no usable answer when asked for its recommendation: HTTP 422")
    ]


@pytest.mark.requirement("5.5")
def test_a_trade_without_a_permit_is_in_the_answer() -> None:
    experiment = make_experiment(execution_mode="SHADOW_ONLY")
    make_trade(experiment, authorised=False, engine="B")
    assert "Engine B reported a real trade without a permit" in trace(experiment)["answer"]


@pytest.mark.requirement("5.5", "property-20")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mode=st.sampled_from(["AUTO", "SHADOW_ONLY", "ENGINE_A_PRIMARY", "ENGINE_B_PRIMARY", "SPLIT_CAPITAL"]),
    said=st.tuples(*[st.sampled_from(["OPEN", "PASS", None])] * 2),
    state=st.sampled_from(["GRANTED", "ARMED", "EXECUTED", "NOT_EXECUTED", "VOID", "UNKNOWN"]),
)
def test_every_trace_names_who_recommended_and_why_it_executed(
    mode: str, said: tuple[str | None, str | None], state: str
) -> None:
    experiment = make_experiment(execution_mode=mode)
    answers = dict(zip("AB", said, strict=True))
    for engine, action in answers.items():
        if action:
            make_recommendation(experiment, engine, action=action)
    chosen = experiment.policy.executed_engine
    if chosen and answers[chosen] == "OPEN":
        permit = make_permit(experiment, state=state)
        if state == "EXECUTED":
            make_trade(experiment, permit=permit)
    found = trace(experiment)
    assert found["experiment_id"] == str(experiment.pk)
    assert found["policy"]["reason"] in found["answer"]
    assert {engine: answer and answer["action"] for engine, answer in found["recommendations"].items()} == answers
    has_executed = bool(chosen and answers[chosen] == "OPEN" and state == "EXECUTED")
    assert ("and executed it" in found["answer"]) == has_executed == bool(found["trades"])
    if has_executed:
        assert found["answer"].startswith(f"Engine {chosen} recommended")


def test_the_trace_costs_the_same_number_of_queries_however_much_happened(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    fresh, full = make_experiment(), finished()
    for number in range(5):
        make_event("B", experiment=full, message_id=f"more-{number}")
        make_incident(experiment=full)
    for experiment in (fresh, full):
        with django_assert_num_queries(7):
            trace(experiment)


@pytest.mark.requirement("5.5", "property-20")
def test_the_trace_is_one_address(client: Client) -> None:
    experiment = finished()
    address = f"/api/v1/experiments/{experiment.pk}/trace/"
    assert reverse("trace", args=[experiment.pk]) == address
    assert client.get(address).status_code == 401
    client.force_login(User.objects.create_user("auditor"))
    body: dict[str, Any] = client.get(address).json()
    assert list(body) == MEMBERS
    missing = client.get(f"/api/v1/experiments/{new_key()}/trace/")
    assert (missing.status_code, missing.headers["Content-Type"]) == (404, "application/problem+json")
