"""The database backend for the embedded server: starts it at the first connection."""

from pathlib import Path
from typing import Any

from django.db.backends.postgresql import base
from django.db.utils import OperationalError

from config.embedded_postgres.layout import PORT, EmbeddedPostgresError
from config.embedded_postgres.server import use_server
from config.postgres_backend.client import DatabaseClient
from config.postgres_backend.creation import DatabaseCreation


class DatabaseWrapper(base.DatabaseWrapper):
    client_class = DatabaseClient
    creation_class = DatabaseCreation

    def get_connection_params(self) -> dict[str, Any]:
        """Return the connection's parameters, with the server running; Django asks before each connection.

        :raises OperationalError: when the server cannot be started, like for a server that cannot be reached.
        """
        try:
            folder = use_server(Path(self.settings_dict["EMBEDDED_POSTGRES_DIR"]))
        except EmbeddedPostgresError as error:
            raise OperationalError(str(error)) from error
        self.settings_dict["HOST"] = str(folder)
        self.settings_dict["PORT"] = PORT
        return super().get_connection_params()
