"""A replay exchange that stands still or runs, and the client that talks to it."""

from collections.abc import Iterator

import pytest
from django.conf import settings
from redis import Redis

from markets.exchanges.limits import RequestBudget
from tests.brokers import emptied


@pytest.fixture
def redis() -> Iterator[Redis]:
    """The budget's database, without what an earlier test left in it."""
    with emptied(settings.REDIS_URLS[3]) as client:
        yield client


@pytest.fixture
def budget(redis: Redis) -> RequestBudget:
    return RequestBudget(redis, patience_seconds=2.0)
