"""The chaos run's own parts: its judge finds each harm, its lots are the seed's, and its guards are still in the code."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.chaos.director import PROJECT, Scenario
from tests.chaos.drawing import between, choose
from tests.chaos.faults import EXECUTE, PROFILES, Mix
from tests.chaos.guards import GUARDS, Guard, without
from tests.chaos.judge import MEASURES, Judgement, Ledgers, Recorded, judge
from tests.chaos.report import percentile

PLACED = {
    "kind": "placed",
    "at": 10.0,
    "permit_id": "p1",
    "experiment_id": "e1",
    "external_id": "A-1",
    "cause": "order",
}
TOLD = {"kind": "told", "at": 11.0, "event": "execution.filled", "message_id": "m1", "external_id": "A-1"}
ORDER = {"kind": "order", "at": 9.9, "permit_id": "p1"}
ACCEPTED = {"kind": "accepted", "number": 1, "signal_hash": "s1"}
SIGNAL = {"signal_hash": "s1", "processed": True, "parked_at": None}
PERMIT = {"permit_id": "p1", "engine": "A", "state": "EXECUTED"}
TRADE = {"engine": "A", "external_id": "A-1", "authorised": True}
EVENT = {"engine": "A", "message_id": "m1"}


def judged(lines: list[Mapping[str, Any]] | None = None, **overrides: Any) -> Judgement:
    """Judge a world of one signal and one execution in which all is well but for what is given."""
    fields: dict[str, Any] = {
        "signals": [SIGNAL],
        "permits": [PERMIT],
        "real_trades": [TRADE],
        "incidents": [],
        "events": [EVENT],
        "halts": [],
        "unfinished": [],
        "settling_engines": frozenset(),
    }
    engines = {"A": [ORDER, PLACED, TOLD] if lines is None else lines, "B": []}
    return judge(Ledgers(engines, [ACCEPTED]), Recorded(**(fields | overrides)))


def broken(judgement: Judgement) -> set[str]:
    return {measure for measure, rows in judgement.found.items() if rows}


def test_a_world_in_which_all_is_well_is_judged_clean() -> None:
    judgement = judged()
    assert judgement.is_clean
    assert judgement.counts["real executions"] == judgement.counts["orders"] == judgement.counts["signals"] == 1


@pytest.mark.parametrize(
    ("measure", "judgement"),
    [
        ("double executions", judged([PLACED, {**PLACED, "external_id": "A-2", "at": 12.0}])),
        ("lost signals", judged(signals=[])),
        ("lost signals", judged(signals=[{**SIGNAL, "processed": False}])),
        ("lost executions", judged(permits=[{**PERMIT, "state": "UNKNOWN"}], real_trades=[])),
        ("lost executions", judged(real_trades=[{**TRADE, "authorised": False}])),
        ("phantom executions", judged([])),
        ("phantom executions", judged(real_trades=[TRADE, TRADE])),
        ("wrongly closed", judged(permits=[{**PERMIT, "state": "NOT_EXECUTED"}])),
        ("told and not recorded", judged(permits=[{**PERMIT, "state": "UNKNOWN"}], real_trades=[])),
        ("lost events", judged(events=[])),
        ("orders after a halt", judged(halts=[(9.0, 12.0)])),
        ("stuck", judged(unfinished=[{"what": "signal"}])),
        (
            "not healed",
            judged([], real_trades=[], permits=[{**PERMIT, "state": "UNKNOWN"}], settling_engines=frozenset("A")),
        ),
    ],
)
def test_each_harm_is_found(measure: str, judgement: Judgement) -> None:
    assert measure in broken(judgement)


def test_a_doubt_with_its_open_incident_is_no_lost_execution() -> None:
    doubt = {"kind": "UNKNOWN_EXECUTION", "subject": "p1", "resolved_at": None}
    unknown = [{**PERMIT, "state": "UNKNOWN"}]
    assert judged([ORDER, PLACED], permits=unknown, real_trades=[], events=[], incidents=[doubt]).is_clean
    settled = {**doubt, "resolved_at": "yesterday"}
    told = judged([ORDER, PLACED], permits=unknown, real_trades=[], events=[], incidents=[settled])
    assert broken(told) == {"lost executions"}


def test_an_order_that_was_on_its_way_when_trading_was_halted_is_none_after_the_halt() -> None:
    assert judged(halts=[(9.8, 12.0)]).is_clean
    assert judged(halts=[(1.0, 9.8)]).is_clean


def test_a_trade_that_nobody_asked_for_is_lost_only_when_its_engine_has_told_of_it() -> None:
    unasked = {**PLACED, "permit_id": None, "cause": "unasked", "external_id": "A-9"}
    assert judged([ORDER, PLACED, TOLD, unasked]).is_clean
    told = {**TOLD, "external_id": "A-9"}
    assert broken(judged([ORDER, PLACED, TOLD, unasked, told])) == {"lost executions"}


def test_every_measure_of_the_report_is_judged() -> None:
    assert set(judged().found) == set(MEASURES)


def test_the_seed_alone_decides_what_befalls_a_signal() -> None:
    drawn = [choose(EXECUTE, 7, "A", number) for number in range(300)]
    assert drawn == [choose(EXECUTE, 7, "A", number) for number in range(300)]
    assert drawn != [choose(EXECUTE, 8, "A", number) for number in range(300)]
    assert set(drawn) == set(EXECUTE)
    assert all(2 <= between(2, 3, 7, number) < 3 for number in range(100))
    assert Mix.from_json(Mix().as_json()) == Mix()


def test_in_every_run_at_least_one_engine_does_not_deduplicate() -> None:
    for seed in range(9):
        claims = Scenario(seed=seed, signals=1, seconds=1).engines.values()
        assert not all(one.idempotent for one in claims)
    assert all(not all(one.idempotent for one in profile) for profile in PROFILES)


def test_a_percentile_is_one_of_the_times() -> None:
    assert [percentile([1.0, 2.0, 3.0], share) for share in (0, 0.5, 0.99)] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_is_still_in_the_code_as_the_table_has_it(guard: Guard) -> None:
    for edit in guard.edits:
        source = (PROJECT / edit.file).read_text()
        assert without(edit, source) != source
    assert set(guard.finds) <= set(MEASURES)
    assert len([one for one in GUARDS if one.name == guard.name]) == 1
