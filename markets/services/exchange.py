"""The exchange this process talks to, as the environment names it."""

from functools import cache

from django.conf import settings
from redis import Redis

from markets.errors import ServiceUnavailableError
from markets.exchanges import Exchange
from markets.exchanges.binance import BinanceExchange
from markets.exchanges.limits import RequestBudget
from markets.exchanges.stream_timing import StreamTiming


@cache
def open_exchange() -> Exchange:
    """Return this process's client; its request budget is shared with all other processes.

    Raises ``ServiceUnavailableError`` for a replay of which nobody said where it is: the real market is none.
    """
    environment = settings.ENV
    urls = (environment.binance_rest_url, environment.binance_ws_url, environment.binance_archive_url)
    if environment.is_replay and not all(urls):
        raise ServiceUnavailableError(
            "MARKET_SOURCE=replay needs BINANCE_REST_URL, BINANCE_WS_URL and BINANCE_ARCHIVE_URL of a replay exchange; "
            "manage.py serve starts one and sets them"
        )
    return BinanceExchange(
        environment.rest_url,
        environment.stream_url,
        environment.archive_url,
        budget=RequestBudget(Redis.from_url(settings.REDIS_URLS[3], **settings.REDIS_SOCKET)),
        timing=StreamTiming(backoff_first_seconds=environment.ws_reconnect_delay),
        max_reconnects=environment.ws_max_reconnect_attempts,
        api_key=environment.binance_api_key,
    )
