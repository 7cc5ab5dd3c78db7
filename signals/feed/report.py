"""What a stream process says of itself: for the status page and API, for health checks, for Prometheus."""

import os
import socket
import time
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from django.conf import settings
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from markets.errors import StoreError
from markets.exchanges import StreamHealth
from markets.moments import iso
from markets.selectors import candle_store
from markets.series import SeriesKey
from signals.engine import SCALES
from signals.feed.feed import Feed
from signals.feed.followed import Followed, State
from signals.feed.vitals import Vitals
from signals.feed.wishes import Shard
from signals.push.sender import Sender

# One series in one of these makes the whole catch up; other faults name it only where nothing is live.
_NOT_YET = (State.CATCHING_UP, State.GAPPED)
# Signals do not depend on our clock, but what people read of delays does.
_SKEW_WORTH_TELLING_MS = 5_000
# The first pivot of the widest scale needs its bars on both sides; before that a series can tell little.
_WARM_CANDLES = 2 * max(SCALES.values()) + 1


class Runner(Protocol):
    """What is told of a stream process: its part, how it fares, and its feed while it leads."""

    shard: Shard
    role: str
    error: str
    restarts: int
    epoch: int
    vitals: Vitals
    feed: Feed | None
    sender: Sender | None


def feed_status(runner: Runner) -> dict[str, Any]:
    """Return the status of a stream process as plain values."""
    feed, vitals = runner.feed, runner.vitals
    health = feed.stream.health if feed is not None else StreamHealth()
    now = time.monotonic()
    followed = list(feed.series.items()) if feed is not None else []
    series = [_series(key, each, now, is_connected=health.connections > 0) for key, each in followed]
    exchange_time = feed.stream.server_time() if feed is not None else None
    sender = runner.sender
    return {
        "state": _state(runner.role, series),
        "role": runner.role,
        "leader": {"host": socket.gethostname(), "pid": os.getpid(), "shard": str(runner.shard), "epoch": runner.epoch},
        "error": runner.error or health.last_error * (health.connections == 0) or _clock_error(vitals.skew),
        "restarts": runner.restarts,
        "exchange_time": iso(exchange_time),
        "connections": health.connections,
        "reconnects": health.reconnects,
        "rejected_frames": health.rejected_frames,
        "rejected_candles": health.rejected_candles,
        "last_message_age": round(now - health.last_message_at, 2) if health.last_message_at else None,
        "clock_skew_ms": vitals.skew,
        "queue_depth": feed.queue_depth if feed is not None else 0,
        "published": sender.sent if sender is not None else 0,
        "publishing_error": sender.error if sender is not None else "",
        "candles": vitals.candles,
        "lag_ms": vitals.percentiles(),
        "series": series,
    }


def _series(key: SeriesKey, followed: Followed, now: float, *, is_connected: bool) -> dict[str, Any]:
    gap = followed.gap
    return {
        "symbol": key.symbol,
        "timeframe": key.timeframe.value,
        "state": followed.state(now, is_connected=is_connected).value,
        "last_candle": iso(followed.through),
        "lag_ms": followed.lag_ms,
        "stage": followed.work.stage or _warming_up(key, followed),
        "held": f"{iso(gap.start)}..{iso(gap.end)}" if gap is not None else "",
        "error": followed.error,
    }


def _warming_up(key: SeriesKey, followed: Followed) -> str:
    """Say how many candles a series has of those it needs, until it has them."""
    if followed.is_warm:
        return ""
    try:
        coverage = candle_store().coverage(key)
    except StoreError:
        return ""  # told as the series' own error
    count = coverage.count if coverage is not None else 0
    followed.is_warm = count >= _WARM_CANDLES
    return "" if followed.is_warm else f"warming up {count}/{_WARM_CANDLES}"


def _clock_error(skew: float | None) -> str:
    """Say that our clock is wrong. In a replay any time of the market is right."""
    if skew is None or abs(skew) < _SKEW_WORTH_TELLING_MS or settings.ENV.is_replay:
        return ""
    return f"this machine's clock is {abs(skew) / 1000:,.0f} s {'ahead of' if skew > 0 else 'behind'} the exchange's"


def _state(role: str, series: list[dict[str, Any]]) -> str:
    states = {each["state"] for each in series}
    if role != "leader":
        return "down"
    if not states or State.LIVE in states:
        return "live" if states and not states & set(_NOT_YET) else "catching_up"
    return "catching_up" if states & set(_NOT_YET) else "down"


def health(runner: Runner) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status and the body of ``/health``: a standby that waits is well."""
    told = feed_status(runner)
    if told["role"] == "standby":
        return 200, {"status": "ok", "role": "standby"}
    word = {"live": "ok", "catching_up": "ok", "down": "degraded"}[told["state"]]
    if told["role"] != "leader":
        word = "down"
    names = ("role", "state", "error", "connections", "last_message_age", "queue_depth", "lag_ms")
    body = {"status": word, **{name: told[name] for name in names}, "series": len(told["series"])}
    return (503 if word == "down" else 200), body


class Collector:
    """Tells Prometheus what the status tells people."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def collect(self) -> Iterable[Metric]:
        told = feed_status(self._runner)
        yield _gauge("smc_stream_leader", "1 where this process leads.", float(told["role"] == "leader"))
        yield _gauge("smc_stream_connections", "Open connections to the exchange.", told["connections"])
        yield _gauge("smc_stream_queue_depth", "Events, jobs and messages that wait.", told["queue_depth"])
        if told["last_message_age"] is not None:
            yield _gauge("smc_stream_last_message_age_seconds", "Since the last frame.", told["last_message_age"])
        for name, text in (
            ("reconnects", "Connections to the exchange that were made anew."),
            ("rejected_frames", "Frames that could not be read."),
            ("rejected_candles", "Candles with values that no candle has."),
            ("candles", "Closed candles taken from the stream."),
            ("published", "Messages sent to browsers."),
            ("restarts", "Times the stream was started again after a failure."),
        ):
            yield CounterMetricFamily(f"smc_stream_{name}", text, value=told[name])
        yield from self._lags(told["lag_ms"])
        yield from self._states(told["series"])

    def _lags(self, lags: dict[str, float | None]) -> Iterator[Metric]:
        metric = GaugeMetricFamily(
            "smc_stream_lag_seconds", "From a candle's end to its signals' way out.", labels=["quantile"]
        )
        for name, lag in lags.items():
            if lag is not None:
                metric.add_metric([f"0.{name[1:]}"], lag / 1000)
        yield metric

    def _states(self, series: list[dict[str, Any]]) -> Iterator[Metric]:
        metric = GaugeMetricFamily("smc_stream_series", "Series by state.", labels=["state"])
        for state in State:
            metric.add_metric([state.value], sum(each["state"] == state for each in series))
        yield metric


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
