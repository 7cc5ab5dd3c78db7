"""Fixtures of the house's own tests."""

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import caches

from smcsite.security import limits
from tests.smcsite.securing import SECRETS, environment


@pytest.fixture(autouse=True)
def _fresh_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin every test with nothing counted, in a window that does not end while it counts."""
    now = time.time()
    monkeypatch.setattr("django_ratelimit.core.time", SimpleNamespace(time=lambda: now))
    caches["limits"].clear()
    monkeypatch.setattr(limits, "_away_until", 0.0)
    monkeypatch.setattr(limits, "_local", limits.LocalWindows())
    cache: Any = caches["default"]
    monkeypatch.setattr(cache._cache, "away_until", 0.0)


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Any) -> None:
    # A real hash takes a quarter of a second, which is its point, but not here.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def secured() -> Iterator[None]:
    """A service that asks for a secret."""
    with environment(shared_secret=SECRETS):
        yield
