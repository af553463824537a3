"""What executing costs: each engine's real trades beside their own twins."""

from datetime import timedelta
from decimal import Decimal

from orchestrator.domain.vocabulary import Engine
from outcomes.domain.daily import DayOfPairs
from outcomes.domain.execution_cost import execution_cost
from tests.days import FIRST_DAY


def executed(costs: list[int]) -> list[DayOfPairs]:
    """Return one executed trade a day that earned so much more than its twin."""
    return [
        DayOfPairs(FIRST_DAY + timedelta(days=n), 1, Decimal(cost), 1, Decimal(cost) / 100, 0, 0, 0, 0, 0)
        for n, cost in enumerate(costs)
    ]


def test_each_engine_is_compared_with_its_own_twins() -> None:
    found = execution_cost({"A": executed([-3, -5] * 20), "B": executed([-1, 1] * 20)})
    assert found.separable
    assert found.in_currency[Engine.A].mean == -4
    assert found.in_r[Engine.A].mean == Decimal("-0.04")
    low, high = found.in_currency[Engine.A].interval or (0, 0)
    assert low < -4 < high < 0
    assert found.in_currency[Engine.B].mean == 0


def test_with_one_arm_empty_the_cost_is_not_separable() -> None:
    found = execution_cost({"A": executed([-3, -5] * 20)})
    assert not found.separable
    assert found.sentence.startswith("Not separable: engine B has no executed trade")
    assert found.in_currency[Engine.A].mean == -4
    assert found.in_currency[Engine.B].mean is None


def test_without_an_execution_nothing_is_separable() -> None:
    assert execution_cost({}).sentence == "Not separable: no executed trade and its twin are closed yet."
