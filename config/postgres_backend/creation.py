"""Test databases on the embedded server: one per test run, so that two runs at once do not drop each other's."""

import os
from pathlib import Path

from django.db.backends.postgresql import creation

RUN_SUFFIX = "_run"


class DatabaseCreation(creation.DatabaseCreation):
    _kept_between_runs = False

    def create_test_db(
        self, verbosity: int = 1, autoclobber: bool = False, serialize: bool = True, keepdb: bool = False
    ) -> str:
        """Create this run's test database; ones of runs that were killed are removed first."""
        self._kept_between_runs = keepdb
        self._drop_abandoned()
        return super().create_test_db(verbosity, autoclobber, serialize, keepdb)

    def _get_test_db_name(self) -> str:
        name = self._plain_name()
        return name if self._kept_between_runs else f"{name}{RUN_SUFFIX}{os.getpid()}"

    def _plain_name(self) -> str:
        return str(self.connection.settings_dict["TEST"]["NAME"] or f"test_{self.connection.settings_dict['NAME']}")

    def _drop_abandoned(self) -> None:
        prefix = f"{self._plain_name()}{RUN_SUFFIX}"
        with self.connection._nodb_cursor() as cursor:  # noqa: SLF001
            cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [prefix])
            for (name,) in cursor.fetchall():
                process = name.removeprefix(prefix)
                if process.isdigit() and not Path("/proc", process).exists():
                    cursor.execute(f"DROP DATABASE IF EXISTS {self.connection.ops.quote_name(name)} WITH (FORCE)")
