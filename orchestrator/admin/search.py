"""What an operator types into a search box: an id, a hash, or the beginning of a word."""

import re
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django.contrib.admin.utils import get_fields_from_path
from django.db import models
from django.db.models import Q, QuerySet

A_HASH = re.compile(r"[0-9a-f]{64}")
LONGEST_NUMBER = 9


def narrow(rows: "QuerySet[Any]", term: str, *, fields: tuple[str, ...]) -> "QuerySet[Any]":
    """Return the rows in which every word of ``term`` is found.

    An id is compared with the columns of ids and a hash with the columns of hashes, so that both use an index; any other
    word with the beginning of the text columns.
    """
    for word in term.replace("\x00", "").split():
        conditions = [found for field in fields if (found := _condition(rows.model, field, word)) is not None]
        if not conditions:
            return rows.none()
        rows = rows.filter(reduce(or_, conditions))
    return rows


def _condition(model: type[models.Model], path: str, word: str) -> Q | None:
    column = _column(model, path)
    if isinstance(column, models.UUIDField):
        return Q(**{path: _as_id(word)}) if _as_id(word) else None
    if path.endswith("_hash"):
        return Q(**{path: word.lower()}) if A_HASH.fullmatch(word.lower()) else None
    if isinstance(column, models.IntegerField):
        digits = word.removeprefix("v1.0-").removeprefix("r")
        return (
            Q(**{path: int(digits)})
            if digits.isascii() and digits.isdigit() and len(digits) <= LONGEST_NUMBER
            else None
        )
    if _as_id(word) or A_HASH.fullmatch(word.lower()):
        return Q(**{path: word})
    return Q(**{f"{path}__istartswith": word})


def _column(model: type[models.Model], path: str) -> Any:
    column = get_fields_from_path(model, path)[-1]
    while isinstance(column, models.ForeignKey):
        column = column.target_field
    return column


def _as_id(word: str) -> UUID | None:
    try:
        return UUID(word)
    except ValueError:
        return None
