"""Pages of long lists without counting every row of them."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property
from unfold.views import ChangeList

MOST_COUNTED = 10_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # generic only in its stubs
    """Counts at most ``MOST_COUNTED`` rows, so that a list costs the same however long its history; search finds the rest."""

    template_name = "admin/pagination_capped.html"

    @cached_property
    def count(self) -> int:
        return min(self._counted, MOST_COUNTED)

    @property
    def is_capped(self) -> bool:
        return self._counted > MOST_COUNTED

    @cached_property
    def _counted(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # a paginator takes lists as well
        return rows.order_by().values("pk")[: MOST_COUNTED + 1].count()


class InspectionList(ChangeList):  # type: ignore[misc]
    """A list that says how many rows a search found only when there was a search."""

    def get_results(self, request: Any) -> None:
        super().get_results(request)
        if not self.query and not self.has_active_filters:
            self.full_result_count = self.result_count
