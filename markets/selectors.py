"""Reads of the market: the store of this process, pairs and series."""

from functools import cache

from django.conf import settings

from markets.store import CandleStore


@cache
def candle_store() -> CandleStore:
    """Return this process's store of candles, in the data folder of the settings."""
    return CandleStore(settings.DATA_ROOT, cache_seconds=settings.ENV.cache_ttl)
