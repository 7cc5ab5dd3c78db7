"""A replay exchange that stands still or runs, and the client that talks to it."""

import pytest
from django.conf import settings
from redis import Redis

from markets.exchanges.limits import RequestBudget


@pytest.fixture
def redis() -> Redis:
    """The budget's database, without what an earlier test left in it."""
    found = Redis.from_url(settings.REDIS_URLS[3])
    found.flushdb()
    return found


@pytest.fixture
def budget(redis: Redis) -> RequestBudget:
    return RequestBudget(redis, patience_seconds=2.0)
