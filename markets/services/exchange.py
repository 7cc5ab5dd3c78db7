"""The exchange this process talks to, as the environment names it."""

from functools import cache

from django.conf import settings
from redis import Redis

from markets.exchanges.binance import BinanceExchange
from markets.exchanges.limits import RequestBudget


@cache
def open_exchange() -> BinanceExchange:
    """Return this process's client; its request budget is shared with all other processes."""
    environment = settings.ENV
    return BinanceExchange(
        environment.rest_url,
        environment.stream_url,
        environment.archive_url,
        budget=RequestBudget(Redis.from_url(settings.REDIS_URLS[3], **settings.REDIS_SOCKET)),
        reconnect_delay=environment.ws_reconnect_delay,
        max_reconnects=environment.ws_max_reconnect_attempts,
        api_key=environment.binance_api_key,
    )
