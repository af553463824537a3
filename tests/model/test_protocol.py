"""The execution protocol as built, explored exhaustively: what must hold does, and what guards it is needed."""

import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from orchestrator.domain.transitions import PERMIT_MOVES
from orchestrator.domain.vocabulary import PermitState
from tests.conftest import TOLD
from tests.model.checker import Explored, explore
from tests.model.judgement import AFTER_HALT, FALSE
from tests.model.settings import Lie, Setting
from tests.model.states import IllegalMove, Permit, World, moved
from tests.model.variants import NAIVE, WITHOUT_A_GUARD, Variant, harm_of, told

TRACES = Path(__file__).with_name("traces.txt")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability-model.md"
CLAIMS = [
    Setting(idempotent=idempotent, queryable=queryable, honours=honours)
    for idempotent, queryable, honours in product((False, True), repeat=3)
]
ASKABLE = Setting(queryable=True, honours=True)
DEDUPLICATES = Setting(idempotent=True)
ALL_MOVES = {(before, after) for before, targets in PERMIT_MOVES.items() for after in targets}
LIARS = [
    *(ASKABLE._replace(lies=frozenset({lie})) for lie in Lie if lie is not Lie.TWICE),
    *(DEDUPLICATES._replace(lies=frozenset({lie}), halts=False, orphans=1) for lie in (Lie.TWICE, Lie.RECANTS)),
    ASKABLE._replace(lies=frozenset({Lie.FORGETS, Lie.LATE, Lie.RECANTS, Lie.MISTAKEN})),
]


Report = Callable[[Explored], None]


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Report:
    """Have it printed at the end of the run how much was explored, and hold the page to it."""

    def line(found: Explored) -> None:
        record_property(TOLD, f"{found.setting}: {found.worlds} worlds, {found.steps} steps, depth {found.depth}")
        row = f"| {found.setting} | {found.worlds:,} | {found.steps:,} | {found.depth} |"
        assert row in PAGE.read_text(encoding="utf-8").splitlines(), f"the page does not say: {row}"

    return line


def explained(found: Explored) -> str:
    return "\n".join(map(str, found.findings))


@pytest.mark.requirement("3.5", "10.1", "10.2", "10.4", "property-12")
@pytest.mark.parametrize("setting", CLAIMS, ids=str)
def test_the_protocol_keeps_its_promises_whatever_an_engine_can_do(setting: Setting, report: Report) -> None:
    found = explore(setting)
    report(found)
    assert not found.findings, explained(found)
    assert found.moves == ALL_MOVES


@pytest.mark.requirement("4.2", "5.1", "property-17")
@pytest.mark.parametrize("setting", [Setting(exits=True), ASKABLE._replace(exits=True)], ids=str)
def test_an_exit_is_recorded_once_whenever_it_comes(setting: Setting, report: Report) -> None:
    found = explore(setting)
    report(found)
    assert not found.findings, explained(found)
    assert any(exits == 1 for *_, exits in found.ends)


@pytest.mark.requirement("10.4")
@pytest.mark.parametrize("setting", LIARS, ids=str)
def test_what_a_liar_says_is_stored_or_reported(setting: Setting, report: Report) -> None:
    """No protocol keeps a liar from trading twice; but nothing is dropped, and nothing unauthorised goes unreported."""
    found = explore(setting)
    report(found)
    assert not found.findings, explained(found)


@pytest.mark.parametrize(
    "setting", [Setting(), Setting(honours=True), Setting(queryable=True), ASKABLE, DEDUPLICATES], ids=str
)
def test_what_is_assumed_is_needed(setting: Setting) -> None:
    """A request that outlasts the quiet period, and a pause between the last look and the first byte: the limits."""
    found = explore(setting._replace(bounded=False), liveness=False)
    # an engine that honours not_after needs no such assumption for what is closed as not executed
    assert {one.property for one in found.findings} == ({AFTER_HALT} if setting.honours else {AFTER_HALT, FALSE})


@pytest.mark.requirement("3.5", "property-12")
@pytest.mark.parametrize("variant", NAIVE, ids=lambda one: one.rule)
def test_the_checker_finds_what_a_naive_protocol_does(variant: Variant) -> None:
    _finds(variant)


@pytest.mark.parametrize("variant", WITHOUT_A_GUARD, ids=lambda one: one.rule)
def test_no_guard_can_be_left_out(variant: Variant) -> None:
    _finds(variant)


def _finds(variant: Variant) -> None:
    finding = harm_of(variant)
    assert finding is not None, f"{variant.words}: {variant.harm} was not found"
    words = told(variant, finding)
    sys.stdout.write(words)
    assert words in TRACES.read_text(encoding="utf-8"), "write the traces anew: python -m tests.model.variants"


@pytest.mark.parametrize(
    "setting",
    [Setting(), Setting(exits=True), Setting(lies=frozenset({Lie.RECANTS})), ASKABLE._replace(halts=False)],
    ids=str,
)
def test_worlds_that_are_remembered_as_one_are_one(setting: Setting) -> None:
    reduced, whole = explore(setting), explore(setting, reduced=False)
    assert reduced.worlds < whole.worlds
    assert (reduced.ends, reduced.moves) == (whole.ends, whole.moves)
    assert [one.property for one in reduced.findings] == [one.property for one in whole.findings] == []


def test_the_model_makes_no_move_that_the_table_does_not_know() -> None:
    for before, after in product(PermitState, repeat=2):
        world = World(permit=Permit(before))
        if after in PERMIT_MOVES[before]:
            assert moved(world, after).state is after
        else:
            with pytest.raises(IllegalMove):
                moved(world, after)
