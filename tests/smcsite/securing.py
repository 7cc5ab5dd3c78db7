"""A service with secrets set, for tests, and callers of every kind."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.test import override_settings

from smcsite.security.addresses import trusted_proxies
from smcsite.security.credentials import keyring

SECRET = "2f6d0c9b8a7e5d4c3b2a19080706f5e4"
NEXT_SECRET = "7a1b2c3d4e5f60718293a4b5c6d7e8f9"
READ_SECRET = "c0ffee00c0ffee11c0ffee22c0ffee33"
SECRETS = f"{SECRET},{NEXT_SECRET},{READ_SECRET}:read"


@contextmanager
def environment(**changes: Any) -> Iterator[None]:
    """Change variables of the service for a while, as if it had been started with them."""
    with override_settings(ENV=replace(settings.ENV, **changes)):
        _forget()
        try:
            yield
        finally:
            _forget()


def _forget() -> None:
    keyring.cache_clear()
    trusted_proxies.cache_clear()
    caches["limits"].clear()
