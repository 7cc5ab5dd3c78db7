"""Whose address counts."""

from typing import Any

import pytest
from django.test import RequestFactory

from smcsite.security.addresses import client_ip, is_scope_secure, limit_address, scope_ip
from tests.smcsite.securing import environment

PROXY = "10.0.0.1"
TABLE = [
    # peer, X-Forwarded-For, the address that counts
    ("203.0.113.9", None, "203.0.113.9"),
    ("203.0.113.9", "1.2.3.4", "203.0.113.9"),
    ("203.0.113.9", "10.0.0.1", "203.0.113.9"),
    ("203.0.113.9", "127.0.0.1, 10.0.0.1", "203.0.113.9"),
    (PROXY, None, PROXY),
    (PROXY, "", PROXY),
    (PROXY, "1.2.3.4", "1.2.3.4"),
    (PROXY, " 1.2.3.4 ", "1.2.3.4"),
    (PROXY, "6.6.6.6, 1.2.3.4", "1.2.3.4"),
    (PROXY, "6.6.6.6,7.7.7.7,1.2.3.4", "1.2.3.4"),
    (PROXY, "1.2.3.4, 10.0.0.2", "1.2.3.4"),
    (PROXY, "6.6.6.6, 1.2.3.4, 10.0.0.2, 10.9.9.9", "1.2.3.4"),
    (PROXY, "10.0.0.3, 10.0.0.2", "10.0.0.3"),
    (PROXY, "unknown", PROXY),
    (PROXY, "1.2.3.4, unknown", PROXY),
    (PROXY, "1.2.3.4, unknown, 10.0.0.2", "10.0.0.2"),
    (PROXY, "_hidden", PROXY),
    (PROXY, "1.2.3.4:5678", "1.2.3.4"),
    (PROXY, "1.2.3.4, 10.0.0.2:80", "1.2.3.4"),
    (PROXY, "2001:db8::1", "2001:db8::1"),
    (PROXY, "[2001:db8::1]", "2001:db8::1"),
    (PROXY, "[2001:db8::1]:443", "2001:db8::1"),
    (PROXY, '"[2001:db8::1]:443"', "2001:db8::1"),
    (PROXY, "::ffff:1.2.3.4", "1.2.3.4"),
    (PROXY, "1.2.3.4,", PROXY),
    (PROXY, ",,,", PROXY),
    (PROXY, "1.2.3.999", PROXY),
    (PROXY, "1.2.3.4/24", PROXY),
    (PROXY, "１.2.3.4", PROXY),
    (PROXY, "x" * 10_000, PROXY),
    (PROXY, "6.6.6.6, " * 2_000 + "1.2.3.4", "1.2.3.4"),
    (PROXY, "<script>, 1.2.3.4", "1.2.3.4"),
    ("::ffff:10.0.0.1", "1.2.3.4", "1.2.3.4"),
    ("2001:db8:ffff::1", "1.2.3.4", "1.2.3.4"),
    ("2001:db8:eeee::1", "1.2.3.4", "2001:db8:eeee::1"),
]


@pytest.mark.parametrize(("peer", "forwarded", "counts"), TABLE)
def test_client_ip_table(peer: str, forwarded: str | None, counts: str) -> None:
    """S21: only trusted proxies are believed, and from the right."""
    headers: Any = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    scope_headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode("utf-8", "replace"))]
    with environment(trusted_proxies=["10.0.0.0/8", "2001:db8:ffff::/48"]):
        assert client_ip(RequestFactory().get("/", REMOTE_ADDR=peer, **headers)) == counts
        assert scope_ip({"client": (peer, 1), "headers": scope_headers}) == counts


def test_two_headers_count_as_one_list() -> None:
    """S21: a server joins duplicates in order, so the right-most is still the proxy's own."""
    scope = {"client": (PROXY, 1), "headers": [(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"1.2.3.4")]}
    with environment(trusted_proxies=[PROXY]):
        assert scope_ip(scope) == "1.2.3.4"


def test_nothing_is_trusted_by_itself() -> None:
    """S21: not even loopback, which uvicorn would trust."""
    assert client_ip(RequestFactory().get("/", REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR="1.2.3.4")) == "127.0.0.1"


def test_remote_addr_empty() -> None:
    """S22: a Unix socket has no address; behind a trusted local proxy its callers are told apart all the same."""
    assert client_ip(RequestFactory().get("/", REMOTE_ADDR="")) == "127.0.0.1"
    with environment(trusted_proxies=["127.0.0.1/32"]):
        for caller in ("1.2.3.4", "5.6.7.8"):
            assert client_ip(RequestFactory().get("/", REMOTE_ADDR="", HTTP_X_FORWARDED_FOR=caller)) == caller
    assert scope_ip({"client": None, "headers": []}) == "127.0.0.1"


def test_limits_count_the_network_that_one_subscriber_has() -> None:
    """S21: a /64 of IPv6."""
    addresses = {
        limit_address(RequestFactory().get("/", REMOTE_ADDR=f"2001:db8::{tail}")) for tail in ("1", "2", "ffff")
    }
    assert addresses == {"2001:db8::"}


@pytest.mark.parametrize(("peer", "is_secure"), [(PROXY, True), ("203.0.113.9", False)])
def test_only_a_trusted_proxy_says_that_a_socket_came_by_tls(peer: str, is_secure: bool) -> None:
    with environment(trusted_proxies=[PROXY]):
        scope = {"scheme": "ws", "client": (peer, 1), "headers": [(b"x-forwarded-proto", b"https")]}
        assert is_scope_secure(scope) == is_secure
