"""`manage.py database_url`: prints the address of the database in use, starting the embedded one."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.database import current_url
from config.embedded_postgres.layout import EmbeddedPostgresError
from config.embedded_postgres.server import keep_server

KEPT_SECONDS = 600


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Print the address of the database in use, for psql or DATABASE_URL. The embedded server is started if it does "
        "not run, and stays for as long as somebody is connected or uses it otherwise, and for ten minutes after that."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        database = settings.DATABASES["default"]
        try:
            self.stdout.write(current_url(database))
            if "EMBEDDED_POSTGRES_DIR" in database:
                keep_server(Path(database["EMBEDDED_POSTGRES_DIR"]), seconds=KEPT_SECONDS)
        except EmbeddedPostgresError as error:
            raise CommandError(str(error)) from error
