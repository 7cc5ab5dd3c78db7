"""Which candles are looked at is known to the stream process, as long as somebody says so."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from redis.asyncio import Redis as AsyncRedis

from markets.series import SeriesKey
from markets.services.pairs import ensure_series
from signals.push.sender import Sender
from signals.push.watching import WATCHED_SECONDS, note_watched, read_watched
from tests.signals.live.sockets import Open

pytestmark = [pytest.mark.broker, pytest.mark.django_db(transaction=True)]


async def test_the_stream_process_knows_which_candles_are_looked_at(open_socket: Open, sender: Sender) -> None:
    await sync_to_async(ensure_series)(SeriesKey.parse("BTCUSDT:1m"))
    client = await open_socket()
    await client.subscribe("signals", "k:BTCUSDT:1m")
    async with asyncio.timeout(5):
        while not sender.is_watched("k:BTCUSDT:1m"):
            await asyncio.sleep(0.01)
    assert not sender.is_watched("signals")
    assert not sender.is_watched("k:BTCUSDT:5m")


async def test_nobody_looks_at_candles_any_more_when_nobody_says_so(sender: Sender) -> None:
    redis = AsyncRedis.from_url(settings.REDIS_URLS[1])
    await note_watched(redis, ["k:BTCUSDT:1m", "k:BTCUSDT:5m"])
    assert await read_watched(redis) == {"k:BTCUSDT:1m", "k:BTCUSDT:5m"}
    assert await redis.ttl("smc:live:watched") <= WATCHED_SECONDS
    await redis.zadd("smc:live:watched", {"k:BTCUSDT:1m": 1})
    assert await read_watched(redis) == {"k:BTCUSDT:5m"}
    await redis.aclose()
