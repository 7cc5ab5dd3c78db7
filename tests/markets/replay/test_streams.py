"""The replay exchange's streams: frames, control messages and limits, as Binance has them."""

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import requests
import websocket

from markets.replay.feed import closing_latency
from markets.series import SeriesKey
from tests.markets.replay.listening import listening
from tests.replaying import START, LocalReplay, replay

MINUTE = 60_000
SERIES = SeriesKey.of("BTCUSDT", "1m")


@pytest.fixture(scope="module")
def exchange() -> Iterator[LocalReplay]:
    with replay(symbols=["BTCUSDT", "ETHUSDT"], speed=300) as running:
        yield running


def test_every_candle_closes_once_in_order_and_as_rest_has_it(exchange: LocalReplay) -> None:
    with listening(exchange) as client:
        klines = client.closed(6)
    first = klines[0]["t"]
    assert [kline["t"] for kline in klines] == [first + n * MINUTE for n in range(6)]
    for kline, candle in zip(klines, exchange.oracle(SERIES, first, first + 6 * MINUTE), strict=True):
        assert [float(kline[name]) for name in "ohlcv"] == list(candle)[1:]
    asked = {"symbol": "BTCUSDT", "interval": "1m", "startTime": first, "limit": 6}
    rows = requests.get(f"{exchange.url}/api/v3/klines", params=asked, timeout=10).json()
    told = [[k["t"], *(k[name] for name in "ohlcv"), k["T"], k["q"], k["n"], k["V"], k["Q"], "0"] for k in klines]
    assert told == rows


def test_a_forming_candle_only_grows_and_is_always_a_legal_candle() -> None:
    with replay(symbols=["BTCUSDT"], speed=30) as exchange, listening(exchange) as client:
        client.closed(1)
        frames = client.collect(9)
    whole = [frame["k"] for frame in frames if frame["k"]["t"] == frames[0]["k"]["t"]]
    assert len(whole) >= 3
    assert whole[-1]["x"]
    for before, after in pairwise(whole):
        assert before["o"] == after["o"]
        assert before["n"] <= after["n"]
        for name in ("v", "q", "V", "Q"):
            assert float(before[name]) <= float(after[name])
        assert float(after["l"]) <= float(before["l"]) <= float(before["c"]) <= float(before["h"]) <= float(after["h"])
    times = [frame["E"] for frame in frames]
    assert times == sorted(times)


def test_the_closing_frame_comes_between_5_ms_and_2_s_after_the_close() -> None:
    latencies = [closing_latency(SERIES, START + n * MINUTE) for n in range(2_000)]
    assert min(latencies) >= 5
    assert max(latencies) <= 2_000
    assert sum(latency > 700 for latency in latencies) > 200


def test_a_candle_without_trades_closes_with_no_trade_ids() -> None:
    quiet = [f"{letter}QUIETBTC" for letter in "ABCDEFGHIJKLMNOP"]
    with replay(symbols=quiet, speed=600) as exchange:
        symbol, at = next(_silent_minutes(exchange, quiet))
        exchange.set_clock(now=at + 10_000)
        with listening(exchange, f"/ws/{symbol.lower()}@kline_1m") as client:
            kline = client.closed(1)[0]
        assert (kline["f"], kline["L"], kline["n"], kline["v"]) == (-1, -1, 0, "0.00000000")
        assert kline["o"] == kline["h"] == kline["l"] == kline["c"]


def test_all_timeframes_of_a_pair_agree_at_a_common_close() -> None:
    names = "/".join(f"btcusdt@kline_{each}" for each in ("1m", "5m", "15m", "1h", "4h", "1d"))
    midnight = START - START % 86_400_000
    with (
        replay(symbols=["BTCUSDT"], speed=0, start=midnight - 1_000) as exchange,
        listening(exchange, f"/stream?streams={names}") as client,
    ):
        exchange.set_clock(speed=4)
        closed: dict[str, dict[str, Any]] = {}
        while len(closed) < 6:
            kline = client.recv()["data"]["k"]
            if kline["x"]:
                closed[kline["i"]] = kline
    assert {kline["T"] for kline in closed.values()} == {midnight - 1}
    assert len({kline["c"] for kline in closed.values()}) == 1
    assert float(closed["1d"]["v"]) > float(closed["1h"]["v"]) > float(closed["1m"]["v"])


def test_combined_streams_wrap_what_raw_ones_say(exchange: LocalReplay) -> None:
    with listening(exchange, "/stream?streams=btcusdt@kline_1m/ethusdt@kline_5m") as client:
        told = client.collect(8)
    assert {each["stream"] for each in told} == {"btcusdt@kline_1m", "ethusdt@kline_5m"}
    assert all(each["data"]["e"] == "kline" for each in told)
    assert {each["data"]["s"] for each in told} == {"BTCUSDT", "ETHUSDT"}


def test_subscriptions_are_made_listed_and_ended(exchange: LocalReplay) -> None:
    with listening(exchange, "/stream") as client:
        assert client.ask(method="SUBSCRIBE", params=["btcusdt@kline_1m", "ethusdt@kline_1m"], id=1) == {
            "result": None, "id": 1,
        }  # fmt: skip
        assert client.ask(method="LIST_SUBSCRIPTIONS", id="abc")["result"] == ["btcusdt@kline_1m", "ethusdt@kline_1m"]
        client.ask(method="UNSUBSCRIBE", params=["btcusdt@kline_1m"], id=3)
        assert {each["stream"] for each in client.collect(4)} == {"ethusdt@kline_1m"}


def test_an_unknown_stream_is_accepted_and_never_says_anything(exchange: LocalReplay) -> None:
    with listening(exchange, "/ws") as client:
        names = ["nosuch@kline_1m", "BTCUSDT@kline_1m", "btcusdt@kline_1M", "ethusdt@kline_1m"]
        assert client.ask(method="SUBSCRIBE", params=names, id=1) == {"result": None, "id": 1}
        assert {each["s"] for each in client.collect(4)} == {"ETHUSDT"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", 3),
        ("[]", 2),
        ('{"method":"NONSENSE","id":1}', 2),
        ('{"method":"SUBSCRIBE","params":"btcusdt@kline_1m","id":1}', 2),
        ('{"method":"SUBSCRIBE","params":["nostream"],"id":1}', 2),
        ('{"method":"SUBSCRIBE","params":["btcusdt@kline_1m"],"id":1.5}', 2),
        ('{"method":"SET_PROPERTY","params":["combined","yes"],"id":1}', 1),
        ('{"method":"GET_PROPERTY","params":["colour"],"id":1}', 0),
    ],
)
def test_a_bad_message_is_answered_with_binances_code(exchange: LocalReplay, text: str, code: int) -> None:
    with listening(exchange, "/ws") as client:
        client.socket.send(text)
        assert client.recv()["error"]["code"] == code


def test_the_wrapper_is_a_property_of_the_connection(exchange: LocalReplay) -> None:
    with listening(exchange) as client:
        assert client.ask(method="GET_PROPERTY", params=["combined"], id=1)["result"] is False
        client.ask(method="SET_PROPERTY", params=["combined", True], id=2)
        assert client.recv()["stream"] == "btcusdt@kline_1m"


def test_the_1025th_stream_of_a_connection_is_refused(exchange: LocalReplay) -> None:
    with listening(exchange, "/ws") as client:
        names = [f"x{n}usdt@kline_1m" for n in range(1_024)]
        assert client.ask(method="SUBSCRIBE", params=names, id=1) == {"result": None, "id": 1}
        assert client.ask(method="SUBSCRIBE", params=["btcusdt@kline_1m"], id=2)["error"]["code"] == 4


def test_more_than_five_messages_a_second_end_the_connection(exchange: LocalReplay) -> None:
    with listening(exchange, "/ws") as client:
        for n in range(6):
            client.send(method="LIST_SUBSCRIPTIONS", id=n)
        assert client.end() == 1008


def test_a_ping_is_answered_with_its_own_words(exchange: LocalReplay) -> None:
    with listening(exchange, "/ws") as client:
        client.socket.ping("how are you")
        assert client.socket.recv_data(control_frame=True) == (websocket.ABNF.OPCODE_PONG, b"how are you")


def test_a_connection_ends_after_24_hours_of_the_exchanges_clock() -> None:
    with replay(symbols=["BTCUSDT"], speed=600) as exchange, listening(exchange, "/ws") as client:
        exchange.set_clock(now="+23h")
        assert client.ask(method="LIST_SUBSCRIPTIONS", id=1)["result"] == []
        exchange.set_clock(now="+59m")
        assert client.end() == 1001


def test_a_slow_machine_delays_closes_and_drops_none() -> None:
    with replay(symbols=["BTCUSDT"], speed=3_000) as exchange, listening(exchange) as client:
        time.sleep(0.2)
        times = [kline["t"] for kline in client.closed(30)]
    assert times == [times[0] + n * MINUTE for n in range(30)]


def _silent_minutes(exchange: LocalReplay, symbols: list[str]) -> Iterator[tuple[str, int]]:
    for symbol in symbols:
        day = exchange.oracle(SeriesKey.of(symbol, "1m"), START, START + 86_400_000)
        assert day.flow is not None
        yield from ((symbol, time) for time in day.open_time[day.flow.trades == 0].tolist())
