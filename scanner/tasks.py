"""The scanner's door for Celery: rankings made ahead, so that pages need not wait."""

import logging
from contextlib import suppress

from celery import shared_task
from django.core.cache import cache
from redis.exceptions import RedisError

from markets.selectors import known_series
from scanner.selectors import KEPT_SECONDS, SKIPPED_SCANS, cache_key, kept_scan, pack, scan

logger = logging.getLogger(__name__)

_LOCK = "scan:running"
_LOCK_SECONDS = 60


@shared_task(time_limit=60, soft_time_limit=45)
def scan_all() -> None:
    """Measure what has changed of every stored timeframe, for its ranking.

    A scan that outlasts its period is not joined by another; the tick is skipped and counted.
    """
    cache.add(SKIPPED_SCANS, 0, timeout=None)
    if not cache.add(_LOCK, 1, _LOCK_SECONDS):
        logger.warning("the last scan still runs, this one is skipped")
        with suppress(RedisError, OSError, ValueError):  # without the cache nobody can tell what still runs
            cache.incr(SKIPPED_SCANS)
        return
    try:
        for timeframe in sorted({key.timeframe for key in known_series()}, key=lambda each: each.minutes):
            found = scan(timeframe, former=kept_scan(timeframe))
            cache.set(cache_key(timeframe), pack(found), KEPT_SECONDS)
    finally:
        cache.delete(_LOCK)
