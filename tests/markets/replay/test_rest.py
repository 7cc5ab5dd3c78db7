"""The replay exchange's REST: ranges, limits, errors, weights, as Binance has them."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from markets.series import SeriesKey
from tests.replaying import START, LocalReplay, replay

MINUTE = 60_000


@pytest.fixture(scope="module")
def exchange() -> Iterator[LocalReplay]:
    # The clock stands in the middle of a minute, so that answers can be told exactly.
    with replay(symbols=["BTCUSDT", "ETHUSDT"], speed=0, start=START + 30_000) as running:
        yield running


def klines(exchange: LocalReplay, **parameters: Any) -> Any:
    asked = {"symbol": "BTCUSDT", "interval": "1m"} | parameters
    return requests.get(f"{exchange.url}/api/v3/klines", params=asked, timeout=10).json()


def minutes(rows: list[list[Any]]) -> list[int]:
    return [(row[0] - START) // MINUTE for row in rows]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"limit": 3}, [-2, -1, 0]),
        ({"startTime": START - 5 * MINUTE, "limit": 3}, [-5, -4, -3]),
        ({"startTime": START - 5 * MINUTE + 1, "limit": 2}, [-4, -3]),
        ({"endTime": START - 5 * MINUTE, "limit": 2}, [-6, -5]),
        ({"endTime": START - 5 * MINUTE - 1, "limit": 2}, [-7, -6]),
        ({"endTime": START, "limit": 2}, [-1, 0]),
        ({"endTime": START - 1, "limit": 2}, [-2, -1]),
        ({"startTime": START - 5 * MINUTE, "endTime": START - 3 * MINUTE}, [-5, -4, -3]),
        ({"startTime": START - 2 * MINUTE}, [-2, -1, 0]),
        ({"startTime": (START - 2 * MINUTE) * 1000, "limit": 1}, [-2]),
        ({"startTime": START + 1}, []),
        ({"startTime": START - MINUTE, "endTime": START - 2 * MINUTE}, []),
    ],
)
def test_bounds_are_inclusive_and_of_the_open_time(
    exchange: LocalReplay, bounds: dict[str, int], expected: list[int]
) -> None:
    assert minutes(klines(exchange, **bounds)) == expected


def test_without_a_limit_500_are_answered_and_never_more_than_1000(exchange: LocalReplay) -> None:
    assert len(klines(exchange)) == 500
    assert len(klines(exchange, limit=1001)) == 1000
    assert len(klines(exchange, limit=5000)) == 1000


def test_pages_from_a_start_meet_without_gap_or_overlap(exchange: LocalReplay) -> None:
    start, rows = START - 2_500 * MINUTE, []
    while page := klines(exchange, startTime=start, limit=1000):
        rows += page
        start = page[-1][0] + 1
    assert minutes(rows) == list(range(-2_500, 1))


def test_the_last_row_is_the_open_candle_and_the_others_are_the_markets(exchange: LocalReplay) -> None:
    rows = klines(exchange, limit=100)
    oracle = exchange.oracle(SeriesKey.of("BTCUSDT", "1m"), START - 99 * MINUTE, START + MINUTE)
    told = [[row[0], *map(float, row[1:6])] for row in rows]
    assert told[:-1] == [list(candle) for candle in oracle][:-1]
    assert told[-1][0] == START
    assert told[-1][1] == oracle.open[-1]
    assert 0 < told[-1][5] < oracle.volume[-1]
    assert rows[-1][6] == START + MINUTE - 1
    assert all(isinstance(row[1], str) and len(row) == 12 for row in rows)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"symbol": "NOSUCH"}, -1121),
        ({"symbol": "btcusdt"}, -1100),
        ({"symbol": ""}, -1105),
        ({"interval": "1D"}, -1120),
        ({"interval": "1mo"}, -1120),
        ({"startTime": "None"}, -1100),
        ({"endTime": "2024-01-01"}, -1100),
        ({"limit": "None"}, -1100),
        ({"limit": 0}, -1130),
        ({"start_time": 5}, -1104),
        ({"timeZone": "25"}, -1130),
    ],
)
def test_a_bad_parameter_gets_binances_code(exchange: LocalReplay, parameters: dict[str, Any], code: int) -> None:
    asked = {"symbol": "BTCUSDT", "interval": "1m"} | parameters
    answer = requests.get(f"{exchange.url}/api/v3/klines", params=asked, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_missing_parameter_is_named(exchange: LocalReplay) -> None:
    answer = requests.get(f"{exchange.url}/api/v3/klines?symbol=BTCUSDT", timeout=10)
    assert answer.json() == {
        "code": -1102,
        "msg": "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.",
    }


def test_microseconds_are_told_to_who_asks_for_them(exchange: LocalReplay) -> None:
    answer = requests.get(f"{exchange.url}/api/v3/time", headers={"X-MBX-TIME-UNIT": "microsecond"}, timeout=10)
    assert answer.json()["serverTime"] == (START + 30_000) * 1000
    refused = requests.get(f"{exchange.url}/api/v3/time", headers={"X-MBX-TIME-UNIT": "ns"}, timeout=10)
    assert refused.json()["code"] == -1194


def test_exchange_info_tells_steps_and_limits(exchange: LocalReplay) -> None:
    told = requests.get(f'{exchange.url}/api/v3/exchangeInfo?symbols=["ETHUSDT"]', timeout=10).json()
    (pair,) = told["symbols"]
    filters = {each["filterType"]: each for each in pair["filters"]}
    assert (pair["symbol"], pair["status"], pair["baseAsset"]) == ("ETHUSDT", "TRADING", "ETH")
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert told["rateLimits"][0] == {
        "rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000,
    }  # fmt: skip
    assert requests.get(f"{exchange.url}/api/v3/exchangeInfo?symbol=NOSUCH", timeout=10).json()["code"] == -1121


def test_24h_statistics_are_those_of_the_candles(exchange: LocalReplay) -> None:
    told = requests.get(f"{exchange.url}/api/v3/ticker/24hr?symbol=BTCUSDT", timeout=10).json()
    oracle = exchange.oracle(SeriesKey.of("BTCUSDT", "15m"), START - 86_400_000 + 15 * MINUTE, START)
    assert float(told["highPrice"]) >= oracle.high.max()
    assert float(told["volume"]) > 0
    everything = requests.get(f"{exchange.url}/api/v3/ticker/24hr?type=MINI", timeout=10).json()
    assert [each["symbol"] for each in everything] == ["BTCUSDT", "ETHUSDT"]
    assert "priceChange" not in everything[0]


def test_weight_beyond_the_limit_is_429_and_going_on_418() -> None:
    with replay(symbols=["BTCUSDT"], speed=1) as exchange:
        exchange.fault("limits", weight=45)
        answers = [requests.get(f"{exchange.url}/api/v3/exchangeInfo", timeout=10) for _ in range(7)]
        # A new minute may begin in between and give two more answers.
        codes = [answer.status_code for answer in answers]
        assert codes[:2] == [200, 200]
        assert int(answers[0].headers["X-MBX-USED-WEIGHT-1M"]) == 20
        assert 429 in codes
        refusal = next(answer for answer in answers if answer.status_code == 429)
        assert refusal.json()["code"] == -1003
        assert 0 < int(refusal.headers["Retry-After"]) <= 60
        for _ in range(20):
            last = requests.get(f"{exchange.url}/api/v3/exchangeInfo", timeout=10)
        assert last.status_code == 418
        assert int(last.headers["Retry-After"]) > 60
        assert "banned until" in last.json()["msg"]
