"""Worker hosts: network namespaces with one wire to the database and another to the engines, either of which can be cut.

The run moves into a namespace of its own first: the machine's own network stays as it is. Other programs take notice of
every wire that comes and goes there (a browser gives up the pages that it is loading).
"""

import ctypes
import os
import shutil
import subprocess
from dataclasses import dataclass

CLONE_NEWNET = 0x40000000  # unshare(2); in the module os only since Python 3.12
NETWORK = "198.18"  # set aside for tests of networks (RFC 2544): nobody's address


@dataclass(frozen=True, slots=True)
class Host:
    """One namespace. ``database`` and ``engines`` are the addresses at the near ends of its two wires."""

    name: str
    number: int

    @property
    def database(self) -> str:
        return f"{NETWORK}.{self.number}.1"

    @property
    def engines(self) -> str:
        return f"{NETWORK}.{self.number}.5"

    def wire(self, to: str) -> str:
        """Return the name of the near end of a wire, at most 15 characters."""
        return f"{self.name}{to[0]}"

    def cut(self, to: str) -> None:
        """Cut the wire to ``database`` or ``engines``: what is sent is lost without a word."""
        _ip("link", "set", self.wire(to), "down")

    def mend(self, to: str) -> None:
        _ip("link", "set", self.wire(to), "up")

    def make(self) -> None:
        _ip("netns", "add", self.name)
        _ip("-n", self.name, "link", "set", "lo", "up")
        for to, near, far in (("database", self.database, 2), ("engines", self.engines, 6)):
            wire = self.wire(to)
            _ip("link", "add", wire, "type", "veth", "peer", "name", f"far-{to[0]}", "netns", self.name)
            _ip("addr", "add", f"{near}/30", "dev", wire)
            _ip("link", "set", wire, "up")
            _ip("-n", self.name, "addr", "add", f"{NETWORK}.{self.number}.{far}/30", "dev", f"far-{to[0]}")
            _ip("-n", self.name, "link", "set", f"far-{to[0]}", "up")

    def remove(self) -> None:
        """Remove the namespace; its wires go with it."""
        for to in ("database", "engines"):
            _ip("link", "del", self.wire(to), check=False)
        _ip("netns", "del", self.name, check=False)

    def inside(self, command: list[str]) -> list[str]:
        """Return the command that runs another one in this namespace."""
        return [_program(), "netns", "exec", self.name, *command]


def make_hosts(count: int) -> tuple[list[Host], str]:
    """Return up to ``count`` hosts, or none and the reason why there can be none here.

    To be called before the first thread: only the calling one moves, and whatever it starts from then on.
    """
    hosts: list[Host] = []
    if os.geteuid() != 0 or not shutil.which("ip"):
        return [], "network namespaces need root and the program ip"
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        return [], f"network namespaces are not allowed here: {os.strerror(ctypes.get_errno())}"
    _ip("link", "set", "lo", "up")
    for place in range(count):
        host = Host(f"ch{os.getpid()}-{place}", 2 * (os.getpid() % 100) + 20 + place)
        try:
            host.make()
        except (OSError, subprocess.CalledProcessError) as error:
            host.remove()
            remove_hosts(hosts)
            said = (getattr(error, "stderr", b"") or b"").decode(errors="replace").strip()
            return [], f"network namespaces are not allowed here: {said or error}"
        hosts.append(host)
    return hosts, ""


def remove_hosts(hosts: list[Host]) -> None:
    for host in hosts:
        host.remove()


def _program() -> str:
    return shutil.which("ip") or "ip"


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run([_program(), *arguments], check=check, capture_output=True)
