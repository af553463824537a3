"""Building blocks of models: choices from the vocabulary, money columns, and rules that the database itself holds."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pgtrigger
from django.db import models
from django.db.models.functions import Now

from orchestrator.domain.amounts import LIMIT

HASH_PATTERN = r"^[0-9a-f]{64}$"


def choices(words: type[StrEnum]) -> list[tuple[str, str]]:
    """Return the words of a vocabulary as Django choices."""
    return [(word.value, word.value) for word in words]


def word_field(words: type[StrEnum], **options: Any) -> "models.CharField[Any, Any]":
    """Return a column that holds one word of a vocabulary."""
    return models.CharField(max_length=32, choices=choices(words), **options)


def money_field(**options: Any) -> "models.DecimalField[Any, Any]":
    """Return a numeric(20,8) column."""
    return models.DecimalField(max_digits=20, decimal_places=8, **options)


def created_at_field() -> "models.DateTimeField[Any, Any]":
    """Return a timestamp that the database sets when the row is written."""
    return models.DateTimeField(db_default=Now(), editable=False)


def one_of(name: str, field: str, words: type[StrEnum]) -> models.CheckConstraint:
    """Hold a column to the words of a vocabulary."""
    return models.CheckConstraint(name=name, condition=models.Q(**{f"{field}__in": [word.value for word in words]}))


def amounts(name: str, *fields: str, lowest: Decimal | int | None = 0) -> models.CheckConstraint:
    """Hold money to finite amounts; in PostgreSQL NaN is larger than every number, so an upper bound keeps it out."""
    condition = models.Q()
    for field in fields:
        condition &= models.Q(**{f"{field}__lt": LIMIT, f"{field}__gte": -LIMIT if lowest is None else Decimal(lowest)})
    return models.CheckConstraint(name=name, condition=condition)


def a_hash(name: str, field: str) -> models.CheckConstraint:
    """Hold a column to 64 lower-case hex digits."""
    return models.CheckConstraint(name=name, condition=models.Q(**{f"{field}__regex": HASH_PATTERN}))


def immutable(table: str) -> list[pgtrigger.Trigger]:
    """Refuse every UPDATE and DELETE of a table."""
    return [pgtrigger.Protect(name=f"{table}_are_immutable", operation=pgtrigger.Update | pgtrigger.Delete)]


def kept(table: str, *, except_for: list[str]) -> list[pgtrigger.Trigger]:
    """Refuse DELETE, and UPDATE of every column but those named."""
    return [
        pgtrigger.Protect(name=f"{table}_are_kept", operation=pgtrigger.Delete),
        pgtrigger.ReadOnly(name=f"{table}_facts_are_fixed", exclude=except_for),
    ]


def moves(table: str, field: str, legal: Mapping[Any, frozenset[Any]]) -> pgtrigger.Trigger:
    """Refuse every change of ``field`` that is not one of the legal moves."""
    return pgtrigger.FSM(
        name=f"{table}_{field}_moves",
        field=field,
        transitions=[
            (source.value, target.value)
            for source, targets in legal.items()
            for target in sorted(targets)
            if target != source
        ],
    )
