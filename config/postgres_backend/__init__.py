"""Django's PostgreSQL backend, with a server that starts by itself."""
