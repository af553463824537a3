"""How far the system has come, in numbers a person can watch."""

from dataclasses import dataclass, fields

from django.db import connection

COUNT_ALL = """
SELECT (SELECT count(*) FROM signals),
       (SELECT count(*) FROM experiments),
       (SELECT count(*) FROM real_trades),
       (SELECT count(*) FROM shadow_trades),
       (SELECT count(*) FROM real_trade_outcomes) + (SELECT count(*) FROM shadow_trade_outcomes),
       (SELECT count(*) FROM incidents WHERE resolved_at IS NULL)
"""


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of each kind; ``outcomes`` are real and shadow ones, ``incidents`` the open ones."""

    signals: int
    experiments: int
    real_trades: int
    shadow_trades: int
    outcomes: int
    incidents: int

    def as_text(self) -> str:
        return " · ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.named())

    def named(self) -> list[tuple[str, int]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


def count() -> Counts:
    """Count, in one statement.

    :raises OperationalError: when the database does not answer.
    """
    with connection.cursor() as cursor:
        cursor.execute(COUNT_ALL)
        return Counts(*cursor.fetchone())
