"""The tests' Redis, of which each test begins with an empty database."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis


@contextmanager
def emptied(url: str) -> Iterator[Redis]:
    """Give a client of a database that is empty, and leave it so."""
    with Redis.from_url(url) as client:
        client.flushdb()
        try:
            yield client
        finally:
            client.flushdb()
