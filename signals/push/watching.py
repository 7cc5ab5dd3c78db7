"""Which candles anybody looks at: web processes say so, and the stream process spares itself the others' previews."""

from collections.abc import Iterable
from typing import Any

from redis.asyncio import Redis

# A web process says it anew far more often than this; one that dies says nothing any more.
WATCHED_SECONDS = 10

_KEY = "smc:live:watched"
# By the clock of Redis: those who write and those who read may be on machines whose clocks differ.
_NOTE = """
local now = tonumber(redis.call('TIME')[1])
for place = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[place]) end
redis.call('EXPIRE', KEYS[1], ARGV[1])
"""
_READ = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""


async def note_watched(redis: Redis, channels: Iterable[str]) -> None:
    """Say that sockets of this process follow these channels of candles, now and for ``WATCHED_SECONDS``."""
    if names := list(channels):
        await _run(redis, _NOTE, WATCHED_SECONDS, *names)


async def read_watched(redis: Redis) -> frozenset[str]:
    """Return the channels of candles that sockets of any process follow."""
    return frozenset(name.decode() for name in await _run(redis, _READ))


async def _run(redis: Redis, script: str, *arguments: Any) -> Any:
    return await redis.register_script(script)(keys=[_KEY], args=arguments)
