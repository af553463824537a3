"""From where alerts may come: addresses and networks, and the ones that TradingView publishes."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

# https://www.tradingview.com/support/solutions/43000529348/, as of November 2026
TRADINGVIEW = ("52.89.214.238/32", "34.212.75.30/32", "54.218.53.128/32", "52.32.178.7/32")
MOST_NETWORKS = 100


class UnreadableNetwork(ValueError):
    """Something that is neither an address nor a network; the message says what was found and what is accepted."""


def read_networks(found: object) -> list[Network]:
    """Return addresses and networks as networks.

    :raises UnreadableNetwork: naming the first that is none, or that there are too many.
    """
    if not isinstance(found, list | tuple) or len(found) > MOST_NETWORKS:
        raise UnreadableNetwork(f"Accepted: a list of at most {MOST_NETWORKS} addresses and networks.")
    networks: list[Network] = []
    for entry in found:
        try:
            networks.append(ip_network(str(entry).strip(), strict=False))
        except ValueError:
            raise UnreadableNetwork(
                f"{str(entry)[:60]!r} is no address and no network. Accepted: such as 52.89.214.238 or 10.0.0.0/8."
            ) from None
    return networks


def may_send(address: str, networks: Sequence[str]) -> bool:
    """Tell whether an address is in one of ``networks``; with none named, every address may send."""
    if not networks:
        return True
    try:
        found = ip_address(address)
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found  # a server that listens on IPv6 sees IPv4 as ::ffff:…
    return any(found in ip_network(network) for network in networks)
