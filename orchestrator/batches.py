"""Work on a whole batch at once, and in halves when something in it is bad: poison never holds up the rest."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError

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
LIMIT_EXCEEDED = "54"  # SQLSTATE class: the data are too large or too deep, which psycopg counts as operational


def apply_or_take_apart(
    items: Sequence[Item],
    apply: Callable[[Sequence[Item]], int],
    give_up: Callable[[Item, Exception], None],
) -> int:
    """Apply a batch in one go; if that fails, each half of it; what fails alone is handed to ``give_up``.

    ``apply`` is one transaction and returns how much it did. A lost database is nobody's fault and is raised.
    """
    if not items:
        return 0
    try:
        return apply(items)
    except BAD_ITEM as error:
        if is_database_lost(error):
            raise
        if len(items) == 1:
            give_up(items[0], error)
            return 0
        log.warning("batch.taken_apart", items=len(items), error_type=type(error).__name__, error_message=str(error))
    middle = len(items) // 2
    return sum(apply_or_take_apart(half, apply, give_up) for half in (items[:middle], items[middle:]))


def is_database_lost(error: Exception) -> bool:
    """Tell whether the work failed for want of the database (gone, busy, deadlocked), not for what the work was."""
    sqlstate = getattr(error.__cause__, "sqlstate", None) or ""
    return isinstance(error, LOST_DATABASE) and not sqlstate.startswith(LIMIT_EXCEEDED)
