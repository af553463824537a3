"""`manage.py dbshell` on the embedded server, with the psql that belongs to it."""

from collections.abc import Iterable
from typing import Any

from django.db.backends.postgresql import client

from config.embedded_postgres.server import psql


class DatabaseClient(client.DatabaseClient):
    def runshell(self, parameters: Iterable[str]) -> None:
        self.connection.get_connection_params()  # starts the server and fills in its address
        super().runshell(parameters)

    @classmethod
    def settings_to_cmd_args_env(
        cls, settings_dict: dict[str, Any], parameters: Iterable[str]
    ) -> tuple[list[str], dict[str, str] | None]:
        arguments, environment = super().settings_to_cmd_args_env(settings_dict, parameters)
        return [psql(), *arguments[1:]], environment
