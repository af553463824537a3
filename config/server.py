"""How the web server is started: the one list of its options, for quickstart, for the tests and for measuring."""

PROCESSES = 2
HEADER_MILLISECONDS = 5_000
KILL_SECONDS = 10


def server_command(application: str, *, host: str, port: int, processes: int = PROCESSES) -> list[str]:
    """Return the arguments for Python that serve ``application`` (``package.module:name``)."""
    return [
        *("-m", "granian", "--interface", "rsgi", application),
        *("--host", host, "--port", str(port)),
        *("--workers", str(processes)),
        *("--http", "1", "--no-ws", "--http1-header-read-timeout", str(HEADER_MILLISECONDS)),
        # As many connections at once as there are file descriptors for, on the smallest usual limit of 1024.
        *("--backlog", "1024", "--backpressure", "800"),
        *("--loop", "uvloop", "--log-level", "warning"),
        *("--respawn-failed-workers", "--workers-kill-timeout", str(KILL_SECONDS)),
    ]
