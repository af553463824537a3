"""Where constance keeps the panel's values: every write is a policy revision, no read ever invents a value."""

from collections.abc import Iterable
from typing import Any

from asgiref.sync import sync_to_async
from constance import settings as constance_settings
from constance.backends.database import DatabaseBackend
from constance.codecs import loads
from django.core.exceptions import ValidationError

from orchestrator.domain.operator_settings import SenselessSetting
from orchestrator.revisions import record_revision

CHANGED_BY = "cli"


class PanelBackend(DatabaseBackend):  # type: ignore[misc]  # constance has no types
    """Behind ``constance.config`` and ``manage.py constance``.

    Constance's own backend answers a failing database with the defaults, writes a row when an unset key is read, and
    writes key by key. Here a failure is raised, a read is one SELECT, and a write goes through ``record_revision``.
    """

    def get(self, key: str) -> Any:
        return self.mget([key]).get(key, constance_settings.CONFIG[key][0])

    def mget(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of ``keys`` that have one, from one SELECT: a save is seen whole or not at all."""
        names = {self.add_prefix(key): key for key in keys}
        return {names[row.key]: loads(row.value) for row in self._model.objects.filter(key__in=names)}

    def set(self, key: str, value: Any) -> None:
        """Change one key, as one revision.

        :raises ValidationError: with a sentence, when the value is refused.
        """
        try:
            record_revision({key: value}, changed_by=CHANGED_BY)
        except SenselessSetting as refusal:
            raise ValidationError(str(refusal)) from None

    async def aget(self, key: str) -> Any:
        return await sync_to_async(self.get)(key)

    async def amget(self, keys: Iterable[str]) -> dict[str, Any]:
        return await sync_to_async(self.mget)(keys)
