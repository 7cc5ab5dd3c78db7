"""The faults of streams: each does to a plain client what docs/replay.md says."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import pytest
import requests
import websocket

from markets.replay.garbage import garbage
from markets.series import SeriesKey
from tests.markets.replay.listening import Client, listening
from tests.replaying import START, LocalReplay, replay

MINUTE, SPEED = 60_000, 600
SERIES = SeriesKey.of("BTCUSDT", "1m")


@pytest.fixture
def exchange() -> Iterator[LocalReplay]:
    with replay(symbols=["BTCUSDT", "ETHUSDT"], speed=SPEED) as running:
        yield running


@pytest.fixture
def client(exchange: LocalReplay) -> Iterator[Client]:
    with listening(exchange) as listener:
        listener.recv()
        yield listener


@contextmanager
def going_on(exchange: LocalReplay) -> Iterator[Client]:
    """Let an exchange that stood still go on, heard from its next frame on."""
    with listening(exchange) as listener:
        exchange.set_clock(speed=SPEED)
        yield listener


def test_rst_ends_the_connection_with_a_reset(exchange: LocalReplay, client: Client) -> None:
    exchange.fault("rst")
    with pytest.raises(ConnectionResetError):
        client.collect(1_000)


def test_rst_can_strike_on_each_tenth_frame(exchange: LocalReplay, client: Client) -> None:
    fault = exchange.fault("rst", every=10, count=None)
    for expected in (1, 2):
        with listening(exchange) as listener, pytest.raises(ConnectionResetError):
            listener.collect(1_000)
        assert exchange.faults()[0]["struck"] >= expected
    assert fault["left"] is None


def test_drop_ends_the_connection_without_a_close_frame(exchange: LocalReplay, client: Client) -> None:
    exchange.fault("drop")
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        client.end()


def test_close_says_why(exchange: LocalReplay, client: Client) -> None:
    exchange.fault("close", code=1012, reason="restart")
    assert client.end() == 1012


def test_a_frozen_socket_says_nothing_and_answers_no_ping(exchange: LocalReplay, client: Client) -> None:
    exchange.fault("freeze")
    client.socket.settimeout(0.4)
    client.socket.ping("there?")
    with pytest.raises(websocket.WebSocketTimeoutException):
        client.pong()


def test_a_socket_can_freeze_in_the_middle_of_a_frame(exchange: LocalReplay, client: Client) -> None:
    exchange.fault("freeze", mid_frame=True)
    client.socket.settimeout(0.4)
    with pytest.raises(websocket.WebSocketTimeoutException):
        client.collect(1_000)
    assert client.socket.frame_buffer.length == 500


def test_a_stalled_socket_answers_pings_and_carries_no_data(exchange: LocalReplay, client: Client) -> None:
    exchange.fault("stall")
    client.socket.ping("there?")
    assert client.pong()
    client.socket.settimeout(0.4)
    with pytest.raises(websocket.WebSocketTimeoutException):
        client.recv()
    exchange.clear_faults()
    assert client.recv()["s"] == "BTCUSDT"


def test_server_shutdown_is_announced_before_the_end(exchange: LocalReplay, client: Client) -> None:
    exchange.fault("server_shutdown", seconds=120)
    announced = client.next(lambda told: told["e"] == "serverShutdown")
    assert client.end() == 1001
    assert exchange.time() - announced["E"] >= 120_000


def test_a_fault_waits_for_its_time(exchange: LocalReplay, client: Client) -> None:
    fault = exchange.fault("close", at="+3m")
    assert client.next(lambda told: told["E"] > fault["at"] - 2 * MINUTE)
    assert client.end() == 1001
    assert exchange.time() >= fault["at"]


def test_only_who_hears_the_named_pair_is_cut_off(exchange: LocalReplay, client: Client) -> None:
    with listening(exchange, "/ws/ethusdt@kline_1m") as other:
        exchange.fault("close", symbol="ETHUSDT")
        assert other.end() == 1001
        assert client.recv()["s"] == "BTCUSDT"


def test_accept_close_ends_each_new_connection_at_once(exchange: LocalReplay, client: Client) -> None:
    exchange.fault("accept_close", count=2)
    for _ in range(2):
        with listening(exchange) as other:
            assert other.end() == 1001
    with listening(exchange) as other:
        assert other.recv()["s"] == "BTCUSDT"
    assert exchange.status()["connections_made"] == 4


def test_refuse_resets_whoever_comes_and_leaves_the_others(exchange: LocalReplay, client: Client) -> None:
    exchange.fault("refuse")
    with pytest.raises((ConnectionError, websocket.WebSocketException)), listening(exchange):
        pass
    assert client.recv()["s"] == "BTCUSDT"
    exchange.clear_faults()
    with listening(exchange) as other:
        assert other.recv()["s"] == "BTCUSDT"


def test_a_handshake_can_be_answered_with_a_status(exchange: LocalReplay) -> None:
    exchange.fault("http", path="/ws", status=429, retry_after=7)
    with pytest.raises(websocket.WebSocketBadStatusException) as refused, listening(exchange):
        pass
    assert refused.value.status_code == 429


def test_a_subscription_can_be_refused_in_both_forms_or_left_unanswered(exchange: LocalReplay) -> None:
    with listening(exchange, "/ws") as client:
        exchange.fault("refuse_subscribe")
        told = client.ask(method="SUBSCRIBE", params=["btcusdt@kline_1m"], id=1)
        assert told == {"error": {"code": 2, "msg": "Invalid request: invalid stream"}, "id": 1}
        exchange.fault("refuse_subscribe", code=4, msg="Too many subscriptions", flat=True)
        told = client.ask(method="SUBSCRIBE", params=["btcusdt@kline_1m"], id=2)
        assert told == {"code": 4, "msg": "Too many subscriptions", "id": 2}
        exchange.fault("ignore_subscribe")
        client.send(method="SUBSCRIBE", params=["btcusdt@kline_1m"], id=3)
        assert client.ask(method="LIST_SUBSCRIPTIONS", id=4) == {"result": [], "id": 4}


def test_mute_silences_one_pair_until_it_is_cleared(exchange: LocalReplay) -> None:
    with listening(exchange, "/stream?streams=btcusdt@kline_1m/ethusdt@kline_1m") as client:
        client.collect(4)
        exchange.fault("mute", symbol="ETHUSDT")
        after = exchange.time() + MINUTE
        client.next(lambda told: told["data"]["E"] > after)
        assert {each["data"]["s"] for each in client.collect(6)} == {"BTCUSDT"}
        exchange.clear_faults()
        assert client.next(lambda told: told["data"]["s"] == "ETHUSDT")


def test_omit_close_leaves_out_so_many_closing_frames(exchange: LocalReplay, client: Client) -> None:
    before = client.closed(1)
    exchange.fault("omit_close", count=2)
    times = [kline["t"] for kline in before + client.closed(8)]
    assert sorted(set(np.diff(times).tolist())) == [MINUTE, 3 * MINUTE]


def test_late_close_sends_the_closing_frame_later(exchange: LocalReplay) -> None:
    exchange.set_clock(speed=0)
    exchange.fault("late_close", seconds=150)
    with going_on(exchange) as client:
        klines = client.closed(5)
    times = [kline["t"] for kline in klines]
    assert times != sorted(times)
    assert len(set(times)) == 5
    assert sorted(times) == list(range(min(times), min(times) + 5 * MINUTE, MINUTE))


def test_dup_repeats_and_reorder_swaps_closing_frames(exchange: LocalReplay, client: Client) -> None:
    exchange.fault("dup", times=2)
    times = [kline["t"] for kline in client.closed(8)]
    assert sorted(np.diff(times).tolist()) == [0, 0, *[MINUTE] * 5]
    before = client.closed(1)
    exchange.fault("reorder", by=1)
    times = [kline["t"] for kline in before + client.closed(7)]
    assert (np.diff(times) < 0).sum() == 1
    assert sorted(times) == list(range(min(times), min(times) + 8 * MINUTE, MINUTE))


@pytest.mark.parametrize("verb", ["corrupt", "truncate"])
def test_a_spoiled_frame_is_no_json_and_the_next_one_is_sound(exchange: LocalReplay, client: Client, verb: str) -> None:
    exchange.fault(verb, which="closed")
    with pytest.raises(json.JSONDecodeError):
        client.collect(1_000)
    assert client.recv()["s"] == "BTCUSDT"


def test_bad_numbers_prices_and_times_come_in_closing_frames(exchange: LocalReplay, client: Client) -> None:
    # A sound closing frame may be under way when a fault is made.
    exchange.fault("bad_number", field="h", value="1_000")
    assert client.next(lambda told: told["k"]["h"] == "1_000")["k"]["x"]
    exchange.fault("bad_ohlc")
    assert client.next(lambda told: float(told["k"]["h"]) < float(told["k"]["l"]))["k"]["x"]
    exchange.fault("offset", seconds=14)
    assert client.next(lambda told: told["k"]["t"] % MINUTE == 14_000)["k"]["x"]
    exchange.fault("future", days=2)
    ahead = client.next(lambda told: told["k"]["t"] > exchange.time() + 86_400_000)
    assert ahead["k"]["x"]


def test_old_bar_repeats_a_candle_of_before(exchange: LocalReplay, client: Client) -> None:
    newest = client.closed(1)[0]["t"]
    exchange.fault("old_bar", candles=3)
    assert client.next(lambda told: told["k"]["t"] < newest)["k"]["x"]


def test_burst_multiplies_frames_without_a_closing_frame_lost(exchange: LocalReplay, client: Client) -> None:
    exchange.fault("burst", times=20, which="forming")
    times = [kline["t"] for kline in client.closed(4)]
    assert times == list(range(times[0], times[0] + 4 * MINUTE, MINUTE))
    assert exchange.status()["frames_sent"] > 60


def test_a_revision_is_told_by_rest_some_seconds_after_the_close(exchange: LocalReplay) -> None:
    exchange.set_clock(speed=0)
    exchange.fault("revise", seconds=30, change=0.01)
    with going_on(exchange) as client:
        kline = client.closed(1)[0]
    exchange.wait_until(kline["T"] + 31_000)
    (row,) = _rows(exchange, kline["t"])
    truth = exchange.server.market.candles(SERIES, kline["t"], kline["t"] + 1)
    assert float(kline["c"]) == truth.close[0]
    assert float(row[4]) == pytest.approx(truth.close[0] * 1.01, rel=1e-4)
    assert float(row[4]) == exchange.oracle(SERIES, kline["t"], kline["t"] + 1).close[0]


def test_a_revision_can_come_as_a_second_closing_frame(exchange: LocalReplay) -> None:
    exchange.set_clock(speed=0)
    exchange.fault("revise", seconds=90, where="stream")
    with going_on(exchange) as client:
        klines = client.closed(5)
    times = [kline["t"] for kline in klines]
    (twice,) = {time for time in times if times.count(time) == 2}
    first, second = [kline for kline in klines if kline["t"] == twice]
    assert first["c"] != second["c"]
    assert float(_rows(exchange, twice)[0][4]) == float(second["c"])


def test_a_candle_of_long_ago_can_be_revised(exchange: LocalReplay) -> None:
    at = START - 50 * MINUTE
    before = _rows(exchange, at)
    exchange.fault("revise", symbol="BTCUSDT", timeframe="1m", open_time=at)
    assert _rows(exchange, at) != before
    assert _rows(exchange, at - MINUTE)[0][0] == at - MINUTE


@pytest.mark.parametrize("kind", ["any", "nested", "binary", "huge", "empty", "type"])
def test_garbage_comes_beside_the_data(exchange: LocalReplay, client: Client, kind: str) -> None:
    exchange.fault("garbage", kind=kind, frames=3)
    good, bad = 0, 0
    while good < 3 or bad < 3:
        data = client.socket.recv()
        try:
            told = json.loads(data)
            is_good = isinstance(told, dict) and told.get("E", 0) > START
        except (ValueError, RecursionError):
            is_good = False
        good, bad = good + is_good, bad + (not is_good)
    assert bad == 3


def test_garbage_is_the_same_for_a_seed() -> None:
    first, second, other = (list(islice(garbage("any", seed=seed), 50)) for seed in (7, 7, 8))
    assert first == second != other


def test_a_hole_has_no_frames_and_no_rows(exchange: LocalReplay) -> None:
    exchange.set_clock(speed=0)
    start = SERIES.timeframe.ceil(exchange.time()) + MINUTE
    exchange.fault("hole", at=start, minutes=3, symbol="BTCUSDT")
    with going_on(exchange) as client:
        times = [kline["t"] for kline in client.closed(6)]
    assert not set(times) & {start, start + MINUTE, start + 2 * MINUTE}
    assert start + 3 * MINUTE in times
    assert [row[0] for row in _rows(exchange, start, limit=1)] == [start + 3 * MINUTE]
    assert len(exchange.oracle(SERIES, start, start + 4 * MINUTE)) == 1


def _rows(exchange: LocalReplay, start: int, limit: int = 1) -> Any:
    asked: dict[str, Any] = {"symbol": "BTCUSDT", "interval": "1m", "startTime": start, "limit": limit}
    return requests.get(f"{exchange.url}/api/v3/klines", params=asked, timeout=10).json()
