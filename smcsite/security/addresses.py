"""Who is calling: the one place that decides which address a request comes from."""

from collections.abc import Iterable, Sequence
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from django.conf import settings
from django.http import HttpRequest

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# A peer without an address came over a Unix socket, so it is on this machine.
_LOCAL = ip_address("127.0.0.1")
_LONGEST_HEADER = 2_000


def client_address(peer: str, forwarded: str, trusted: Sequence[Network]) -> Address:
    """Return the address that the caller is known by.

    That is the peer's, unless the peer is a trusted proxy: then ``forwarded`` (X-Forwarded-For) is walked from the
    right, past proxies that are trusted too, to the first that is not. Whatever stands left of it was written by
    the caller itself and proves nothing. A value that is not an address ends the walk at the last proxy known.
    """
    found = parse_address(peer) or _LOCAL
    if not _is_trusted(found, trusted):
        return found
    for hop in reversed(forwarded[-_LONGEST_HEADER:].split(",")):
        address = parse_address(hop)
        if address is None:
            return found
        found = address
        if not _is_trusted(address, trusted):
            return found
    return found


def parse_address(text: str) -> Address | None:
    """Read an address as proxies write it: with or without a port, IPv6 with or without brackets."""
    host = text.strip().strip('"')
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_trusted(address: Address, trusted: Iterable[Network]) -> bool:
    return any(address in network for network in trusted)


@cache
def trusted_proxies() -> tuple[Network, ...]:
    return tuple(ip_network(each) for each in settings.ENV.trusted_proxies)


def client_ip(request: HttpRequest) -> str:
    """Return the address of a request's caller."""
    return str(client_address(request.META.get("REMOTE_ADDR", ""), _forwarded(request), trusted_proxies()))


def is_trusted_peer(request: HttpRequest) -> bool:
    """Say whether the request came through a proxy whose headers are believed."""
    return _is_trusted(parse_address(request.META.get("REMOTE_ADDR", "")) or _LOCAL, trusted_proxies())


def _forwarded(request: HttpRequest) -> str:
    return str(request.META.get("HTTP_X_FORWARDED_FOR", ""))


def scope_ip(scope: dict[str, Any]) -> str:
    """Return the address of a socket's caller."""
    return str(client_address(_scope_peer(scope), _scope_header(scope, b"x-forwarded-for"), trusted_proxies()))


def is_scope_secure(scope: dict[str, Any]) -> bool:
    """Say whether a socket's caller came by TLS, to us or to a proxy whose word is believed."""
    if scope.get("scheme", "ws") in ("wss", "https"):
        return True
    is_trusted = _is_trusted(parse_address(_scope_peer(scope)) or _LOCAL, trusted_proxies())
    return is_trusted and _scope_header(scope, b"x-forwarded-proto") in ("https", "wss")


def _scope_peer(scope: dict[str, Any]) -> str:
    return str((scope.get("client") or ("",))[0])


def _scope_header(scope: dict[str, Any], wanted: bytes) -> str:
    return ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == wanted)


def limit_address(request: HttpRequest) -> str:
    """Return what limits count by: an IPv4 address, or the /64 that one subscriber's IPv6 addresses share."""
    return network_of(client_ip(request))


def network_of(address: str) -> str:
    return str(ip_network(f"{address}/{64 if ':' in address else 32}", strict=False).network_address)
