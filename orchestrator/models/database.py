"""Which database this was when real money was last traded with it."""

from typing import Any, ClassVar

from django.db import models

from config.keys import new_key
from orchestrator.models.rules import created_at_field, immutable


class DatabaseIdentity(models.Model):
    """The newest row (by number) is the database that is known; every other one that turns up halts trading first.

    ``system_identifier`` is the cluster's, empty where this role may not read it; ``timeline`` changes with a failover and
    a recovery to a point in time; the two object ids change when a dump is read into another database, or anew.
    """

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    number = models.PositiveIntegerField(unique=True)
    system_identifier = models.CharField(max_length=20, blank=True)
    timeline = models.CharField(max_length=8)
    database_oid = models.BigIntegerField()
    table_oid = models.BigIntegerField(help_text="of execution_permits")
    noted_by = models.CharField(max_length=150)
    noted_at = created_at_field()

    class Meta:
        db_table = "database_identities"
        verbose_name_plural = "database identities"
        triggers: ClassVar[list[Any]] = immutable("database_identities")

    def __str__(self) -> str:
        return f"system {self.system_identifier or '?'} timeline {self.timeline}"
