"""The API for reading: who may, what a page is, what a senseless request is told, and that nothing costs a query per row."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.authtoken.models import Token

from config.keys import new_key
from orchestrator.models import Incident, PolicyRevision
from tests.factories import (
    make_experiment,
    make_incident,
    make_outcome,
    make_recommendation,
    make_revision,
    make_shadow_trade,
    make_signal,
    make_trade,
)

pytestmark = pytest.mark.django_db
LISTS = ["signals", "experiments", "trades", "outcomes", "incidents", "policy-revisions"]
KEYS = {"signals": "signal_id", "experiments": "experiment_id", "trades": "trade_id", "outcomes": "outcome_id"}
PROBLEM = "application/problem+json"


@pytest.fixture
def reader(client: Client) -> Client:
    client.force_login(User.objects.create_user("reader"))
    return client


def fill(number: int) -> None:
    """Write experiments with everything: a real trade, a twin, a shadow, all closed, and an incident."""
    for _ in range(number):
        experiment = make_experiment(execution_mode="ENGINE_A_PRIMARY")
        for engine in "AB":
            make_recommendation(experiment, engine)
        for trade in (make_trade(experiment), make_shadow_trade(experiment, "A"), make_shadow_trade(experiment, "B")):
            make_outcome(trade)
        make_incident(experiment=experiment)


def pages(reader: Client, address: str) -> list[dict[str, Any]]:
    """Follow ``next`` to the end and return all rows."""
    rows, following = [], address
    while following:
        body = reader.get(following).json()
        rows += body["results"]
        following = body["next"]
    return rows


@pytest.mark.parametrize("name", LISTS)
def test_nobody_reads_without_a_login_or_a_token(client: Client, name: str) -> None:
    for address in (f"/api/v1/{name}/", f"/api/v1/{name}/{new_key()}/"):
        answer = client.get(address)
        assert (answer.status_code, answer.headers["Content-Type"]) == (401, PROBLEM)
        assert "Token" in answer.json()["detail"]
    token = Token.objects.create(user=User.objects.create_user("program"))
    assert client.get(f"/api/v1/{name}/", headers={"Authorization": f"Token {token.key}"}).status_code == 200
    assert client.get(f"/api/v1/{name}/", headers={"Authorization": "Token wrong"}).status_code == 401


@pytest.mark.parametrize("name", LISTS)
def test_a_list_has_pages_and_each_row_has_an_address_of_its_own(reader: Client, name: str) -> None:
    fill(2)
    body = reader.get(f"/api/v1/{name}/").json()
    assert list(body) == ["next", "previous", "results"]
    assert body["results"]
    for row in body["results"]:
        assert reader.get(f"/api/v1/{name}/{row[KEYS.get(name, 'id')]}/").json() == row


@pytest.mark.parametrize("name", LISTS)
def test_an_unknown_id_is_a_404_problem(reader: Client, name: str) -> None:
    for address in (f"/api/v1/{name}/{new_key()}/", f"/api/v1/{name}/nonsense/"):
        answer = reader.get(address)
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, PROBLEM)
        assert answer.json()["status"] == 404


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nothing_can_be_changed(reader: Client, name: str, method: str) -> None:
    answer = getattr(reader, method)(f"/api/v1/{name}/")
    assert (answer.status_code, answer.headers["Content-Type"]) == (405, PROBLEM)
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize("name", LISTS)
def test_pages_hold_every_row_once_newest_first_while_rows_are_added(reader: Client, name: str) -> None:
    fill(3)
    if name == "policy-revisions":
        for _ in range(3):
            make_revision()
    key = KEYS.get(name, "id")
    first = reader.get(f"/api/v1/{name}/?page_size=2").json()
    all_before = [row[key] for row in pages(reader, f"/api/v1/{name}/?page_size=500")]
    fill(1)
    rest = pages(reader, first["next"])
    found = [row[key] for row in first["results"] + rest]
    assert found == all_before
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("name", ["signals", "trades", "outcomes"])
def test_previous_leads_back_through_the_same_pages(reader: Client, name: str) -> None:
    fill(4)
    there = [reader.get(f"/api/v1/{name}/?page_size=3").json()]
    while there[-1]["next"]:
        there.append(reader.get(there[-1]["next"]).json())
    back = [there[-1]]
    while back[-1]["previous"]:
        back.append(reader.get(back[-1]["previous"]).json())
    assert len(there) > 1
    assert [page["results"] for page in reversed(back)] == [page["results"] for page in there]


@pytest.mark.parametrize("name", LISTS)
def test_a_page_costs_the_same_number_of_queries_however_long_it_is(reader: Client, name: str) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert reader.get(f"/api/v1/{name}/").status_code == 200
        return len(captured)

    fill(1)
    few = queries()
    fill(4)
    assert queries() == few <= 4


@pytest.mark.parametrize(
    ("address", "field"),
    [
        ("signals/?direction=up", "direction"),
        ("signals/?processed=maybe", "processed"),
        ("signals/?received_from=yesterday", "received_from"),
        ("signals/?symbol=%00", "symbol"),
        ("experiments/?mode=AUTO", "mode"),
        ("experiments/?signal=nonsense", "signal"),
        ("experiments/?variant=A&variant=B", "variant"),
        ("trades/?kind=both", "kind"),
        ("trades/?engine=C", "engine"),
        ("trades/?status=", "status"),
        ("outcomes/?exit_to=2026-13-01", "exit_to"),
        ("outcomes/?colour=red", "colour"),
        ("incidents/?open=perhaps", "open"),
        ("incidents/?severity=low", "severity"),
        ("policy-revisions/?number=many", "number"),
        ("signals/?page_size=0", "page_size"),
        ("signals/?page_size=501", "page_size"),
        ("signals/?cursor=nonsense", "cursor"),
        ("signals/?cursor=cD1ub25zZW5zZQ==", "cursor"),
        ("trades/?cursor=cD0x", "cursor"),
    ],
)
def test_a_senseless_parameter_is_refused_by_name(reader: Client, address: str, field: str) -> None:
    answer = reader.get(f"/api/v1/{address}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, PROBLEM)
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert error["accepted"]


@pytest.mark.requirement("4.3", "5.2", "property-16")
@pytest.mark.parametrize("name", ["trades", "outcomes"])
def test_real_shadow_and_twin_are_told_apart(reader: Client, name: str) -> None:
    fill(2)
    by_kind = {kind: pages(reader, f"/api/v1/{name}/?kind={kind}&page_size=1") for kind in ("real", "shadow", "twin")}
    for kind, rows in by_kind.items():
        assert {row["kind"] for row in rows} == {kind}
        assert {row["engine"] for row in rows} == {"B" if kind == "shadow" else "A"}
        assert len(rows) == 2
    assert len(pages(reader, f"/api/v1/{name}/?page_size=1")) == 6
    assert len(pages(reader, f"/api/v1/{name}/?engine=A")) == 4


def test_filters_narrow_the_lists(reader: Client) -> None:
    fill(1)
    other = make_experiment(signal=make_signal(symbol="QQQ", direction="short"), execution_mode="SHADOW_ONLY")
    make_signal(symbol="IWM")
    Incident.objects.update(resolved_at="2026-03-03T00:00Z", resolved_by="ann")
    make_incident(experiment=other, severity="CRITICAL")

    def count(address: str) -> int:
        return len(pages(reader, f"/api/v1/{address}"))

    assert count("signals/?symbol=QQQ&direction=short") == 1
    assert count("signals/?processed=false") == 1
    assert count("experiments/?mode=SHADOW_ONLY") == 1
    assert count("experiments/?executed_engine=A") == 1
    assert count(f"experiments/?signal={other.signal_id}") == 1
    assert count("trades/?symbol=QQQ") == 0
    assert count("trades/?symbol=SPY&status=CLOSED") == 3
    assert count(f"outcomes/?experiment={other.pk}") == 0
    assert count("incidents/?open=true") == count("incidents/?severity=CRITICAL") == 1
    assert count("incidents/?open=false") == 1
    assert count(f"policy-revisions/?number={PolicyRevision.objects.count()}") == 1


def test_money_is_a_decimal_string_and_unknown_is_null(reader: Client) -> None:
    fill(1)
    rows = {row["kind"]: row for row in pages(reader, "/api/v1/trades/")}
    assert (rows["real"]["entry_price"], rows["real"]["fees"], rows["real"]["authorised"]) == ("4.4", "1.3", True)
    assert (rows["shadow"]["permit_id"], rows["shadow"]["authorised"], rows["shadow"]["own_exit_price"]) == (None,) * 3
    outcome = pages(reader, "/api/v1/outcomes/?kind=real")[0]
    assert (outcome["pnl"], outcome["multiplier"]) == ("138.7", "100")
    assert outcome["exit_time"].endswith("Z")


@pytest.mark.parametrize("address", ["/api/nothing/", "/api/v2/signals/", "/api/v1/engines/C/events/"])
def test_an_unknown_address_is_a_problem_too(client: Client, address: str) -> None:
    answer = client.get(address)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, PROBLEM)


def test_a_wrong_method_at_a_plain_view_is_a_problem_too(client: Client) -> None:
    answer = client.get("/api/v1/engines/A/events/")
    assert (answer.status_code, answer.headers["Content-Type"]) == (405, PROBLEM)


def test_a_crash_is_a_problem_without_a_traceback(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    _break_trades(monkeypatch, RuntimeError("secret detail"))
    reader.raise_request_exception = False
    answer = reader.get("/api/v1/trades/")
    assert (answer.status_code, answer.headers["Content-Type"]) == (500, PROBLEM)
    assert "secret" not in answer.content.decode()


def test_a_lost_database_is_a_503(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    _break_trades(monkeypatch, OperationalError("server closed the connection"))
    answer = reader.get("/api/v1/trades/")
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, PROBLEM)
    assert answer.headers["Retry-After"] == "5"


def _break_trades(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let reading trades fail, as a lost server or a defect would."""

    def fail(*args: Any) -> Callable[..., Any]:
        raise error

    monkeypatch.setattr("outcomes.paging.SideBySide.order_by", fail)


def test_the_description_is_complete_and_comes_from_this_server(client: Client) -> None:
    schema = client.get("/api/schema/?format=json").json()
    assert schema["openapi"].startswith("3.")
    for address in (
        "/api/v1/signals/",
        "/api/v1/experiments/{id}/trace/",
        "/api/v1/reports/performance/",
        "/api/v1/reports/comparison/",
        "/api/v1/quotes/",
        "/api/v1/engines/{engine}/events/",
        "/webhooks/tradingview/{token}/",
    ):
        assert address in schema["paths"], address
    page = client.get("/api/docs/").content.decode()
    assert "swagger" in page
    assert "https://" not in page
    assert "//cdn" not in page
