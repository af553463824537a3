"""Finding out whether a port of this machine is free, before a server starts and fails in its log."""

import errno
import socket

LOOPBACK = "127.0.0.1"
HIGHEST_PORT = 65_535


class PortUnavailable(Exception):
    """The port cannot be listened on; the message says what to do."""


def claim_port(port: int) -> int:
    """Return ``port`` if it is free on the loopback address, or any free one for 0.

    :raises PortUnavailable: when somebody listens there or we may not.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Connections of a server that has just ended do not make its port taken; a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            why = "is taken by another program" if error.errno == errno.EADDRINUSE else f"is refused: {error.strerror}"
            raise PortUnavailable(
                f"Port {port} {why}. Choose another one with --port (make run: ARGS='--port 8001'), or end that program."
            ) from error
        return int(probe.getsockname()[1])
