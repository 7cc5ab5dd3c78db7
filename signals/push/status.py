"""What the stream process says of itself: written by it every second, read by API, pages and sockets."""

import contextlib
import logging
import shutil
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.cache import cache
from redis import Redis
from redis.exceptions import RedisError

from markets.selectors import active_series
from signals.push.processes import running_processes

logger = logging.getLogger(__name__)

MOST_SHARDS = 16
_TTL_SECONDS = 5
_SUMS = ("rejected_frames", "rejected_candles", "reconnects", "queue_depth", "connections", "published")


def status_key(shard: int) -> str:
    return "stream:status" if shard == 1 else f"stream:status:{shard}"


def write_status(status: Mapping[str, Any], *, shard: int) -> None:
    """Leave a status for the others to read. While the cache is away there is nobody who could."""
    with contextlib.suppress(RedisError, OSError):
        cache.set(status_key(shard), dict(status), _TTL_SECONDS)


def read_status() -> dict[str, Any]:
    """Return the state of the live path, of all shards together.

    Where no stream process speaks, every series is told as ``down``: silence is not health. ``paused`` says that it is
    we who are silent, not the exchange.
    """
    try:
        told = list(cache.get_many([status_key(shard) for shard in range(1, MOST_SHARDS + 1)]).values())
    except (RedisError, OSError):
        told = []
    known = {(row["symbol"], row["timeframe"]): row for each in told for row in each["series"]}
    series = [
        known.get((key.symbol, key.timeframe.value)) or _silent(key.symbol, key.timeframe.value)
        for key in active_series()
    ]
    first = told[0] if told else {}
    return {
        "source": "replay" if settings.ENV.is_replay else "binance",
        "state": _state(told),
        "leader": _name(first["leader"]) if first else None,
        "leaders": [each["leader"] for each in told],
        "exchange_time": first.get("exchange_time"),
        "clock_skew_ms": first.get("clock_skew_ms"),
        "lag_ms": first.get("lag_ms", {"p50": None, "p95": None, "p99": None}),
        **{name: sum(each[name] for each in told) for name in _SUMS},
        "paused": not told,
        "error": next((each["error"] for each in told if each["error"]), "") if told else _why_paused(),
        "disk_free_bytes": disk_free(),
        "processes": [{"role": each.role, "pid": each.pid} for each in running_processes(settings.VAR_ROOT)],
        "series": series,
    }


def disk_free() -> int:
    try:
        return shutil.disk_usage(settings.DATA_ROOT).free
    except OSError:
        return 0


def _why_paused() -> str:
    """Say who of ours is silent. A cache that is away looks like one that holds nothing, so Redis itself is asked."""
    who = "the stream process"
    try:
        with Redis.from_url(settings.REDIS_URLS[1], socket_timeout=1, socket_connect_timeout=1) as redis:
            redis.ping()
    except (RedisError, OSError):
        who = "Redis"
    return f"live updates are paused: {who} does not answer"


def _state(told: list[dict[str, Any]]) -> str:
    if not told:
        return "down"
    states = {each["state"] for each in told}
    return next(state for state in ("down", "catching_up", "live") if state in states)


def _name(leader: Mapping[str, Any]) -> str:
    return f"{leader['host']}:{leader['pid']}"


def _silent(symbol: str, timeframe: str) -> dict[str, Any]:
    return {
        "symbol": symbol, "timeframe": timeframe, "state": "down", "last_candle": None, "lag_ms": None,
        "stage": "", "held": "", "error": "the stream worker does not answer",
    }  # fmt: skip
