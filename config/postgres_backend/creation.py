"""Test databases on the embedded server: one per test run, so that two runs at once do not drop each other's."""

import os
from pathlib import Path
from typing import Any

from django.db.backends.postgresql import creation


class DatabaseCreation(creation.DatabaseCreation):
    _kept_between_runs = False

    def create_test_db(self, *args: Any, keepdb: bool = False, **kwargs: Any) -> str:
        """Create this run's test database; ones of runs that were killed are removed first."""
        self._kept_between_runs = keepdb
        self._drop_abandoned()
        return super().create_test_db(*args, keepdb=keepdb, **kwargs)

    def _get_test_db_name(self) -> str:
        name: str = super()._get_test_db_name()
        return name if self._kept_between_runs else f"{name}_run{os.getpid()}"

    def _drop_abandoned(self) -> None:
        prefix = f"{super()._get_test_db_name()}_run"
        with self._nodb_cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [prefix])
            for (name,) in cursor.fetchall():
                process = name.removeprefix(prefix)
                if process.isdigit() and not Path("/proc", process).exists():
                    cursor.execute(f"DROP DATABASE IF EXISTS {self._quote_name(name)} WITH (FORCE)")
