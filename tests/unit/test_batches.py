"""Batches: done in one go, taken apart when something in them is bad, and never blamed for a lost database."""

from collections.abc import Sequence

import psycopg
import pytest
from django.db import DataError, InterfaceError, OperationalError
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batches import apply_or_take_apart, is_database_lost


def caused(error: Exception, cause: type[psycopg.Error]) -> Exception:
    """Return a Django error as psycopg leads to it."""
    error.__cause__ = cause()
    return error


@given(st.lists(st.integers(0, 20), max_size=12, unique=True))
def test_what_is_bad_is_given_up_and_all_the_rest_is_done_once(items: list[int]) -> None:
    done: list[int] = []
    given_up: list[int] = []

    def apply(batch: Sequence[int]) -> int:
        if any(item % 5 == 0 for item in batch):
            raise ValueError("a bad one")
        done.extend(batch)
        return len(batch)

    did = apply_or_take_apart(items, apply, lambda item, _: given_up.append(item))
    assert sorted(done) == sorted(item for item in items if item % 5)
    assert sorted(given_up) == sorted(item for item in items if item % 5 == 0)
    assert did == len(done)


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("the connection is closed"),
        InterfaceError("the connection is closed"),
        caused(OperationalError("terminated"), psycopg.errors.AdminShutdown),
        caused(OperationalError("deadlock"), psycopg.errors.DeadlockDetected),
        caused(OperationalError("full"), psycopg.errors.DiskFull),
    ],
)
def test_a_lost_database_is_raised_and_nothing_is_given_up(error: Exception) -> None:
    def apply(batch: Sequence[int]) -> int:
        raise error

    def give_up(item: int, _: Exception) -> None:
        pytest.fail(f"{item} was given up")

    assert is_database_lost(error)
    with pytest.raises(type(error)):
        apply_or_take_apart([1, 2], apply, give_up, is_there=lambda: False)


@given(st.lists(st.integers(0, 20), max_size=12, unique=True))
def test_what_loses_its_connection_while_the_database_is_there_is_given_up_and_all_the_rest_is_done_once(
    items: list[int],
) -> None:
    done: list[int] = []
    given_up: list[int] = []

    def apply(batch: Sequence[int]) -> int:
        if any(item % 5 == 0 for item in batch):
            raise caused(OperationalError("terminated"), psycopg.errors.AdminShutdown)
        done.extend(batch)
        return len(batch)

    apply_or_take_apart(items, apply, lambda item, _: given_up.append(item), tries=1, is_there=lambda: True)
    assert sorted(done) == sorted(item for item in items if item % 5)
    assert sorted(given_up) == sorted(item for item in items if item % 5 == 0)


def test_a_connection_that_is_lost_by_chance_costs_another_try_and_nothing_else() -> None:
    outcomes = iter([OperationalError("reset"), OperationalError("reset"), None])
    done: list[int] = []

    def apply(batch: Sequence[int]) -> int:
        if error := next(outcomes):
            raise error
        done.extend(batch)
        return len(batch)

    def give_up(item: int, _: Exception) -> None:
        pytest.fail(f"{item} was given up")

    assert apply_or_take_apart([7], apply, give_up, is_there=lambda: True) == 1
    assert done == [7]


@pytest.mark.parametrize(
    "error",
    [
        caused(OperationalError("too deep"), psycopg.errors.StatementTooComplex),
        caused(OperationalError("too large"), psycopg.errors.ProgramLimitExceeded),
        caused(DataError("too long"), psycopg.errors.StringDataRightTruncation),
        RecursionError("too deep"),
        AssertionError("impossible"),
    ],
)
def test_what_the_data_are_to_blame_for_is_given_up(error: Exception) -> None:
    given_up = []

    def apply(batch: Sequence[int]) -> int:
        raise error

    assert apply_or_take_apart([7], apply, lambda item, _: given_up.append(item)) == 0
    assert given_up == [7]
    assert not is_database_lost(error)
