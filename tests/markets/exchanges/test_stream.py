"""The stream: every closed candle once and in order, whatever happens to the connections."""

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from markets.exchanges import CandleUpdate, Connected, StreamEvent
from markets.exchanges.binance import BinanceExchange
from markets.exchanges.binance_stream import BinanceStream
from markets.exchanges.limits import RequestBudget
from markets.exchanges.stream_timing import StreamTiming
from markets.series import SeriesKey
from tests.replaying import START, LocalReplay, replay

MINUTE = 60_000
BTC, ETH = SeriesKey.of("BTCUSDT", "1m"), SeriesKey.of("ETHUSDT", "1m")
QUICK = StreamTiming(
    send_gap_seconds=0.02,
    backoff_first_seconds=0.05,
    backoff_cap_seconds=0.1,
    open_seconds=2.0,
    reply_seconds=0.5,
    proven_seconds=0.2,
    silence_ms=30_000,
    silence_seconds=0.5,
    overdue_seconds=0.2,
    takeover_seconds=0.5,
    connects=10_000,
)
SEEDS = range(200 if os.environ.get("SMC_FULL") else 3)


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

    def until_true(self, what: str, *, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not getattr(self.stream.health, what):
            assert time.monotonic() < deadline, f"no {what} within {seconds:g} s"
            self.take(self.stream.next_event(0.05))

    def last(self, series: SeriesKey) -> int:
        return self.closed[series][-1].candle.open_time

    def times(self, series: SeriesKey) -> list[int]:
        return [event.candle.open_time for event in self.closed[series]]


@contextmanager
def listening(market: LocalReplay, *series: SeriesKey, timing: StreamTiming = QUICK) -> Iterator[Listener]:
    exchange = BinanceExchange(
        market.url, market.ws_url, market.url, budget=RequestBudget(None), reconnect_delay=0.05, timing=timing
    )
    stream = exchange.open_stream()
    try:
        stream.subscribe(series)
        yield Listener(stream)
    finally:
        stream.close()


@pytest.fixture
def market() -> Iterator[LocalReplay]:
    with replay(symbols=["BTCUSDT", "ETHUSDT"], speed=200.0) as exchange:
        yield exchange


def rises_by_minutes(times: list[int]) -> bool:
    return times == list(range(times[0], times[-1] + MINUTE, MINUTE))


def test_closed_candles_come_once_in_order_and_as_the_exchange_has_them(market: LocalReplay) -> None:
    with listening(market, BTC, ETH) as heard:
        heard.until(START + 12 * MINUTE, BTC, ETH)
    for series in (BTC, ETH):
        times = heard.times(series)
        assert rises_by_minutes(times)
        expected = market.oracle(series, times[0], times[-1] + MINUTE)
        assert [event.candle for event in heard.closed[series]] == list(expected)
        assert heard.forming[series] > 0


def test_what_is_no_longer_wanted_is_no_longer_said(market: LocalReplay) -> None:
    with listening(market, BTC, ETH) as heard:
        heard.until(START + 3 * MINUTE, BTC, ETH)
        heard.stream.subscribe([ETH])
        heard.until(heard.last(ETH) + 3 * MINUTE, ETH)
        silent_since = heard.last(BTC)
        heard.until(heard.last(ETH) + 5 * MINUTE, ETH)
        assert heard.last(BTC) == silent_since


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("rst", {}),
        ("drop", {}),
        ("close", {"code": 1001}),
        ("freeze", {}),
        ("freeze", {"mid_frame": True}),
        ("stall", {"count": 1}),
    ],
)
def test_a_lost_connection_is_replaced_and_said_to_be_new(
    market: LocalReplay, verb: str, arguments: dict[str, object]
) -> None:
    """After ``Connected`` the caller asks REST for what closed meanwhile; the stream itself goes on."""
    with listening(market, BTC) as heard:
        heard.until(START + 2 * MINUTE, BTC)
        before = heard.connected
        market.fault(verb, **arguments)
        heard.until_true("reconnects")
        market.clear_faults()
        heard.until(heard.last(BTC) + 4 * MINUTE, BTC)
        assert heard.connected > before
        assert len(set(heard.times(BTC))) == len(heard.times(BTC))


def test_an_announced_shutdown_loses_and_doubles_nothing(market: LocalReplay) -> None:
    """The new connection is there before the old one ends."""
    with listening(market, BTC, ETH) as heard:
        heard.until(START + 2 * MINUTE, BTC, ETH)
        market.fault("server_shutdown", seconds=3)
        heard.until(heard.last(BTC) + 20 * MINUTE, BTC, ETH)
        assert rises_by_minutes(heard.times(BTC))
        assert rises_by_minutes(heard.times(ETH))
    assert market.status()["connections_made"] >= 2


@pytest.mark.parametrize(
    "verb", ["dup", "corrupt", "truncate", "bad_number", "bad_ohlc", "offset", "future", "old_bar"]
)
def test_a_bad_frame_never_ends_the_connection_nor_becomes_a_candle(market: LocalReplay, verb: str) -> None:
    with listening(market, BTC, ETH) as heard:
        heard.until(START + 2 * MINUTE, BTC, ETH)
        market.fault(verb, symbol="BTCUSDT", count=2)
        heard.until(heard.last(ETH) + 6 * MINUTE, ETH)
        heard.until(heard.last(ETH), BTC)
    assert rises_by_minutes(heard.times(ETH))
    times = heard.times(BTC)
    # A candle of before is handed on, for it may be a late one; the store knows it already.
    assert verb == "old_bar" or times == sorted(set(times))
    truth = {candle.open_time: candle for candle in market.oracle(BTC, min(times), max(times) + MINUTE)}
    assert all(truth[event.candle.open_time] == event.candle for event in heard.closed[BTC])
    assert heard.stream.health.reconnects == 0


@pytest.mark.parametrize("kind", ["json", "truncated", "array", "scalar", "not_an_object", "empty", "nested", "binary"])
def test_frames_that_are_none_are_counted_and_the_next_ones_heard(market: LocalReplay, kind: str) -> None:
    with listening(market, BTC) as heard:
        heard.until(START + 2 * MINUTE, BTC)
        market.fault("garbage", frames=100, kind=kind, seed=3)
        heard.until_true("rejected_frames")
        heard.until(heard.last(BTC) + 5 * MINUTE, BTC)
        assert rises_by_minutes(heard.times(BTC))
        assert heard.stream.health.reconnects == 0


def test_a_candle_that_is_not_said_is_asked_for(market: LocalReplay) -> None:
    with listening(market, BTC, ETH) as heard:
        heard.until(START + 2 * MINUTE, BTC, ETH)
        market.fault("mute", symbol="BTCUSDT")
        heard.until_true("unconfirmed")
        assert BTC in heard.stream.health.unconfirmed
        assert heard.stream.health.reconnects == 0


def test_more_series_than_a_connection_may_serve_are_spread_over_several() -> None:
    symbols = [f"S{number}USDT" for number in range(30)]
    timing = StreamTiming(streams_a_connection=12, streams_a_message=5, send_gap_seconds=0.02)
    with replay(symbols=symbols, speed=200.0) as market:
        series = [SeriesKey.of(symbol, "1m") for symbol in symbols]
        with listening(market, *series, timing=timing) as heard:
            heard.until(START + 2 * MINUTE, *series)
            assert heard.stream.health.connections == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_breaks_stream_and_rest_together_have_no_gap(seed: int) -> None:
    """Random ends of connections; what closed before each ``Connected`` is asked for by REST, as the feed does."""
    rng = random.Random(seed)
    print(f"seed {seed}")
    with replay(symbols=["BTCUSDT"], speed=300.0, seed=seed) as market:
        exchange = BinanceExchange(
            market.url, market.ws_url, market.url, budget=RequestBudget(None), reconnect_delay=0.05, timing=QUICK
        )
        stream = exchange.open_stream()
        stream.subscribe([BTC])
        kept: dict[int, float] = {}
        faults = 0
        deadline = time.monotonic() + 60
        try:
            while time.monotonic() < deadline and (faults < 5 or max(kept, default=0) < START + 40 * MINUTE):
                event = stream.next_event(0.05)
                if isinstance(event, Connected):
                    start = min([START, *kept]) if not kept else max(kept) - 5 * MINUTE
                    for candle in exchange.candles(BTC, start=start):
                        kept[candle.open_time] = candle.close
                elif isinstance(event, CandleUpdate) and event.is_closed:
                    kept[event.candle.open_time] = event.candle.close
                    if faults < 5 and rng.random() < 0.25:
                        market.fault(rng.choice(["rst", "drop", "close"]))
                        faults += 1
            # What closed between the last end and now is asked for at the last Connected, or was said.
            first, last = min(kept), max(kept)
            missing = {BTC.timeframe.floor(time_) for time_ in range(first, last, MINUTE)} - set(kept)
            for candle in exchange.candles(BTC, start=first) if missing else ():
                kept.setdefault(candle.open_time, candle.close)
        finally:
            stream.close()
        expected = market.oracle(BTC, first, last + MINUTE)
        assert faults == 5
        assert not missing, f"seed {seed}: {len(missing)} candles were neither said nor found by REST"
        assert [kept[time_] for time_ in sorted(kept) if first <= time_ <= last] == expected.close.tolist()
