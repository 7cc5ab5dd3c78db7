"""The cache: a hint and never the truth, so a server that is away is a cache that is empty."""

import json
import logging
import time
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, TypeVar

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PAUSE_SECONDS = 2.0
_MOST_KNOWN, _LONGEST_WINDOW = 10_000, 86_400


class JsonSerializer:
    """Writes values as JSON: Django's own pickles them, and who can write to Redis could then run code here."""

    def dumps(self, value: Any) -> bytes | int:
        # Redis counts only what it knows as numbers.
        return value if type(value) is int else json.dumps(value).encode()

    def loads(self, kept: bytes) -> Any:
        return json.loads(kept)


class SharedClient(RedisCacheClient):
    """Django's client, of which a process needs only one. ``away_until``: before that, the server is not asked."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.away_until = 0.0
        self._redis: Any = super().get_client(write=True)

    def get_client(self, key: Any = None, *, write: bool = False) -> Any:
        return self._redis


@cache
def _client(kind: type[SharedClient], servers: tuple[str, ...], options: tuple[tuple[str, Any], ...]) -> SharedClient:
    return kind(list(servers), **dict(options))


class SharedRedisCache(RedisCache):
    """Django's Redis cache with connections that are kept.

    Django makes its caches anew for every request that an asynchronous server answers, and with them connections.
    """

    kind: ClassVar[Callable[..., SharedClient]] = SharedClient

    @property
    def _cache(self) -> SharedClient:
        ours: Any = self
        return _client(self.kind, tuple(ours._servers), tuple(sorted(ours._options.items())))


class CountingClient(SharedClient):
    """The client of limits: it remembers which counts there are, so that most calls are counted by asking once."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._known: dict[Any, float] = {}

    def add(self, key: Any, value: Any, timeout: Any) -> bool:
        now = time.monotonic()
        if self._known.get(key, 0.0) > now:
            return False
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        self._known[key] = now + (timeout or 0)
        return bool(super().add(key, value, timeout))

    def incr(self, key: Any, delta: int) -> int:
        count: int = self._redis.incr(key, delta)
        if count == delta and self._redis.ttl(key) < 0:  # it was gone, and would now stay for ever
            self._redis.expire(key, _LONGEST_WINDOW)
        return count


class CountingCache(SharedRedisCache):
    """The cache of limits. Unlike the others it raises while the server is away, for limits must know."""

    kind = CountingClient


class HintCache(SharedRedisCache):
    """The cache that answers "not there" while the server is away, without waiting for it each time."""

    def _try(self, call: Callable[[], T], otherwise: T) -> T:
        if time.monotonic() < self._cache.away_until:
            return otherwise
        try:
            return call()
        except (RedisError, OSError) as error:
            self._cache.away_until = time.monotonic() + _PAUSE_SECONDS
            logger.warning("the cache is away", extra={"error": type(error).__name__})
            return otherwise

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        parent: Any = super()
        return self._try(lambda: parent.get(key, default, version), default)

    def get_many(self, keys: Any, version: int | None = None) -> dict[str, Any]:
        parent: Any = super()
        wanted = list(keys)
        return self._try(lambda: parent.get_many(wanted, version), {})

    def has_key(self, key: str, version: int | None = None) -> bool:
        parent: Any = super()
        return self._try(lambda: bool(parent.has_key(key, version)), otherwise=False)

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        parent: Any = super()
        return self._try(lambda: bool(parent.add(key, value, timeout, version)), otherwise=False)

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        parent: Any = super()
        self._try(lambda: parent.set(key, value, timeout, version), None)

    def set_many(self, data: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> list[Any]:
        parent: Any = super()
        return self._try(lambda: list(parent.set_many(data, timeout, version)), list(data))

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        parent: Any = super()
        return self._try(lambda: bool(parent.touch(key, timeout, version)), otherwise=False)

    def delete(self, key: str, version: int | None = None) -> bool:
        parent: Any = super()
        return self._try(lambda: bool(parent.delete(key, version)), otherwise=False)

    def delete_many(self, keys: Any, version: int | None = None) -> None:
        parent: Any = super()
        wanted = list(keys)
        self._try(lambda: parent.delete_many(wanted, version), None)
