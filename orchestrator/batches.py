"""Work on a whole batch at once, and in halves when something in it is bad: poison never holds up the rest."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, connection

log = structlog.get_logger(__name__)

Item = TypeVar("Item")

LOST_DATABASE = (OperationalError, InterfaceError)
BAD_ITEM = (
    DatabaseError,
    ValueError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    AssertionError,
)
TRIES = 5
PAUSE_SECONDS = 0.05
LIMIT_EXCEEDED = "54"  # SQLSTATE class: the data are too large or too deep, which psycopg counts as operational


def database_answers() -> bool:
    """Tell whether a new connection works: then it was not the database that went away, but one connection to it."""
    if connection.in_atomic_block:
        return False
    connection.close()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except LOST_DATABASE:
        connection.close()
        return False
    return True


def apply_or_take_apart(
    items: Sequence[Item],
    apply: Callable[[Sequence[Item]], int],
    give_up: Callable[[Item, Exception], None],
    *,
    tries: int = TRIES,
    is_there: Callable[[], bool] = database_answers,
) -> int:
    """Apply a batch in one go; if that fails, each half of it; what fails alone is handed to ``give_up``.

    ``apply`` is one transaction that may be repeated, and returns how much it did. A lost database is nobody's fault and
    is raised. But a connection that is lost while the database is there may be lost because of one of the items: the batch
    is taken apart, and what loses its connection alone is given up after so many tries.

    :param tries: how often an item alone may lose its connection, with a pause in between.
    :param is_there: asked after a connection was lost, whether the database is there.
    """
    if not items:
        return 0
    for failures in range(1, tries + 1):
        try:
            return apply(items)
        except BAD_ITEM as error:
            is_lost = is_database_lost(error)
            if is_lost and not is_there():
                raise
            if len(items) > 1:
                log.warning(
                    "batch.taken_apart", items=len(items), error_type=type(error).__name__, error_message=str(error)
                )
                break
            if not is_lost or failures == tries:
                give_up(items[0], error)
                return 0
            time.sleep(PAUSE_SECONDS * 2.0**failures)
    middle = len(items) // 2
    return sum(
        apply_or_take_apart(half, apply, give_up, tries=tries, is_there=is_there)
        for half in (items[:middle], items[middle:])
    )


def is_database_lost(error: Exception) -> bool:
    """Tell whether the work failed for want of the database (gone, busy, deadlocked), not for what the work was."""
    sqlstate = getattr(error.__cause__, "sqlstate", None) or ""
    return isinstance(error, LOST_DATABASE) and not sqlstate.startswith(LIMIT_EXCEEDED)
