"""The faults of requests, of the clock and of what REST says: each as docs/replay.md tells it."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from markets.replay.faults import read_script
from markets.replay.verbs import VERBS
from markets.series import SeriesKey
from tests.replaying import START, LocalReplay, replay

MINUTE = 60_000
SERIES = SeriesKey.of("BTCUSDT", "1m")


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalReplay]:
    with replay(symbols=["BTCUSDT", "ETHUSDT"], speed=0, start=START + 500) as running:
        yield running


@pytest.fixture
def exchange(shared: LocalReplay) -> Iterator[LocalReplay]:
    yield shared
    shared.clear_faults()
    shared.set_clock(now=START + 500, speed=0)


def get(exchange: LocalReplay, path: str = "/api/v3/time", *, timeout: float = 10, **parameters: Any) -> Any:
    return requests.get(f"{exchange.url}{path}", params=parameters, timeout=timeout)


def newest(exchange: LocalReplay, count: int = 2, symbol: str = "BTCUSDT") -> list[list[Any]]:
    rows: list[list[Any]] = get(exchange, "/api/v3/klines", symbol=symbol, interval="1m", limit=count).json()
    return rows


@pytest.mark.parametrize(
    ("status", "code", "retry_after"),
    [(429, -1003, "5"), (418, -1003, "120"), (451, 0, None), (500, -1000, None), (503, -1008, None)],
)
def test_http_answers_so_many_requests_with_a_status(
    exchange: LocalReplay, status: int, code: int, retry_after: str | None
) -> None:
    exchange.fault("http", status=status, count=2)
    answers = [get(exchange) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [status, status, 200]
    assert answers[0].json()["code"] == code
    assert answers[0].headers.get("Retry-After") == retry_after


def test_a_403_is_a_page_and_no_json(exchange: LocalReplay) -> None:
    exchange.fault("http", status=403)
    answer = get(exchange)
    assert (answer.status_code, answer.headers["Content-Type"]) == (403, "text/html")
    assert "cloudfront" in answer.text


def test_a_fault_can_be_for_one_path_one_pair_or_one_timeframe(exchange: LocalReplay) -> None:
    exchange.fault("http", path="/klines", symbol="ETHUSDT", timeframe="1m", count=None)
    assert get(exchange).status_code == 200
    assert get(exchange, "/api/v3/klines", symbol="BTCUSDT", interval="1m").status_code == 200
    assert get(exchange, "/api/v3/klines", symbol="ETHUSDT", interval="1h").status_code == 200
    assert get(exchange, "/api/v3/klines", symbol="ETHUSDT", interval="1m").status_code == 503


def test_every_third_request_can_fail(exchange: LocalReplay) -> None:
    exchange.fault("http", status=502, every=3, count=2)
    assert [get(exchange).status_code for _ in range(9)] == [200, 200, 502, 200, 200, 502, 200, 200, 200]


def test_a_timeout_answers_nothing(exchange: LocalReplay) -> None:
    exchange.fault("timeout")
    with pytest.raises(requests.ReadTimeout):
        get(exchange, timeout=0.3)
    assert get(exchange).status_code == 200


def test_a_slow_body_comes_drop_by_drop(exchange: LocalReplay) -> None:
    exchange.fault("slow", bytes_per_second=100)
    began = time.monotonic()
    assert get(exchange).json() == {"serverTime": START + 500}
    assert time.monotonic() - began > 0.15


def test_a_cut_body_ends_before_its_length(exchange: LocalReplay) -> None:
    exchange.fault("cut", share=0.5)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        get(exchange)


@pytest.mark.parametrize("kind", ["html", "truncated", "empty", "scalar", "object", "nested"])
def test_a_bad_body_has_status_200(exchange: LocalReplay, kind: str) -> None:
    exchange.fault("bad_body", kind=kind)
    answer = get(exchange, "/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=3)
    assert answer.status_code == 200
    try:
        assert not isinstance(answer.json(), list)
    except (requests.JSONDecodeError, RecursionError):
        assert kind in ("html", "truncated", "empty", "nested")


def test_a_gzip_bomb_is_small_on_the_wire(exchange: LocalReplay) -> None:
    exchange.fault("bad_body", kind="gzip_bomb")
    with requests.get(f"{exchange.url}/api/v3/time", stream=True, timeout=10) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert int(answer.headers["Content-Length"]) < 1_100_000


def test_refuse_resets_requests_and_leaves_the_controls(exchange: LocalReplay) -> None:
    exchange.fault("refuse")
    with pytest.raises(requests.ConnectionError):
        get(exchange)
    exchange.clear_faults()
    assert get(exchange).status_code == 200


def test_wrong_unit_answers_in_microseconds_unasked(exchange: LocalReplay) -> None:
    exchange.fault("wrong_unit")
    assert newest(exchange, 1)[0][0] == START * 1000
    assert newest(exchange, 1)[0][0] == START


def test_skew_moves_what_the_exchange_tells_and_not_its_candles(exchange: LocalReplay) -> None:
    exchange.fault("skew", seconds=-90)
    assert get(exchange).json()["serverTime"] == START + 500 - 90_000
    assert newest(exchange, 1)[0][0] == START


def test_lag_keeps_the_newest_candle_from_rest(exchange: LocalReplay) -> None:
    exchange.fault("lag", seconds=5)
    assert newest(exchange, 1)[0][0] == START - MINUTE
    exchange.set_clock(now=START + 5_500)
    assert newest(exchange, 1)[0][0] == START


def test_settle_tells_a_closed_candle_before_its_last_trades(exchange: LocalReplay) -> None:
    exchange.fault("settle", seconds=3)
    early = newest(exchange)[0]
    exchange.set_clock(now=START + 3_500)
    late = newest(exchange)[0]
    assert early[0] == late[0] == START - MINUTE
    assert float(early[5]) < float(late[5])
    assert float(late[4]) == exchange.oracle(SERIES, START - MINUTE, START).close[0]


def test_a_revision_is_not_known_before_its_time(exchange: LocalReplay) -> None:
    sound = newest(exchange, symbol="ETHUSDT")[0]
    # What was revised stays so: the pair that no other test of this exchange compares.
    exchange.fault("revise", symbol="ETHUSDT", open_time=START - MINUTE, seconds=30)
    assert newest(exchange, symbol="ETHUSDT")[0] == sound
    exchange.set_clock(now=START + 30_500)
    assert newest(exchange, symbol="ETHUSDT")[0][0] == sound[0]
    assert newest(exchange, symbol="ETHUSDT")[0][4] != sound[4]


def test_a_hole_does_not_shorten_pages(exchange: LocalReplay) -> None:
    exchange.fault("hole", at=START - 20 * MINUTE, until=START - 5 * MINUTE)
    rows = newest(exchange, 10)
    assert [(row[0] - START) // MINUTE for row in rows] == [-24, -23, -22, -21, -5, -4, -3, -2, -1, 0][-10:]
    asked: dict[str, Any] = {"symbol": "BTCUSDT", "interval": "1m", "startTime": START - 22 * MINUTE, "limit": 4}
    rows = get(exchange, "/api/v3/klines", **asked).json()
    assert [(row[0] - START) // MINUTE for row in rows] == [-22, -21, -5, -4]
    hour = get(exchange, "/api/v3/klines", symbol="BTCUSDT", interval="1h", limit=2).json()
    assert len(hour) == 2


def test_a_late_listing_is_a_hole_since_ever(exchange: LocalReplay) -> None:
    exchange.fault("hole", at=0, until=START - 3 * MINUTE, symbol="BTCUSDT")
    asked: dict[str, Any] = {"symbol": "BTCUSDT", "interval": "1m", "startTime": 0, "limit": 2}
    assert [row[0] for row in get(exchange, "/api/v3/klines", **asked).json()] == [
        START - 3 * MINUTE,
        START - 2 * MINUTE,
    ]


@pytest.mark.parametrize("how", ["break", "removed"])
def test_a_delisted_pair_trades_no_more(exchange: LocalReplay, how: str) -> None:
    exchange.fault("delist", symbol="ETHUSDT", how=how, at=START - 10 * MINUTE)
    listed = get(exchange, "/api/v3/exchangeInfo").json()["symbols"]
    statuses = {each["symbol"]: each["status"] for each in listed}
    assert statuses == {"BTCUSDT": "TRADING"} | ({"ETHUSDT": "BREAK"} if how == "break" else {})
    answer = get(exchange, "/api/v3/klines", symbol="ETHUSDT", interval="1m", limit=1)
    if how == "break":
        assert answer.json()[0][0] == START - 11 * MINUTE
    else:
        assert answer.json()["code"] == -1121
    assert newest(exchange, 1)[0][0] == START


def test_a_fault_holds_from_its_time_until_its_end(exchange: LocalReplay) -> None:
    exchange.fault("http", at="+1m", until="+2m", count=None)
    assert get(exchange).status_code == 200
    exchange.set_clock(now="+90s")
    assert get(exchange).status_code == 503
    exchange.set_clock(now="+60s")
    assert get(exchange).status_code == 200


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"verb": "rts"}, "rst"),
        ({"verb": None}, "unknown fault"),
        ({"verb": "http", "code": 429}, "takes no code"),
        ({"verb": "http", "status": "429"}, "status"),
        ({"verb": "http", "count": 0}, "count"),
        ({"verb": "http", "at": "soon"}, "+5m"),
        ({"verb": "http", "at": "9999-12-31T23:59-14:00"}, "+5m"),
        ({"verb": "dup", "which": "some"}, "closed, forming, all"),
        ({"verb": "mute", "timeframe": "1M"}, "timeframe"),
        ({"verb": "mute", "symbol": "BTC-USDT"}, "symbol"),
        ([1], "object"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_a_reason(exchange: LocalReplay, body: Any, named: str) -> None:
    answer = requests.post(f"{exchange.url}/replay/faults", json=body, timeout=10)
    assert answer.status_code == 422
    assert named in answer.json()["error"]
    assert exchange.faults() == []


def test_the_clock_pauses_jumps_and_goes_on(exchange: LocalReplay) -> None:
    clock = f"{exchange.url}/replay/clock"
    requests.post(clock, json={"speed": 600}, timeout=10)
    assert exchange.time() > START + 500
    paused = requests.post(clock, json={"paused": True}, timeout=10).json()
    assert (exchange.time(), paused["paused"]) == (paused["now"], True)
    jumped = requests.post(clock, json={"now": "2024-07-01T00:00:00Z"}, timeout=10).json()
    assert jumped["now"] == exchange.time() == 1_719_792_000_000
    assert requests.post(clock, json={"paused": False}, timeout=10).json()["speed"] == 600
    assert requests.post(clock, json={"speed": -1}, timeout=10).status_code == 422
    assert requests.post(clock, json={"sped": 1}, timeout=10).status_code == 422


def test_a_script_is_a_list_or_lines_with_comments() -> None:
    lines = b'# rehearse\n{"verb": "rst", "at": "+5m"}\n\n{"verb": "http", "status": 429}\n'
    assert read_script(lines) == [{"verb": "rst", "at": "+5m"}, {"verb": "http", "status": 429}]
    assert read_script(b'[{"verb": "rst"}]') == [{"verb": "rst"}]


def test_a_script_is_in_force_from_the_start() -> None:
    with replay(symbols=["BTCUSDT"], faults=[{"verb": "http", "status": 451, "count": None}]) as exchange:
        assert get(exchange).status_code == 451


def test_every_fault_is_in_the_documentation(request: pytest.FixtureRequest) -> None:
    text = (request.config.rootpath / "docs" / "replay.md").read_text()
    told = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    assert set(VERBS) <= told
