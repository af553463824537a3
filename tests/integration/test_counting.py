"""Sums of days follow the facts: exact at every moment, counted or not, in any order, by any number of workers."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.domain.vocabulary import ExecutionMode
from orchestrator.models import Experiment, ShadowTrade
from outcomes import pair_sql, queries, reports
from outcomes.counting import LOCK, count_changes
from outcomes.filters import ReportFilters
from outcomes.models import ChangedDay, ChangedPair, DailyPairs, DailyTrades, Pair
from outcomes.recounting import recount
from tests.factories import (
    make_exit_sync,
    make_experiment,
    make_outcome,
    make_recommendation,
    make_revision,
    make_shadow_trade,
    make_signal,
    make_terms,
    make_trade,
)

FIRST = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


def close(trade: Any, pnl: Decimal | int, *, at: datetime) -> Any:
    """Close a trade of 1 x multiplier 1 with exactly this P&L."""
    return make_outcome(
        trade,
        quantity=Decimal(1),
        multiplier=Decimal(1),
        entry_price=Decimal(5000),
        exit_price=Decimal(5000) + Decimal(pnl),
        fees=Decimal(0),
        side="BUY",
        exit_time=at,
        entry_time=at - timedelta(hours=1),
    )


def everything(filters: ReportFilters = reports.NO_FILTERS) -> dict[str, Any]:
    """Return all that the reports are made of; ages are left out, they grow between two looks."""
    incomplete = asdict(queries.incomplete_pairs(filters))
    incomplete["is_any_open"] = incomplete.pop("oldest_open_seconds") is not None
    return {
        "trades": {key: [asdict(day) for day in days] for key, days in queries.trade_days(filters).items()},
        "answers": queries.answers(filters),
        "pairs": queries.pair_days(filters),
        "own": queries.own_exit_pair_days(filters),
        "incomplete": incomplete,
        "assignments": queries.assignments(filters),
        "executed": queries.execution_costs(filters),
    }


@contextmanager
def elsewhere() -> Iterator[None]:
    """Close the connection of this thread at its end."""
    try:
        yield
    finally:
        connection.close()


def in_threads(number: int, work: Callable[[int], None]) -> None:
    problems: list[BaseException] = []

    def run(mine: int) -> None:
        with elsewhere():
            try:
                work(mine)
            except BaseException as error:  # noqa: BLE001 - told below, where pytest sees it
                problems.append(error)

    threads = [threading.Thread(target=run, args=(mine,)) for mine in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


# what can happen to an experiment after another, in any order that the service allows
SIDES = st.fixed_dictionaries(
    {
        "answer": st.sampled_from(["OPEN", "PASS", "FAILED", "late"]),
        "pnl": st.integers(-300, 300),
        "minutes": st.integers(0, 3000),
        "own": st.none() | st.integers(-300, 300),
        "risk": st.sampled_from(["870", "0", None]),
        "is_void": st.booleans(),
    }
)
STORIES = st.lists(
    st.tuples(
        st.sampled_from(["SPY", "QQQ"]),
        st.sampled_from(["SHADOW_ONLY", "ENGINE_A_PRIMARY", "ENGINE_B_PRIMARY"]),
        SIDES,
        SIDES,
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
)


def tell(
    symbol: str, mode: str, sides: dict[str, dict[str, Any]], is_closed: bool, *, pause: Callable[[], None]
) -> None:
    """Let things happen to one experiment, with a pause after each."""
    experiment = make_experiment(signal=make_signal(symbol=symbol), execution_mode=mode)
    pause()
    trades = {engine: trade for engine, told in sides.items() if (trade := answer(experiment, engine, told, pause))}
    if not is_closed:
        return
    executed = experiment.policy.executed_engine
    at = FIRST + timedelta(minutes=min(told["minutes"] for told in sides.values()))
    lead: Any = trades.get(executed) and make_trade(experiment)
    if lead:
        close(lead, sides[executed]["pnl"] - 3, at=at)
    elif trades:
        engine, lead = next(iter(trades.items()))
        close(lead, sides[engine]["pnl"], at=at)
    if lead:
        make_exit_sync(lead)
    pause()
    for engine, trade in trades.items():
        if trade.pk != lead.pk and sides[engine]["is_void"]:
            ShadowTrade.objects.filter(pk=trade.pk).update(status="VOID")
        elif trade.pk != lead.pk:
            close(trade, sides[engine]["pnl"], at=at)
        pause()
    for engine, trade in trades.items():
        if sides[engine]["own"] is not None and trade.pk != lead.pk:
            ShadowTrade.objects.filter(pk=trade.pk).update(
                own_exit_price=Decimal(400 + sides[engine]["own"]),
                own_exit_time=FIRST + timedelta(minutes=sides[engine]["minutes"]),
                own_exit_reason="its own",
            )
            pause()


def answer(experiment: Experiment, engine: str, told: dict[str, Any], pause: Callable[[], None]) -> ShadowTrade | None:
    if told["answer"] in ("FAILED", "late"):
        experiment.calls.filter(engine=engine).update(state="FAILED", error="no answer")
        pause()
    if told["answer"] == "FAILED":
        return None
    at = FIRST + timedelta(minutes=told["minutes"])
    if told["answer"] == "PASS":
        make_recommendation(experiment, engine, action="PASS", received_at=at)
        pause()
        return None
    terms = make_terms(max_loss=told["risk"])
    make_recommendation(experiment, engine, terms=terms, received_at=at)
    trade = make_shadow_trade(experiment, engine, terms=terms)
    pause()
    return trade


@pytest.mark.django_db
@pytest.mark.requirement("property-18")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stories=STORIES, counted_after=st.sets(st.integers(0, 12), max_size=2))
def test_whenever_it_is_counted_the_sums_are_what_the_facts_say(stories: list[Any], counted_after: set[int]) -> None:
    with transaction.atomic():
        make_revision(execution_mode="SHADOW_ONLY")
        moments = iter(range(1000))

        def pause() -> None:
            if next(moments) in counted_after:
                count_changes()

        for symbol, mode, a, b, is_closed in stories:
            tell(symbol, mode, {"A": a, "B": b}, is_closed, pause=pause)
        partly = everything(ReportFilters(symbol="SPY"))
        count_changes()
        assert everything(ReportFilters(symbol="SPY")) == partly
        assert not ChangedPair.objects.exists()
        assert not ChangedDay.objects.exists()
        assert recount() == []
        transaction.set_rollback(True)


@pytest.mark.django_db
def test_a_report_counts_a_day_or_a_part_of_it_the_same() -> None:
    """Moments between days are read from trades and pairs, whole days from sums."""
    for hour in range(0, 60, 5):
        at = FIRST.replace(hour=1) + timedelta(hours=hour)
        experiment = make_experiment(execution_mode="ENGINE_A_PRIMARY", signal=make_signal(symbol="SPQ"[hour % 3] * 3))
        for engine in "AB":
            make_recommendation(experiment, engine)
        lead = make_trade(experiment)
        close(lead, hour * 7 % 31 - 15, at=at)
        make_exit_sync(lead)
        close(make_shadow_trade(experiment, "A"), hour * 5 % 31 - 15, at=at)
        close(make_shadow_trade(experiment, "B"), hour * 3 % 31 - 15, at=at)
    noted = [_totals(filters) for filters in _cuts()]
    count_changes()
    assert [_totals(filters) for filters in _cuts()] == noted
    close(make_shadow_trade(make_experiment(execution_mode="SHADOW_ONLY"), "A"), 1000, at=FIRST.replace(hour=2))
    with_a_late_one = [_totals(filters) for filters in _cuts()]
    assert with_a_late_one != noted
    count_changes()
    assert [_totals(filters) for filters in _cuts()] == with_a_late_one
    whole = _totals(ReportFilters())
    for early, late in zip(_cuts()[::2], _cuts()[1::2], strict=True):
        parts = [_totals(early), _totals(late)]
        assert tuple(sum(part[n] for part in parts) for n in range(3)) == whole[:3]


def _cuts() -> list[ReportFilters]:
    cuts = [FIRST.replace(hour=hour) + timedelta(days=day) for day, hour in ((0, 11), (1, 0), (1, 16), (2, 3))]
    return [
        half
        for cut in cuts
        for half in (ReportFilters(until=cut - timedelta(microseconds=1)), ReportFilters(since=cut))
    ]


def _totals(filters: ReportFilters) -> tuple[Any, ...]:
    trades = queries.trade_days(filters)
    days = [*trades.get(("A", "real"), ()), *trades.get(("A", "shadow"), ())]
    pairs = queries.pair_days(filters)
    performed = reports.performance(filters)["engines"]["A"]["real"]
    return (
        sum(day.sums.trades for day in days),
        sum(day.sums.total for day in days),
        sum(day.difference for day in pairs),
        performed["max_drawdown"],
    )


@pytest.mark.django_db
def test_the_largest_fall_is_exact_where_trades_of_several_slices_alternate() -> None:
    """The unit tests of curves try many; this one proves that such days are looked at trade by trade."""
    revision = make_revision(execution_mode="SHADOW_ONLY")
    curve = []
    for number, pnl in enumerate((40, -70, 35, -20, 60, -90, 80, -10, -30, 25, -65, 5)):
        symbol, timeframe = ("SPY", "QQQ")[number % 2], ("5", "60")[number % 3 % 2]
        at = FIRST + timedelta(days=number // 4, minutes=number)
        experiment = make_experiment(signal=make_signal(symbol=symbol, timeframe=timeframe), revision=revision)
        close(make_shadow_trade(experiment, "A"), pnl, at=at)
        curve.append((symbol, pnl))
    count_changes()
    one, version = {"SPY"}, revision.policy_version
    for filters, wanted in (
        (ReportFilters(mode=ExecutionMode.SHADOW_ONLY), {"SPY", "QQQ"}),
        (ReportFilters(mode=ExecutionMode.SHADOW_ONLY, policy_version=version), {"SPY", "QQQ"}),
        (ReportFilters(symbol="SPY"), one),
        (ReportFilters(symbol="SPY", mode=ExecutionMode.SHADOW_ONLY), one),
    ):
        level = peak = fall = 0
        for symbol, pnl in curve:
            level += pnl if symbol in wanted else 0
            peak = max(peak, level)
            fall = max(fall, peak - level)
        found = reports.performance(filters)["engines"]["A"]["shadow"]["max_drawdown"]
        assert Decimal(found) == fall


@pytest.mark.django_db
def test_each_engines_own_exit_is_compared_apart_from_the_synchronised_one() -> None:
    """The real trade of A leads; its exit is also its own. B told another one, after the exit and after it was counted."""
    experiment = make_experiment(execution_mode="ENGINE_A_PRIMARY")
    for engine in "AB":
        make_recommendation(experiment, engine)
    lead = make_trade(experiment)
    close(lead, 97, at=FIRST)
    make_exit_sync(lead)
    close(make_shadow_trade(experiment, "A"), 100, at=FIRST)
    follower = make_shadow_trade(experiment, "B", terms=make_terms(max_loss="400"))
    close(follower, 40, at=FIRST)
    count_changes()
    assert queries.own_exit_pair_days(ReportFilters()) == []
    left = follower.entry_time + timedelta(days=3)
    ShadowTrade.objects.filter(pk=follower.pk).update(
        own_exit_price=follower.entry_price + 1, own_exit_time=left, own_exit_reason="target"
    )
    for _ in range(2):
        (own,) = queries.own_exit_pair_days(ReportFilters())
        assert (own.day, own.pairs, own.difference) == (left.date(), 1, Decimal(100 - 1 * 2 * 100))
        assert own.difference_in_r == round(Decimal(100) / 870, 12) - round(Decimal(200) / 400, 12)
        (together,) = queries.pair_days(ReportFilters())
        assert (together.day, together.difference) == (FIRST.date(), Decimal(60))
        (cost,) = queries.execution_costs(ReportFilters())["A"]
        assert (cost.pairs, cost.difference, cost.only_a, cost.only_b) == (1, Decimal(-3), 0, 0)
        count_changes()


@pytest.mark.django_db
def test_a_late_answer_takes_a_pair_out_of_those_without_an_answer() -> None:
    experiment = make_experiment(execution_mode="SHADOW_ONLY")
    make_recommendation(experiment, "A", action="PASS")
    experiment.calls.filter(engine="B").update(state="FAILED", error="no answer before the deadline")
    count_changes()
    assert queries.incomplete_pairs(ReportFilters()).no_answer == 1
    make_recommendation(experiment, "B", action="PASS", received_at=FIRST + timedelta(days=900))
    for _ in range(2):
        assert queries.incomplete_pairs(ReportFilters()).no_answer == 0
        (day,) = queries.pair_days(ReportFilters())
        assert (day.pairs, day.passed_both, day.difference) == (1, 1, Decimal(0))
        count_changes()
    assert recount() == []


@pytest.mark.django_db(transaction=True)
def test_many_close_trades_while_many_count() -> None:
    """Nothing deadlocks, nothing is counted twice or left out, and reports are exact all the while."""
    revision = make_revision(execution_mode="SHADOW_ONLY")
    experiments = [make_experiment(revision=revision) for _ in range(24)]
    trades = {one.pk: [make_shadow_trade(one, engine) for engine in "AB"] for one in experiments}
    seen: list[tuple[int, int]] = []

    def work(mine: int) -> None:
        if mine >= 3:
            for _ in range(12):
                count_changes(limit=7)
                with transaction.atomic():
                    with connection.cursor() as cursor:
                        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                        cursor.execute("SELECT count(*) FROM shadow_trade_outcomes WHERE engine = 'A'")
                        closed = cursor.fetchone()[0]
                    days = queries.trade_days(ReportFilters()).get(("A", "shadow"), ())
                    seen.append((closed, sum(day.sums.trades for day in days)))
            return
        for number, experiment in enumerate(experiments):
            if number % 3 == mine:
                with transaction.atomic():
                    for trade in trades[experiment.pk]:
                        close(trade, number - 10, at=FIRST + timedelta(minutes=-number))

    in_threads(5, work)
    assert all(closed == reported for closed, reported in seen)
    while count_changes():
        pass
    assert (
        sum(
            row.trades
            for row in DailyTrades.objects.filter(
                slice__mode="", slice__symbol="", slice__timeframe="", slice__policy_version="", engine="A"
            )
        )
        == 24
    )
    assert recount() == []
    assert Pair.objects.count() == 24


@pytest.mark.django_db(transaction=True)
def test_a_second_worker_does_not_wait_for_one_that_counts() -> None:
    make_experiment(execution_mode="SHADOW_ONLY")
    counted: list[int] = []
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        in_threads(1, lambda _: counted.append(count_changes()))
    assert counted == [0]
    assert count_changes() > 0


@pytest.mark.django_db
@pytest.mark.requirement("property-18")
def test_wrong_sums_are_found_told_and_corrected() -> None:
    experiment = make_experiment(execution_mode="SHADOW_ONLY")
    for engine, pnl in (("A", 10), ("B", 4)):
        make_recommendation(experiment, engine)
        close(make_shadow_trade(experiment, engine), pnl, at=FIRST)
    count_changes()
    before = everything()
    DailyPairs.objects.update(difference=1)
    DailyTrades.objects.filter(engine="B").delete()
    Pair.objects.update(a_pnl=11)
    printed = StringIO()
    call_command("rebuild_summaries", stdout=printed)
    assert f"pairs {experiment.pk}: kept a_pnl 11" in printed.getvalue()
    assert "kept difference 1.00000000; the outcomes say difference 6.00000000" in printed.getvalue()
    assert "kept no such row" in printed.getvalue()
    assert "9 differences, corrected." in printed.getvalue()
    assert everything() == before
    assert recount() == []


@pytest.mark.django_db
def test_what_there_was_before_is_noted_by_the_migration() -> None:
    """The notes of a migrated database are all that is there; until they are counted, reports read the facts."""
    experiment = make_experiment(execution_mode="SHADOW_ONLY")
    for engine, pnl in (("A", 10), ("B", 4)):
        make_recommendation(experiment, engine)
        close(make_shadow_trade(experiment, engine), pnl, at=FIRST)
    before = everything()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM changed_pairs; DELETE FROM changed_days")
        cursor.execute(_filling_of_the_migration())
    assert everything() == before
    count_changes()
    assert everything() == before
    assert recount() == []


def _filling_of_the_migration() -> str:
    from importlib import import_module  # noqa: PLC0415 - a module whose name begins with a digit

    forward: str = import_module("outcomes.migrations.0003_what_changed").FORWARD
    return forward[forward.index("INSERT INTO changed_pairs (experiment_id) SELECT experiment_id FROM experiments") :]


@pytest.mark.django_db
def test_a_report_asks_as_often_whatever_there_is() -> None:
    def statements(report: Callable[[], Any]) -> int:
        number = 0

        def count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            nonlocal number
            number += 1
            return execute(sql, params, many, context)

        with connection.execute_wrapper(count):
            report()
        return number

    found = []
    for _ in range(2):
        for number in range(3):
            experiment = make_experiment(execution_mode="SHADOW_ONLY")
            for engine in "AB":
                make_recommendation(experiment, engine)
                close(make_shadow_trade(experiment, engine), number, at=FIRST + timedelta(days=number))
        found.append((statements(reports.performance), statements(reports.comparison)))
        count_changes()
    assert found[0] == found[1]
    assert max(found[0]) <= 14


def test_the_columns_of_kept_and_fresh_pairs_are_the_same() -> None:
    assert set(pair_sql.COLUMNS) <= {field.attname for field in Pair._meta.concrete_fields}
