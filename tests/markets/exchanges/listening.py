"""Listening to a stream of the replay exchange, quickly: what it has said, kept by series."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from markets.exchanges import CandleUpdate, Connected, StreamEvent
from markets.exchanges.binance import BinanceExchange
from markets.exchanges.binance_stream import BinanceStream
from markets.exchanges.limits import RequestBudget
from markets.exchanges.stream_timing import StreamTiming
from markets.series import SeriesKey
from tests.replaying import QUICK, LocalReplay

MINUTE = 60_000
BTC, ETH = SeriesKey.of("BTCUSDT", "1m"), SeriesKey.of("ETHUSDT", "1m")
# Nothing else is at work beside these streams, so silence tells soon.
HASTY = replace(QUICK, silence_ms=30_000, silence_seconds=0.5)


class Listener:
    """What a stream has said, kept by series."""

    def __init__(self, stream: BinanceStream) -> None:
        self.stream = stream
        self.closed: dict[SeriesKey, list[CandleUpdate]] = {}
        self.forming: dict[SeriesKey, int] = {}
        self.connected = 0

    def take(self, event: StreamEvent | None) -> None:
        if isinstance(event, Connected):
            self.connected += 1
        elif isinstance(event, CandleUpdate):
            if event.is_closed:
                self.closed.setdefault(event.series, []).append(event)
            else:
                self.forming[event.series] = self.forming.get(event.series, 0) + 1

    def until(self, moment: int, *series: SeriesKey, seconds: float = 30.0) -> None:
        """Listen until each of ``series`` has said that the candle of ``moment`` closed."""
        deadline = time.monotonic() + seconds
        while any(not self.closed.get(each) or self.last(each) < moment for each in series):
            assert time.monotonic() < deadline, f"no candle of {moment} within {seconds:g} s: {self.stream.health}"
            self.take(self.stream.next_event(0.05))

    def until_true(self, what: str) -> None:
        self.wait(lambda: getattr(self.stream.health, what))

    def wait(self, condition: Callable[[], object], *, seconds: float = 30.0) -> None:
        """Listen until something is true."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {self.stream.health}"
            self.take(self.stream.next_event(0.05))

    def last(self, series: SeriesKey) -> int:
        return self.closed[series][-1].candle.open_time

    def times(self, series: SeriesKey) -> list[int]:
        return [event.candle.open_time for event in self.closed[series]]


@contextmanager
def listening(market: LocalReplay, *series: SeriesKey, timing: StreamTiming = HASTY) -> Iterator[Listener]:
    exchange = BinanceExchange(market.url, market.ws_url, market.url, budget=RequestBudget(None), timing=timing)
    stream = exchange.open_stream()
    try:
        stream.subscribe(series)
        yield Listener(stream)
    finally:
        stream.close()


def rises_by_minutes(times: list[int]) -> bool:
    return times == list(range(times[0], times[-1] + MINUTE, MINUTE))
