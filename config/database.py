"""Which database is used: the server that DATABASE_URL names, or else an embedded one that starts by itself."""

from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from environ import Env

from config.embedded_postgres.layout import DATABASE_NAME, USER_NAME
from config.embedded_postgres.server import server_url, use_server
from config.environment import read_int

CONNECT_TIMEOUT_SECONDS = 5
# TradingView gives a webhook three seconds; without a connection by then the answer must be on its way.
WAIT_FOR_CONNECTION_SECONDS = 2.5
ACCEPTED_SCHEMES = ("postgres://", "postgresql://")


def database_settings(env: Env, *, base_dir: Path) -> dict[str, Any]:
    """Return Django's settings of the default database.

    With DATABASE_URL: that server. Without: PostgreSQL from this installation's own packages, its data under
    EMBEDDED_POSTGRES_DIR (default ``<base_dir>/.postgres``), started at the first connection.

    :raises ImproperlyConfigured: when DATABASE_URL is not the address of a PostgreSQL database.
    """
    url = env.str("DATABASE_URL", default="").strip()
    if url:
        settings = _settings_of_url(env, url)
    else:
        directory = env.str("EMBEDDED_POSTGRES_DIR", default="").strip() or base_dir / ".postgres"
        settings = {
            "ENGINE": "config.postgres_backend",
            "NAME": DATABASE_NAME,
            "USER": USER_NAME,
            "EMBEDDED_POSTGRES_DIR": Path(directory).expanduser().absolute(),
        }
    settings["OPTIONS"] = {
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        # A peer that vanished without a word is noticed within this time instead of hanging a request (milliseconds).
        "tcp_user_timeout": 15_000,
        "pool": {
            "min_size": 1,
            "max_size": read_int(env, "DATABASE_POOL_SIZE", default=20, lowest=1, highest=1000),
            "timeout": WAIT_FOR_CONNECTION_SECONDS,
            # While one attempt to connect rests, no other is made, and its rests double: an outage of a minute would be
            # followed by half a minute without a connection. Given up soon, the next request tries at once.
            "reconnect_timeout": 1.0,
        },
        **settings.get("OPTIONS", {}),
    }
    # The pool keeps connections; each is tried before use, so that a restart of the server costs no request.
    settings["CONN_MAX_AGE"] = 0
    settings["CONN_HEALTH_CHECKS"] = True
    return settings


def current_url(settings: dict[str, Any]) -> str:
    """Return the address of the database of ``settings``, as psql and DATABASE_URL take it; starts the embedded server.

    :raises EmbeddedPostgresError: when that cannot be started.
    """
    if "ADDRESS" in settings:
        return str(settings["ADDRESS"])
    return server_url(use_server(settings["EMBEDDED_POSTGRES_DIR"]), database=settings["NAME"])


def _settings_of_url(env: Env, url: str) -> dict[str, Any]:
    accepted = "Accepted: postgresql://user:password@host:5432/database, or unset for the embedded server."
    if not url.startswith(ACCEPTED_SCHEMES):
        raise ImproperlyConfigured(f"DATABASE_URL is not the address of a PostgreSQL database. {accepted}")
    try:
        settings: dict[str, Any] = {**env.db_url_config(url), "ADDRESS": url}
    except ValueError:
        raise ImproperlyConfigured(
            f"DATABASE_URL cannot be read. {accepted}"
        ) from None  # the cause repeats a part of it
    if not settings.get("NAME"):
        raise ImproperlyConfigured(f"DATABASE_URL names no database. {accepted}")
    settings["ENGINE"] = "django.db.backends.postgresql"
    return settings
