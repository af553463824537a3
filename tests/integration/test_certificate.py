"""The certificate of an experiment: the evidence of fairness, recomputed, the same at every download."""

import json
from hashlib import sha256
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from orchestrator.models import EngineCall, Experiment
from outcomes.certificate import certificate
from tests.factories import (
    make_exit_sync,
    make_experiment,
    make_outcome,
    make_recommendation,
    make_shadow_trade,
    make_trade,
)
from tests.falsification import falsify
from webhooks.canonical import canonical

pytestmark = pytest.mark.django_db


def finished() -> Experiment:
    """Write an experiment that engine A executed and that has closed, both sides with their trades."""
    experiment = make_experiment(execution_mode="ENGINE_A_PRIMARY")
    for engine in "AB":
        make_recommendation(experiment, engine)
    trade = make_trade(experiment)
    followers = [make_shadow_trade(experiment, engine) for engine in "AB"]
    make_outcome(trade)
    for follower in followers:
        make_outcome(follower)
    make_exit_sync(trade)
    return experiment


def checks(found: dict[str, Any]) -> dict[str, bool | None]:
    return {check["check"]: check["holds"] for check in found["checks"]}


@pytest.mark.requirement("1.3", "1.5", "5.5", "6.4")
def test_a_finished_experiment_is_certified_fair_with_its_evidence() -> None:
    experiment = finished()
    found = certificate(experiment)
    assert found["fair"] is True
    assert set(checks(found).values()) == {True}
    context = experiment.signal.context
    assert found["input"]["engine_input"] == context.engine_input
    assert found["input"]["recomputed_hash"] == found["input"]["context_hash"] == context.context_hash
    for engine in "AB":
        assert found["engines"][engine]["echoed_hash"] == context.context_hash
        assert found["engines"][engine]["echo_equals_context_hash"] is True
        assert found["engines"][engine]["latency_seconds"] == 0.2
    assert found["context_age"]["seconds_from_receipt_to_distribution"] == 1.0
    assert found["policy"]["inputs"]["revision"]["execution_mode"] == "ENGINE_A_PRIMARY"
    assert found["recomputed"] == {"differences": []}
    assert {engine: side["kind"] for engine, side in found["fill_basis"]["sides"].items()} == {
        "A": "twin",
        "B": "shadow",
    }
    assert found["fill_basis"]["exit"]["lead"] == {"engine": "A", "kind": "real"}


def test_a_fresh_experiment_is_neither_fair_nor_unfair() -> None:
    found = certificate(make_experiment())
    assert found["fair"] is None
    assert checks(found)["same_input"] is True
    assert checks(found)["echoed"] is None


def test_a_pass_is_a_side_that_counts_nothing() -> None:
    experiment = make_experiment(execution_mode="SHADOW_ONLY")
    for engine in "AB":
        make_recommendation(experiment, engine, action="PASS")
    found = certificate(experiment)
    assert found["fair"] is True
    assert found["fill_basis"]["sides"] == {engine: {"action": "PASS", "counts": "0"} for engine in "AB"}


@pytest.mark.parametrize(
    ("tables", "statement", "broken"),
    [
        ("engine_calls", "UPDATE engine_calls SET input_hash = repeat('b', 64) WHERE engine = 'B'", "same_input"),
        ("recommendations", "UPDATE recommendations SET raw = replace(raw, input_hash, repeat('b', 64))"
         " FROM engine_calls WHERE engine_calls.id = call_id AND recommendations.engine = 'B'", "echoed"),
        ("execution_policies", "UPDATE execution_policies SET reason_code = 'HALTED'", "recomputes"),
        ("execution_policies", "UPDATE execution_policies SET created_at = created_at + interval '1 day'",
         "decided_first"),
        ("shadow_trades", "UPDATE shadow_trades SET entry_price = entry_price + 1 WHERE engine = 'A'",
         "one_fill_basis"),
        ("shadow_trade_outcomes", "UPDATE shadow_trade_outcomes SET exit_time = exit_time + interval '1 s'"
         " WHERE engine = 'A'", "same_exit"),
    ],
)  # fmt: skip
def test_a_certificate_names_the_rule_that_was_broken(tables: str, statement: str, broken: str) -> None:
    experiment = finished()
    falsify(statement, {}, tables=tables)
    found = certificate(Experiment.objects.get(pk=experiment.pk))
    assert found["fair"] is False
    assert checks(found)[broken] is False


def test_an_answer_that_was_refused_for_its_hash_is_still_evidence() -> None:
    experiment = make_experiment()
    EngineCall.objects.filter(experiment=experiment, engine="B").update(
        state="FAILED", response=json.dumps({"input_hash": "f" * 64})
    )
    found = certificate(experiment)
    assert checks(found)["echoed"] is False
    assert found["engines"]["B"]["echoed_hash"] == "f" * 64


def test_it_can_be_downloaded_and_its_hash_recomputed(client: Client) -> None:
    experiment = finished()
    address = reverse("certificate", args=[experiment.pk])
    assert client.get(address).status_code == 401
    client.force_login(User.objects.create_user("quant"))
    answer = client.get(address)
    assert answer["Content-Disposition"] == f'attachment; filename="certificate-{experiment.pk}.json"'
    found = json.loads(answer.content)
    stated = found.pop("certificate_hash")
    assert sha256(canonical(found).encode()).hexdigest() == stated
    assert client.get(address).content == answer.content
    assert client.get(reverse("certificate", args=["0192f0a0-0000-83a8-a210-8b9158f818d1"])).status_code == 404
    assert client.get(f"{address}?x=1").status_code == 400


def test_the_experiments_page_shows_the_findings_and_leads_to_the_certificate(admin_client: Client) -> None:
    experiment = finished()
    page = admin_client.get(reverse("admin:orchestrator_experiment_change", args=[experiment.pk])).content.decode()
    assert "Were both engines treated alike?" in page
    assert "Both engines echoed the hash of the stored bytes." in page
    assert reverse("certificate", args=[experiment.pk]) in page
