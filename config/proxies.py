"""Whom we believe about the way a request came: the proxies that TRUSTED_PROXIES names, and nobody else."""

from collections.abc import Callable
from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

FORWARDED = "HTTP_X_FORWARDED_"
OTHERS = ("HTTP_FORWARDED", "HTTP_X_REAL_IP")


class TrustedProxiesMiddleware:
    """Forgets what a request says about its own way unless its peer is a trusted proxy.

    So whoever reaches the port directly cannot pass plain http off as https. It stands before Django's own security
    middleware, which reads X-Forwarded-Proto.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not is_trusted(str(request.META.get("REMOTE_ADDR", ""))):
            for name in [name for name in request.META if name.startswith(FORWARDED) or name in OTHERS]:
                del request.META[name]
        return self.get_response(request)


def is_trusted(peer: str) -> bool:
    """Tell whether the peer of a connection is one of the named proxies; one without an address is not."""
    if not settings.TRUSTED_PROXIES:
        return False
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    # a server that listens on IPv6 sees IPv4 peers as ::ffff:10.0.0.1
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in settings.TRUSTED_PROXIES)


def client_address(request: HttpRequest) -> str:
    """Return the address from which a request came: the peer, or who a trusted proxy says it took the request from.

    Each proxy appends its own peer, so the list is read from its end, and the first address that is no trusted proxy is the
    client's: what stands before it was written by whoever sent the request.
    """
    peer = str(request.META.get("REMOTE_ADDR", ""))
    if not is_trusted(peer):
        return peer
    for named in reversed(str(request.META.get("HTTP_X_FORWARDED_FOR", "")).split(",")):
        if named.strip() and not is_trusted(named.strip()):
            return named.strip()
    return peer
