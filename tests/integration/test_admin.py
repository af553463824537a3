"""The admin: every table can be looked at, searched and followed by a fixed number of queries, and nothing can be edited."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any
from uuid import UUID

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection, models
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from config import paging
from orchestrator.admin.inspection import InspectionAdmin
from orchestrator.domain.incident_words import WORDS
from orchestrator.domain.vocabulary import IncidentKind
from orchestrator.models import EngineCall, Experiment, Incident, PolicyRevision, RealTrade, ShadowTrade
from outcomes.trace import trace
from tests.factories import (
    make_event,
    make_exit_sync,
    make_experiment,
    make_health,
    make_heartbeat,
    make_incident,
    make_outcome,
    make_permit,
    make_proof,
    make_quote,
    make_recommendation,
    make_repeat,
    make_shadow_trade,
    make_signal,
    make_terms,
    make_trade,
)

pytestmark = pytest.mark.django_db

INSPECTED = [model for model, page in admin.site._registry.items() if isinstance(page, InspectionAdmin)]
HOSTILE = "<script>alert(1)</script>"


def tell_whole_story(*, mode: str = "ENGINE_A_PRIMARY", **overrides: Any) -> Experiment:
    """Write an experiment in which everything has happened: A executed, B followed, both have exited."""
    experiment = make_experiment(signal=make_signal(**overrides), execution_mode=mode)
    make_recommendation(experiment, "A", terms=make_terms(confidence="0.73", rationale="the trend is up"))
    make_recommendation(experiment, "B", terms=make_terms(confidence="0.61", rationale="two of three agents agree"))
    shadow, twin = make_shadow_trade(experiment, "B"), make_shadow_trade(experiment, "A")
    real = make_trade(experiment)
    for trade in (real, shadow, twin):
        make_outcome(trade)
    make_exit_sync(real)
    make_event("A", experiment=experiment)
    make_incident(experiment=experiment, permit=experiment.permit, kind="UNKNOWN_EXECUTION", severity="HIGH")
    make_quote()
    return experiment


def list_of(model: type[models.Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def page_of(row: models.Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def text_of(response: Any) -> str:
    """Return what a person reads on a page."""
    words = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", response.content.decode(), flags=re.DOTALL)
    return " ".join(unescape(words).split())


def results_of(response: Any) -> list[Any]:
    return list(response.context["cl"].result_list)


def count_queries(client: Client, path: str) -> int:
    client.get(path)  # what is read once per process
    with CaptureQueriesContext(connection) as queries:
        assert client.get(path).status_code == 200
    return len(queries)


# What is shown


@pytest.mark.requirement("property-20", "5.5")
def test_the_experiments_page_tells_the_whole_story_on_one_page(admin_client: Client) -> None:
    experiment = tell_whole_story(symbol="QQQ", timeframe="15")
    response = admin_client.get(page_of(experiment))
    shown = text_of(response)
    real = RealTrade.objects.get()
    for said in (
        "QQQ long 15",
        str(experiment.pk),
        experiment.assignment_hash,
        experiment.signal.context.context_hash,
        experiment.signal.signal_hash,
        "ENGINE_A_PRIMARY",
        "the trend is up",
        "two of three agents agree",
        "0.73",
        "0.61",
        real.external_id,
        str(real.permit_id),
        "Real trade",
        "Shadow trade",
        "Twin trade",
        "+138.70",  # (5.10 - 4.40) * 2 * 100 - 1.30
        "+150.00",  # (5.10 - 4.35) * 2 * 100
        "EXECUTED",
        "signal.received",
        "permit.armed",
        "outcome.recorded",
        "made for a test",
    ):
        assert said in shown, said
    assert trace(experiment)["answer"] in shown
    linked = [experiment.signal, experiment.policy, experiment.permit, real, real.outcome, experiment.exit_sync]
    linked += [*ShadowTrade.objects.all(), *EngineCall.objects.all(), *experiment.recommendations.all()]
    for row in [*linked, *Incident.objects.all(), experiment.signal.context]:
        assert f'href="{page_of(row)}"' in response.content.decode(), row


def test_a_signal_leads_to_its_experiment(admin_client: Client) -> None:
    experiment = make_experiment()
    assert f'href="{page_of(experiment)}"' in admin_client.get(page_of(experiment.signal)).content.decode()
    assert admin_client.get(page_of(make_signal())).status_code == 200


def test_both_recommendations_stand_side_by_side_with_their_differences_marked(admin_client: Client) -> None:
    experiment = tell_whole_story()
    comparison = {term.name: term for term in admin_client.get(page_of(experiment)).context["comparison"]}
    assert (comparison["confidence"].a, comparison["confidence"].b) == ("0.73", "0.61")
    assert comparison["confidence"].differs
    assert not comparison["strike"].differs


def test_the_raw_answer_is_there_verbatim(admin_client: Client) -> None:
    experiment = make_experiment()
    raw = '{"experiment_id":"x", "recommendation" : null,"reason":"n\\u00e4h",   "extra":[1,2.50]}'
    make_recommendation(experiment, "A", action="PASS", raw=raw)
    assert raw in unescape(admin_client.get(page_of(experiment)).content.decode())


def test_an_experiment_without_any_answer_has_its_page(admin_client: Client) -> None:
    shown = text_of(admin_client.get(page_of(make_experiment(trading_halted=True))))
    assert "No answer yet" in shown
    assert "nobody executes" in shown
    assert "HALTED" in shown


def test_a_failed_call_is_shown_as_no_recommendation_with_its_error(admin_client: Client) -> None:
    experiment = make_experiment()
    EngineCall.objects.filter(engine="B").update(state="FAILED", error="no answer before the deadline")
    assert "no recommendation no answer before the deadline" in text_of(admin_client.get(page_of(experiment)))


@pytest.mark.parametrize("kind", IncidentKind)
def test_every_kind_of_incident_says_in_plain_words_what_happened_and_what_to_do(
    admin_client: Client, kind: IncidentKind
) -> None:
    incident = make_incident(kind=kind.value, detail={"seen": 3})
    happened, to_do = WORDS[kind]
    shown = text_of(admin_client.get(page_of(incident)))
    assert happened in shown
    assert to_do in shown
    assert '"seen": 3' in shown
    assert happened in text_of(admin_client.get(list_of(Incident)))


def test_open_incidents_come_first_and_the_worst_of_them_on_top(admin_client: Client) -> None:
    critical, low = make_incident(severity="CRITICAL"), make_incident(severity="LOW")
    settled = make_incident(severity="CRITICAL", resolved_at=datetime.now(UTC), resolved_by="ann", resolution="found")
    assert results_of(admin_client.get(list_of(Incident))) == [critical, low, settled]
    assert results_of(admin_client.get(list_of(Incident), {"state": "settled"})) == [settled]


def test_markup_in_an_alert_or_an_answer_is_shown_and_never_obeyed(admin_client: Client) -> None:
    signal = make_signal(symbol="<b>X", payload={"note": HOSTILE}, source=HOSTILE)
    experiment = make_experiment(signal=signal, market={"indicators": {HOSTILE: HOSTILE}})
    make_recommendation(experiment, "A", terms=make_terms(rationale=HOSTILE, symbol=HOSTILE, more={"x": HOSTILE}))
    make_recommendation(experiment, "B", action="PASS", reason=HOSTILE)
    make_trade(experiment, external_id=HOSTILE)
    make_event("A", experiment=experiment, body=HOSTILE, message_id=HOSTILE, detail=HOSTILE)
    make_incident(experiment=experiment, subject=HOSTILE, detail={"what": HOSTILE})
    make_health("A", ok=False, detail=HOSTILE)
    make_heartbeat(name=HOSTILE)
    pages = [reverse("admin:index")]
    for model in INSPECTED:
        pages += [list_of(model), *(page_of(row) for row in model._default_manager.all())]
    for page in pages:
        html = admin_client.get(page).content.decode()
        assert HOSTILE not in html, page
        assert "<b>X" not in html, page


@pytest.mark.parametrize("model", INSPECTED, ids=lambda model: model._meta.db_table)
def test_every_column_of_a_table_can_be_seen(admin_client: Client, model: type[models.Model]) -> None:
    tell_whole_story()
    make_health("A")
    make_proof("A")
    make_repeat(Experiment.objects.all()[0])
    make_heartbeat()
    response = admin_client.get(page_of(model._default_manager.all()[0]))
    assert response.status_code == 200
    if model is Experiment:
        return
    titles = {name.replace(" ", "_") for _, facts in response.context["sections"] for name, _ in facts}
    renamed = {"pnl": "P&L", "ok": "last_probe", "proved": "verdict", "detail": "detail", "lead_trade_id": "lead_trade"}
    renamed |= {"lead_is_real": "kind", "signal": "signal", "authorised": "authorised", "latency": "took"}
    for field in model._meta.concrete_fields:
        known = {field.verbose_name.replace(" ", "_"), renamed.get(field.name, field.name).replace(" ", "_")}
        assert known & titles, f"{field.name} is not on the page: {titles}"


# The mode


def test_the_mode_of_the_house_and_the_execution_mode_stand_on_every_page(admin_client: Client) -> None:
    experiment = tell_whole_story()
    for page in (*map(list_of, INSPECTED), page_of(experiment), page_of(experiment.policy), reverse("admin:index")):
        assert "PAPER · ENGINE_A_PRIMARY" in text_of(admin_client.get(page)), page


def test_a_halt_is_seen_on_every_page(admin_client: Client) -> None:
    experiment = tell_whole_story()
    experiment_halted = make_experiment(execution_mode="SPLIT_CAPITAL", trading_halted=True)
    for page in (page_of(experiment), page_of(experiment_halted), reverse("admin:index"), list_of(Incident)):
        assert "PAPER · SPLIT_CAPITAL · HALTED" in text_of(admin_client.get(page)), page


@override_settings(APP_MODE="LIVE")
def test_real_money_is_red(admin_client: Client) -> None:
    response = admin_client.get(reverse("admin:index"))
    assert response.context["environment"] == ["LIVE · AUTO", "danger"]


# The overview


def test_the_overview_says_what_runs_what_waits_and_what_is_wrong(admin_client: Client) -> None:
    tell_whole_story()
    make_signal()
    make_health("A", detail="200")
    make_health("B", checked_at=datetime.now(UTC) - timedelta(hours=1))
    make_heartbeat(name="worker one")
    make_heartbeat(name="worker two", beat_at=datetime.now(UTC) - timedelta(minutes=5))
    make_heartbeat(name="worker three", beat_at=datetime.now(UTC) - timedelta(days=1))
    make_heartbeat(name="worker four", stopped_at=datetime.now(UTC))
    make_permit(make_experiment(execution_mode="ENGINE_B_PRIMARY"), state="UNKNOWN")
    context = admin_client.get(reverse("admin:index")).context
    assert [(engine.engine, engine.state) for engine in context["health"]] == [("A", "available"), ("B", "unavailable")]
    assert [(worker.name, state) for worker, state in context["workers"]] == [
        ("worker one", "running"),
        ("worker two", "silent"),
    ]
    backlog = context["backlog"]
    assert (backlog["signals"], backlog["calls"], backlog["events"]) == (1, 2, 1)
    assert (backlog["permits"], backlog["unknown"]) == (1, 1)
    assert context["severities"] == [("HIGH", 1)]
    assert [experiment.policy.execution_mode for experiment in context["experiments"]] == [
        "ENGINE_B_PRIMARY",
        "ENGINE_A_PRIMARY",
    ]


def test_the_overview_shows_the_worker_that_was_seen_last_where_none_runs(admin_client: Client) -> None:
    make_heartbeat(name="earlier", beat_at=datetime.now(UTC) - timedelta(days=2))
    make_heartbeat(name="last", beat_at=datetime.now(UTC) - timedelta(days=1))
    workers = admin_client.get(reverse("admin:index")).context["workers"]
    assert [(worker.name, state) for worker, state in workers] == [("last", "silent")]


@pytest.mark.requirement("5.2", "property-18")
def test_the_overview_never_adds_real_and_shadow(admin_client: Client) -> None:
    tell_whole_story()
    results = {
        (kind, result.engine): (result.trades, result.total)
        for kind, engines in admin_client.get(reverse("admin:index")).context["results"]
        for result in engines
    }
    assert results["real", "A"] == (1, Decimal("138.70000000"))
    assert results["twin", "A"] == (1, Decimal("150.00000000"))
    assert results["shadow", "B"] == (1, Decimal("150.00000000"))
    assert results["shadow", "A"] == (0, None)


def test_the_overview_of_an_empty_house_opens(admin_client: Client) -> None:
    shown = text_of(admin_client.get(reverse("admin:index")))
    assert "no worker has ever run" in shown
    assert "never probed" in shown
    assert "No alert has become an experiment yet." in shown


# Fixed costs


def test_30_rows_cost_as_many_queries_as_1_in_every_list_and_in_the_overview(admin_client: Client) -> None:
    pages = [reverse("admin:index"), *map(list_of, INSPECTED)]
    tell_whole_story()
    make_health("A")
    make_heartbeat()
    one = {page: count_queries(admin_client, page) for page in pages}
    for _ in range(29):
        tell_whole_story()
        make_heartbeat()
    assert {page: count_queries(admin_client, page) for page in pages} == one
    assert max(one.values()) <= 20


def test_the_experiments_page_costs_the_same_however_much_has_happened(admin_client: Client) -> None:
    quiet, busy = make_experiment(), tell_whole_story()
    for number in range(30):
        make_event("A", experiment=busy)
        make_incident(experiment=busy, subject=str(number))
    assert count_queries(admin_client, page_of(busy)) == count_queries(admin_client, page_of(quiet))


def test_a_long_list_is_never_counted_to_its_end(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MOST_COUNTED", 60)
    for _ in range(61):
        make_quote()
    with CaptureQueriesContext(connection) as queries:
        response = admin_client.get(list_of(type(make_quote())))
    assert response.context["cl"].result_count == 60
    assert "the newest 60 of more" in text_of(response)
    counts = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
    assert counts
    assert all("LIMIT 61" in count for count in counts), counts


# Searching and filtering


@pytest.mark.parametrize(
    "term",
    ["experiment_id", "signal_id", "permit_id", "assignment_hash", "signal_hash", "symbol", "policy_version"],
)
def test_an_experiment_is_found_by_every_name_it_has(admin_client: Client, term: str) -> None:
    make_experiment()
    experiment = tell_whole_story(symbol="NVDA")
    terms = {
        "experiment_id": str(experiment.pk).upper(),
        "signal_id": str(experiment.signal_id),
        "permit_id": experiment.permit.permit_id.hex,
        "assignment_hash": experiment.assignment_hash,
        "signal_hash": experiment.signal.signal_hash,
        "symbol": "nvd",
        "policy_version": experiment.policy_version,
    }
    assert results_of(admin_client.get(list_of(Experiment), {"q": terms[term]})) == [experiment]


def test_a_real_trade_is_found_by_the_engines_own_id(admin_client: Client) -> None:
    tell_whole_story()
    trade = make_trade(make_experiment(execution_mode="ENGINE_B_PRIMARY"), external_id="IB-77/4")
    assert results_of(admin_client.get(list_of(RealTrade), {"q": "IB-77"})) == [trade]


@pytest.mark.parametrize("model", INSPECTED, ids=lambda model: model._meta.db_table)
def test_no_search_is_an_error(admin_client: Client, model: type[models.Model]) -> None:
    make_experiment()
    for term in (
        "\x00",
        "%",
        "'; DROP TABLE signals",
        "é" * 3000,
        "0" * 32,
        "a" * 64,
        "9" * 40,
        '"',
        "(a|b",
        "_",
        "r7",
    ):
        assert admin_client.get(list_of(model), {"q": term}).status_code == 200, term


def test_an_unknown_id_finds_nothing(admin_client: Client) -> None:
    tell_whole_story()
    assert results_of(admin_client.get(list_of(Experiment), {"q": str(UUID(int=7))})) == []


@pytest.mark.parametrize("model", INSPECTED, ids=lambda model: model._meta.db_table)
def test_every_filter_offers_only_links_that_work(admin_client: Client, model: type[models.Model]) -> None:
    tell_whole_story()
    changelist = admin_client.get(list_of(model)).context["cl"]
    assert changelist.filter_specs or model._meta.model_name == "constance"
    for spec in changelist.filter_specs:
        for choice in spec.choices(changelist):
            response = admin_client.get(list_of(model) + choice["query_string"])
            assert response.status_code == 200, (spec.title, choice)


def test_a_filter_narrows_the_list(admin_client: Client) -> None:
    executed, shadow = tell_whole_story(), make_experiment(execution_mode="SHADOW_ONLY")
    modes = {"policy__execution_mode__exact": "SHADOW_ONLY"}
    assert results_of(admin_client.get(list_of(Experiment), modes)) == [shadow]
    assert results_of(admin_client.get(list_of(Experiment), {"permit__state__exact": "EXECUTED"})) == [executed]


# Nothing can be edited


@pytest.mark.parametrize("model", INSPECTED, ids=lambda model: model._meta.db_table)
def test_nothing_can_be_added_changed_or_deleted(admin_client: Client, model: type[models.Model]) -> None:
    tell_whole_story()
    make_health("A")
    make_proof("A")
    make_repeat(Experiment.objects.all()[0])
    make_heartbeat()
    row = model._default_manager.all()[0]
    add = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")
    delete = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_delete", args=[row.pk])
    assert admin_client.get(add).status_code == 403
    for path in (add, page_of(row), delete):
        assert admin_client.post(path, {"post": "yes"}).status_code == 403, path
    assert model._default_manager.filter(pk=row.pk).exists()


def test_a_row_that_does_not_exist_leads_back_with_a_sentence(admin_client: Client) -> None:
    for unknown in (str(UUID(int=7)), "not-an-id"):
        path = reverse("admin:orchestrator_experiment_change", args=[unknown])
        assert "Perhaps it was deleted" in text_of(admin_client.get(path, follow=True))


def test_who_may_see_incidents_sees_only_incidents(client: Client) -> None:
    tell_whole_story()
    user = User.objects.create_user("ann", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_incident"))
    client.force_login(user)
    assert client.get(list_of(Incident)).status_code == 200
    assert client.get(list_of(Experiment)).status_code == 403
    assert client.get(page_of(Experiment.objects.get())).status_code == 403
    overview = client.get(reverse("admin:index"))
    assert "incidents" in overview.context
    assert "experiments" not in overview.context
    titles = [item["title"] for group in overview.context["sidebar_navigation"] for item in group["items"]]
    assert titles == ["Overview", "Incidents"]


def test_a_stranger_sees_nothing(client: Client) -> None:
    response = client.get(list_of(Experiment))
    assert (response.status_code, response.headers["Location"].split("?")[0]) == (302, reverse("admin:login"))
    assert "AUTO" not in text_of(client.get(reverse("admin:login")))
    assert not PolicyRevision.objects.exists()


def test_every_table_is_in_the_sidebar(admin_client: Client) -> None:
    groups = admin_client.get(reverse("admin:index")).context["sidebar_navigation"]
    links = {str(item["link"]) for group in groups for item in group["items"]}
    assert {list_of(model) for model in INSPECTED} <= links
    for link in links:
        assert admin_client.get(link).status_code == 200, link
