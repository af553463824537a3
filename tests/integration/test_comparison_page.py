"""The page "Comparison": every state is said in a sentence, filters stand in the address, figures can be had as CSV."""

import csv
import re
from datetime import timedelta
from html import unescape
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from orchestrator.roles import VIEWER
from outcomes.counting import count_changes
from outcomes.filters import ReportFilters
from outcomes.pair_rows import all_pair_rows, newest_pair_rows
from outcomes.reports import comparison
from tests.factories import make_experiment, make_recommendation, make_repeat, make_shadow_trade, make_signal
from tests.integration.test_admin import text_of
from tests.integration.test_reports import FIRST, both_closed, close, executed

pytestmark = pytest.mark.django_db
PAGE = "/admin/comparison/"


def rows_of(response: Any) -> list[dict[str, str]]:
    assert response.headers["Content-Type"].startswith("text/csv")
    return list(csv.DictReader(StringIO(response.content.decode())))


def many_days(days: int, *, ahead: int = 100) -> None:
    """Write a pair a day in which A earns about ``ahead`` more."""
    for number in range(days):
        both_closed(10 + ahead + number % 7, 10 - number % 3, at=FIRST + timedelta(days=number))


def paths_of(html: str) -> list[str]:
    return re.findall(r'<path [^>]*d="([^"]*)"', html)


# Every state is said


def test_without_anything_the_page_says_so_and_draws_nothing(admin_client: Client) -> None:
    response = admin_client.get(PAGE)
    shown = text_of(response)
    for said in (
        "Too early to say which engine is better.",
        "TOO_EARLY",
        "Missing for a first verdict: 20 days and 30 complete pairs.",
        "No pair with a result in R is complete in this choice.",
        *(
            f"No {kind} trade of engine {engine} is closed in this choice."
            for kind in ("real", "shadow")
            for engine in "AB"
        ),
        "The newest 0 complete pairs",
        "No experiment in this choice.",
        "No open pair.",
    ):
        assert said in shown, said
    assert paths_of(response.content.decode()) == []


def test_one_day_is_drawn_and_its_unbounded_interval_named(admin_client: Client) -> None:
    both_closed(100, -50, at=FIRST)
    shown = text_of(admin_client.get(PAGE))
    assert "Missing for a first verdict: 19 days and 29 complete pairs." in shown
    assert "its interval is still unbounded, too early for a verdict" in shown
    assert "A minus B; One day alone does not show how days vary." in shown
    assert "Engine A, cumulated P&L at the end: shadow +100.00." in shown


def test_a_verdict_is_one_sentence_with_its_code_and_figures(admin_client: Client) -> None:
    many_days(32)
    shown = text_of(admin_client.get(PAGE))
    report = comparison()
    assert "Engine A is better. A_BETTER" in shown
    assert "Missing for a first verdict" not in shown
    mean = report["difference"]["R"]["mean"]
    assert f"{mean:+.3f} R per signal A minus B; 95 %:" in shown
    assert "Each at its own exit (not the verdict)" in shown
    assert "The band is the interval as it stood after each of 32 days" in shown
    for source in report["method"]["sources"].values():
        assert source in shown
    assert "calibrated" in shown
    assert f"in at most {100 * report['calibration']['worst']['rate']:.1f} %" in shown


def test_pairs_without_a_result_in_r_count_in_currency_only_and_the_page_says_so(admin_client: Client) -> None:
    both_closed(870, None, at=FIRST, terms={"max_loss": "0"})
    shown = text_of(admin_client.get(PAGE))
    assert "No pair with a result in R is complete in this choice." in shown
    assert "1 complete pairs have no result in R" in shown
    assert "Without a result in R: 1." in shown


def test_open_pairs_are_shown_with_the_age_of_the_oldest(admin_client: Client) -> None:
    waiting = make_experiment(execution_mode="SHADOW_ONLY", at=FIRST)
    make_recommendation(waiting, "A", action="PASS")
    make_recommendation(waiting, "B")
    make_shadow_trade(waiting, "B")
    assert re.search(r"1 open pair, the oldest for [0-9,]+ days\.", text_of(admin_client.get(PAGE)))


def test_where_everything_passes_there_is_a_point_at_zero_and_no_judgement(admin_client: Client) -> None:
    for number in range(32):
        both_closed(None, None, at=FIRST + timedelta(days=number))
    shown = text_of(admin_client.get(PAGE))
    assert "The difference cannot be measured. NOT_MEASURABLE" in shown
    assert "A passed 32, B 32, both 32 times" in shown
    assert "Of 32 pairs A earned more in 0, B in 0, and 32 were level" in shown
    assert "No pair in which only one engine made money." in shown


def test_real_and_twin_are_two_lines_and_slippage_is_real_minus_twin(admin_client: Client) -> None:
    executed(real=100, twin=110, shadow=-30, at=FIRST)
    executed(real=90, twin=95, shadow=20, at=FIRST + timedelta(days=1))
    response = admin_client.get(PAGE)
    shown = text_of(response)
    assert "real +190.00, twin (the same orders under the rules of shadow trades) +205.00" in shown
    assert "No real trade of engine B is closed in this choice." in shown
    assert "Not separable: engine B has no executed trade" in shown
    assert "Engine A, 2 orders: −7.50 in currency" in shown
    assert response.content.decode().count("o-stroke-A o-line o-dashed") == 1


def test_who_wins_more_often_is_never_called_better(admin_client: Client) -> None:
    for number in range(32):
        both_closed(10 if number % 8 else -2000, -5, at=FIRST + timedelta(days=number))
    shown = text_of(admin_client.get(PAGE))
    assert "Engine A wins more often: only A made money in 28 pairs, only B in 0" in shown
    assert "Engine A is better" not in shown


def test_the_noise_floor_is_shown_once_questions_were_repeated(admin_client: Client) -> None:
    assert "Noise floor" not in text_of(admin_client.get(PAGE))
    experiment = make_experiment()
    make_recommendation(experiment, "B")
    make_repeat(experiment, "B", agreement="OTHER_ACTION")
    assert "Engine B, asked 1 question again, decided otherwise in 1 (100.0 %)." in text_of(admin_client.get(PAGE))


# Filters


def test_filters_in_the_address_choose_what_is_shown_and_stay_in_the_form(admin_client: Client) -> None:
    executed(real=1, twin=2, shadow=3, at=FIRST, symbol="SPY", timeframe="5")
    executed(real=10, twin=20, shadow=30, at=FIRST + timedelta(days=1), symbol="QQQ", timeframe="60")
    count_changes()

    def found(query: str) -> str:
        return text_of(admin_client.get(f"{PAGE}?{query}"))

    assert "real +11.00" in found("symbol=&from=&to=&timeframe=&mode=&policy_version=")
    assert "real +1.00" in found("symbol=SPY")
    assert "real +10.00" in found("timeframe=1h")
    assert "real +10.00" in found("from=2026-03-03")
    assert "real +1.00" in found("to=2026-03-02T15:00:00Z")
    assert "No real trade of engine A" in found("mode=SHADOW_ONLY")
    assert "real +11.00" in found("mode=ENGINE_A_PRIMARY&policy_version=v1.0-r2") or "No real" in found(
        "policy_version=x"
    )
    assert "Filters chose these pairs." in found("symbol=SPY")
    assert "of those among the newest 20,000 of the period that the filters choose" in found("symbol=SPY")
    assert "newest 20,000" not in found("symbol=&from=")
    html = admin_client.get(f"{PAGE}?symbol=SPY&from=2026-03-01").content.decode()
    assert '<option value="SPY" selected>SPY</option>' in html
    assert '<option value="QQQ">QQQ</option>' in html
    assert 'value="2026-03-01"' in html
    assert unescape(re.findall(r'href="(\?[^"]*csv=curve)"', html)[0]) == "?symbol=SPY&from=2026-03-01&csv=curve"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("from=yesterday", "yesterday cannot be used. Accepted is a day such as 2026-03-02"),
        ("from=2026-03-03&to=2026-03-02", "Accepted is a time that is not before from"),
        ("mode=AUTO", "AUTO cannot be used. Accepted is SHADOW_ONLY"),
        ("timeframe=soon", "soon cannot be used."),
        ("symbol=%00", "cannot be used. Accepted is a symbol"),
        ("symbol=SPY&symbol=QQQ", "SPY and QQQ cannot be used."),
        ("policy_version=%22%3E%3Cscript%3Ealert(1)%3C/script%3E%20", "cannot be used. Accepted is a policy version"),
        ("engine=A", "engine = A: no such filter; there are from, to"),
        ("csv=everything", "csv = everything: no such figure; there are curve, difference, pairs, performance."),
    ],
)
def test_a_senseless_filter_is_answered_in_a_sentence_beside_the_form(
    admin_client: Client, query: str, said: str
) -> None:
    response = admin_client.get(f"{PAGE}?{query}")
    assert response.status_code == 400
    shown = text_of(response)
    assert said in shown
    assert "Nothing is shown until the filters make sense." in shown
    assert "<script>alert" not in response.content.decode()


# CSV of what is shown


def test_each_figure_can_be_had_as_csv(admin_client: Client) -> None:
    executed(real=100, twin=110, shadow=-30, at=FIRST)
    executed(real=-40, twin=-50, shadow=20, at=FIRST + timedelta(days=1))
    curve = rows_of(admin_client.get(f"{PAGE}?csv=curve"))
    assert [(row["cumulated_pnl"], row["lowest_below_highest"]) for row in curve if row["kind"] == "real"] == [
        ("100", "0"),
        ("60", "-40"),
    ]
    difference = [row for row in rows_of(admin_client.get(f"{PAGE}?csv=difference")) if row["unit"] == "R"]
    assert [row["enough"] for row in difference] == ["no", "no"]
    assert float(difference[1]["mean"]) == pytest.approx(comparison()["difference"]["R"]["mean"])
    pairs = rows_of(admin_client.get(f"{PAGE}?csv=pairs&from=2026-03-03"))
    assert [(row["a_pnl"], row["b_pnl"], row["difference"]) for row in pairs] == [("-50", "20", "-70")]
    performance = rows_of(admin_client.get(f"{PAGE}?csv=performance"))
    assert {(row["engine"], row["kind"]): row["total_pnl"] for row in performance}["A", "real"] == "60"
    named = admin_client.get(f"{PAGE}?csv=pairs&from=2026-03-03").headers["Content-Disposition"]
    assert named == 'attachment; filename="comparison-pairs-2026-03-03.csv"'


def test_no_cell_of_a_csv_is_a_formula(admin_client: Client) -> None:
    experiment = make_experiment(signal=make_signal(symbol="@SUM(1)"), execution_mode="SHADOW_ONLY")
    for engine in "AB":
        make_recommendation(experiment, engine)
        close(make_shadow_trade(experiment, engine), 10, at=FIRST)
    (pair,) = rows_of(admin_client.get(f"{PAGE}?csv=pairs"))
    assert pair["symbol"] == "'@SUM(1)"


# Permission


def test_the_role_viewer_sees_the_page_and_finds_it(client: Client) -> None:
    viewer = User.objects.create_user("vic", is_staff=True)
    viewer.groups.add(Group.objects.get(name=VIEWER))
    client.force_login(viewer)
    assert client.get(PAGE).status_code == 200
    overview = client.get(reverse("admin:index")).content.decode()
    assert overview.count(f'href="{PAGE}"') >= 2  # in the sidebar, and above the closed trades


def test_others_are_refused_and_strangers_asked_to_sign_in(client: Client) -> None:
    assert client.get(PAGE).headers["Location"].startswith(reverse("admin:login"))
    other = User.objects.create_user("otto", is_staff=True)
    other.user_permissions.add(Permission.objects.get(codename="view_signal"))
    client.force_login(other)
    assert client.get(PAGE).status_code == 403
    assert f'href="{PAGE}"' not in client.get(reverse("admin:index")).content.decode()
    assert client.get(f"{PAGE}?csv=curve").status_code == 403


def test_the_page_changes_nothing_and_refuses_to_be_posted_to(admin_client: Client) -> None:
    assert admin_client.post(PAGE).status_code == 405
    policy = admin_client.get(PAGE).headers["Content-Security-Policy"]
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]


# Big data


def test_the_number_of_queries_does_not_grow_with_the_trades(admin_client: Client) -> None:
    def queries() -> int:
        admin_client.get(PAGE)
        with CaptureQueriesContext(connection) as captured:
            assert admin_client.get(PAGE).status_code == 200
        return len(captured)

    executed(real=1, twin=2, shadow=3, at=FIRST)
    count_changes()
    few = queries()
    many_days(25)
    count_changes()
    assert queries() == few
    assert few <= 40


def test_the_newest_pairs_are_those_of_all_pairs_from_the_end_whether_counted_or_not() -> None:
    many_days(5)
    count_changes()
    both_closed(1, 2, at=FIRST + timedelta(days=2, hours=1))
    everything = list(all_pair_rows(ReportFilters()))
    assert newest_pair_rows(ReportFilters()) == everything[::-1]
    assert newest_pair_rows(ReportFilters(), limit=2) == everything[:-3:-1]
    until = ReportFilters(until=FIRST + timedelta(days=2, hours=1))
    assert newest_pair_rows(until) == list(all_pair_rows(until))[::-1]
    assert newest_pair_rows(ReportFilters(symbol="QQQ")) == []
