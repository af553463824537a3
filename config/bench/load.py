"""The same load for everyone: a few connections that each send one alert after the other, from one light process.

``python -m config.bench.load HOST PORT PATH CONNECTIONS SECONDS FIRST`` prints one JSON object. No HTTP library: on two cores, a
client that works hard would measure itself.
"""

import json
import selectors
import socket
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta

LENGTH = b"content-length:"
START = datetime(2001, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LoadFigure:
    """Requests per second, percentiles in milliseconds, and how many were not answered with 200."""

    per_second: float
    p50: float
    p99: float
    p999: float
    failed: int


@dataclass(slots=True)
class _Sender:
    connection: socket.socket
    sent_at: float = 0.0
    answer: bytearray = field(default_factory=bytearray)


def measure_load(host: str, port: int, path: str, *, connections: int, seconds: float, first: int) -> LoadFigure:
    """Send alerts that all differ, numbered from ``first``, for some seconds.

    :raises OSError: when the server is not there or hangs up.
    """
    selector = selectors.DefaultSelector()
    senders = [_Sender(socket.create_connection((host, port), timeout=10)) for _ in range(connections)]
    number, failed, spent = first, 0, []
    head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: "
    for sender in senders:
        sender.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(sender.connection, selectors.EVENT_READ, sender)
        _send(sender, head, number)
        number += 1
    began = time.perf_counter()
    ends, open_senders = began + seconds, connections
    while open_senders:
        for key, _ in selector.select(timeout=10):
            sender = key.data
            if not _is_answered(sender):
                continue
            now = time.perf_counter()
            spent.append(now - sender.sent_at)
            failed += not sender.answer.startswith(b"HTTP/1.1 200")
            sender.answer.clear()
            if now < ends:
                _send(sender, head, number)
                number += 1
            else:
                selector.unregister(sender.connection)
                sender.connection.close()
                open_senders -= 1
    took = time.perf_counter() - began
    spent.sort()
    return LoadFigure(len(spent) / took, _at(spent, 0.5), _at(spent, 0.99), _at(spent, 0.999), failed)


def alert(number: int) -> bytes:
    """Return an alert such as strategies send it, another one for each number."""
    at = START + timedelta(seconds=number)
    return (
        b'{"ticker":"NASDAQ:AAPL","action":"buy","interval":"15","time":"%b","close":"231.52","volume":"1840233",'
        b'"rsi":"55.31","order":%d,"comment":"Breakout of the opening range"}' % (at.isoformat().encode(), number)
    )


def _send(sender: _Sender, head: str, number: int) -> None:
    body = alert(number)
    sender.sent_at = time.perf_counter()
    sender.connection.sendall(b"%b%d\r\n\r\n%b" % (head.encode(), len(body), body))


def _is_answered(sender: _Sender) -> bool:
    """Read what has come, and tell whether the answer is complete.

    :raises ConnectionError: when the server has hung up.
    """
    piece = sender.connection.recv(65_536)
    if not piece:
        raise ConnectionError("The server has closed a connection in the middle of the measurement.")
    sender.answer += piece
    head, found, body = sender.answer.partition(b"\r\n\r\n")
    if not found:
        return False
    lowered = head.lower()
    start = lowered.index(LENGTH) + len(LENGTH)
    return len(body) >= int(lowered[start:].split(b"\r\n", 1)[0])


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


if __name__ == "__main__":
    _, host_, port_, path_, connections_, seconds_, first_ = sys.argv
    figure = measure_load(
        host_, int(port_), path_, connections=int(connections_), seconds=float(seconds_), first=int(first_)
    )
    print(json.dumps(asdict(figure)))  # noqa: T201 - the answer of this process
