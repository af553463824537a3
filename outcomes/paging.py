"""Pages of the API: newest first, by primary key, so that a page neither skips nor repeats a row when rows are added."""

from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any
from uuid import UUID

from django.db import models
from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

from config.problems import Fault, Refused, shown

LARGEST_PAGE = 500


class NewestFirst(CursorPagination):
    """``{"next", "previous", "results"}``, 50 a page, up to 500 with ``page_size``.

    Keys are UUIDv7 or derived from one, so their order is the order in which things happened.
    """

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = LARGEST_PAGE

    def get_ordering(self, request: Request, queryset: Any, view: Any) -> tuple[str]:
        return (f"-{view.key}",)

    def get_page_size(self, request: Request) -> int:
        """Return the wanted size of a page.

        :raises Refused: when it is not a whole number from 1 to 500.
        """
        wanted = request.query_params.get("page_size", str(self.page_size))
        if not (wanted.isascii() and wanted.isdigit() and 1 <= int(wanted[:9]) <= LARGEST_PAGE):
            raise Refused([Fault("page_size", shown(wanted), f"a whole number from 1 to {LARGEST_PAGE}")])
        return int(wanted)

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Return the place that the request asks for.

        :raises Refused: when the cursor did not come from a page of this list.
        """
        try:
            cursor = super().decode_cursor(request)
            if cursor is not None and cursor.position is not None:
                UUID(str(cursor.position))
        except (NotFound, ValueError):
            found = shown(request.query_params["cursor"])
            raise Refused([Fault("cursor", found, "the cursor of a page's next or previous address")]) from None
        return cursor


class SideBySide:
    """Rows of several tables as one list in the order of their common key; as much of a queryset as a page needs.

    Each table is asked for no more rows than the slice can hold, so a page costs one short index scan per table.
    """

    def __init__(self, querysets: Sequence["models.QuerySet[Any]"], *, ordering: str = "") -> None:
        self.querysets = querysets
        self.ordering = ordering

    def order_by(self, ordering: str) -> "SideBySide":
        return SideBySide([rows.order_by(ordering) for rows in self.querysets], ordering=ordering)

    def filter(self, **conditions: Any) -> "SideBySide":
        return SideBySide([rows.filter(**conditions) for rows in self.querysets], ordering=self.ordering)

    def __getitem__(self, part: slice) -> Iterator[Any]:
        key = self.ordering.removeprefix("-")
        rows = merge(
            *(list(rows[: part.stop]) for rows in self.querysets),
            key=lambda row: getattr(row, key),
            reverse=self.ordering.startswith("-"),
        )
        return islice(rows, part.start, part.stop)
