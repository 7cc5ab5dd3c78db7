"""The REST client: pages, the settled rule, refusals told to every process, answers that cannot be trusted."""

import re
from collections.abc import Iterator

import pytest
from redis import Redis

from markets.errors import (
    BadAnswerError,
    ExchangeError,
    ExchangeUnavailableError,
    InvalidInputError,
    RateLimitedError,
    UnknownSymbolError,
)
from markets.exchanges.binance_rest import BinanceRest
from markets.exchanges.limits import RequestBudget
from markets.exchanges.transport import Bounds
from markets.series import SeriesKey
from tests.replaying import START, LocalReplay, replay

SERIES = SeriesKey.of("BTCUSDT", "1m")
MINUTE = 60_000


@pytest.fixture
def market() -> Iterator[LocalReplay]:
    with replay(symbols=["BTCUSDT", "ETHUSDT"], speed=0.0) as exchange:
        yield exchange


def client(market: LocalReplay, budget: RequestBudget, *, total_seconds: float = 5.0) -> BinanceRest:
    bounds = Bounds(total_seconds=total_seconds, body_bytes=2_000_000)
    return BinanceRest(market.url, budget=budget, bounds=bounds, sleep=lambda seconds: None)


def test_pages_follow_each_other_by_time_until_the_limit(market: LocalReplay, budget: RequestBudget) -> None:
    start = START - 3_000 * MINUTE
    found = client(market, budget).candles(SERIES, start=start, end=START - 10 * MINUTE, limit=2_500)
    expected = market.oracle(SERIES, start, START).first(2_500)
    assert found.open_time.tolist() == expected.open_time.tolist()
    assert found.close.tolist() == expected.close.tolist()


def test_rest_last_row_open(market: LocalReplay, budget: RequestBudget) -> None:
    """F25: the last row still forms; a candle counts as closed five seconds after its end."""
    rest = client(market, budget)
    for seconds, last in ((4, START - 2 * MINUTE), (5, START - MINUTE)):
        market.set_clock(now=START + seconds * 1_000)
        found = rest.candles(SERIES, start=START - 10 * MINUTE)
        assert int(found.open_time[-1]) == last


def test_rest_settle(market: LocalReplay, budget: RequestBudget) -> None:
    """F26: a candle that lacks its last trades for some seconds is not taken before it has them."""
    market.fault("settle", seconds=3)
    rest = client(market, budget)
    for seconds in (1, 5):
        market.set_clock(now=START + seconds * 1_000)
        found = rest.candles(SERIES, start=START - 10 * MINUTE)
        assert [*found] == [*market.oracle(SERIES, START - 10 * MINUTE, int(found.open_time[-1]) + MINUTE)]


def test_an_unknown_symbol_is_told_with_what_may_have_been_meant(market: LocalReplay, budget: RequestBudget) -> None:
    rest, series = client(market, budget), SeriesKey.of("BTCUSD", "1m")
    with pytest.raises(UnknownSymbolError, match="BTCUSD"):
        rest.candles(series, start=START - 10 * MINUTE)
    rest.pairs()
    with pytest.raises(UnknownSymbolError, match="BTCUSDT"):
        rest.candles(series, start=START - 10 * MINUTE)


def test_pairs_have_the_sizes_that_orders_need(market: LocalReplay, budget: RequestBudget) -> None:
    pair = next(pair for pair in client(market, budget).pairs() if pair.symbol == "BTCUSDT")
    assert (pair.base_asset, pair.quote_asset, pair.status) == ("BTC", "USDT", "TRADING")
    assert pair.tick_size > 0
    assert pair.step_size > 0


@pytest.mark.parametrize("status", [429, 418])
def test_rest_429_418_honoured(market: LocalReplay, redis: Redis, status: int) -> None:
    """P18, F27, F28: a refusal to one process is honoured by all."""
    market.fault("http", status=status, retry_after=30)
    first, second = (client(market, RequestBudget(redis, patience_seconds=0.5)) for _ in range(2))
    with pytest.raises(RateLimitedError) as refused:
        first.server_time(attempts=1)
    assert 20 < refused.value.retry_after_seconds <= 30
    assert re.search(r"(banned|rate limited) by .* until 20[0-9T:-]+Z", str(refused.value))
    asked = market.status()["requests"]
    with pytest.raises(RateLimitedError):
        second.server_time(attempts=1)
    assert market.status()["requests"] == asked


@pytest.mark.parametrize("status", [451, 403])
def test_a_location_that_is_refused_is_explained(market: LocalReplay, budget: RequestBudget, status: int) -> None:
    market.fault("http", status=status, count=None)
    with pytest.raises(ExchangeError) as refused:
        client(market, budget).server_time(attempts=1)
    assert str(status) in str(refused.value)


def test_a_server_error_is_asked_again(market: LocalReplay, budget: RequestBudget) -> None:
    market.fault("http", status=503, count=2)
    assert client(market, budget).server_time() == market.time()


@pytest.mark.parametrize("kind", ["html", "truncated", "empty", "scalar", "object"])
def test_rest_bad_body(market: LocalReplay, budget: RequestBudget, kind: str) -> None:
    """F34: a body that makes no sense is a named error and never candles."""
    market.fault("bad_body", kind=kind, path="klines", count=None)
    with pytest.raises((BadAnswerError, ExchangeUnavailableError)):
        client(market, budget).candles(SERIES, start=START - 10 * MINUTE)


def test_rest_timeouts_total(market: LocalReplay, budget: RequestBudget) -> None:
    """F29: an answer that drips ends at the deadline. A read timeout alone starts anew with each byte."""
    market.fault("slow", bytes_per_second=5, path="klines", count=None)
    rest = client(market, budget, total_seconds=0.5)
    with pytest.raises(ExchangeUnavailableError, match=r"no whole answer .* in 0\.5 s"):
        rest.candles(SERIES, start=START - 10 * MINUTE)


@pytest.mark.parametrize("kind", ["huge", "gzip_bomb"])
def test_a_body_over_its_cap_is_refused(market: LocalReplay, budget: RequestBudget, kind: str) -> None:
    market.fault("bad_body", kind=kind, path="klines", count=None)
    with pytest.raises(BadAnswerError, match="2,000,000 bytes"):
        client(market, budget).candles(SERIES, start=START - 10 * MINUTE)


def test_times_in_microseconds_are_read_as_what_they_are(market: LocalReplay, budget: RequestBudget) -> None:
    market.fault("wrong_unit", path="klines", count=None)
    found = client(market, budget).candles(SERIES, start=START - 10 * MINUTE, end=START - 5 * MINUTE)
    assert found.open_time.tolist() == market.oracle(SERIES, START - 10 * MINUTE, START - 5 * MINUTE).open_time.tolist()


@pytest.mark.parametrize("url", ["http://192.0.2.1", "ftp://127.0.0.1", "https://", "http://localhost.example"])
def test_plain_http_is_for_loopback_only(budget: RequestBudget, url: str) -> None:
    with pytest.raises(InvalidInputError, match="https://"):
        BinanceRest(url, budget=budget)
