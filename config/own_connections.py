"""Connections outside the pool, for whoever holds one for good: the listener, and the sender of notifications."""

import psycopg
from django.db import connections

# what Django adds for its own use of a connection
OF_DJANGO = ("pool", "cursor_factory", "context", "prepare_threshold", "server_side_binding")


def connect_for_good(application_name: str) -> "psycopg.Connection[tuple[object, ...]]":
    """Return a connection of the caller's own to the database, each statement a transaction.

    :raises psycopg.Error, django.db.Error, OSError: when the database, or the embedded server, is not there.
    """
    parameters = dict(connections["default"].get_connection_params())
    for name in OF_DJANGO:
        parameters.pop(name, None)
    return psycopg.connect(**{**parameters, "application_name": application_name}, autocommit=True)
