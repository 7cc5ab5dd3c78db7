"""``manage.py replay_exchange``: one ready line, one line for a mistake, an ordinary end on a signal."""

import json
import signal
import socket
from pathlib import Path

import pytest
import requests
from django.core.management import CommandError, call_command

from markets.management.commands import replay_exchange as command
from markets.series import SeriesKey, Timeframe
from markets.store import CandleStore, Source
from tests.factories import shared_file, walk
from tests.replaying import START, replay_process


@pytest.mark.processes
def test_it_says_where_it_is_ready_serves_and_ends_with_code_0(tmp_path: Path) -> None:
    script = tmp_path / "faults.jsonl"
    script.write_text(json.dumps({"verb": "http", "path": "/ping", "status": 451, "count": None}))
    arguments = ("--speed", "600", "--start", "2024-06-01T12:00:00", "--faults", str(script))
    with replay_process(*arguments, symbols=["BTCUSDT"], seed=3) as exchange:
        assert exchange.ready_line == (
            f"replay exchange ready on {exchange.url} (synthetic, seed 3, 1 symbol, 600x from 2024-06-01T12:00:00Z)"
        )
        assert START <= exchange.time() < START + 600_000 * 60
        assert requests.get(f"{exchange.url}/api/v3/ping", timeout=10).status_code == 451
        asked: dict[str, str | int] = {"symbol": "BTCUSDT", "interval": "1m", "startTime": START - 60_000, "limit": 1}
        (row,) = requests.get(f"{exchange.url}/api/v3/klines", params=asked, timeout=10).json()
        oracle = exchange.oracle(SeriesKey.of("BTCUSDT", "1m"), START - 60_000, START)
        assert float(row[4]) == oracle.close[0]
        exchange.process.send_signal(signal.SIGTERM)
        assert exchange.process.wait(timeout=15) == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--source", "nowhere.csv"], "there is no file nowhere.csv"),
        (["--symbols", "BTC/USDT"], "BTC/USDT"),
        (["--faults", "nowhere.json"], "nowhere.json"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(arguments: list[str], named: str) -> None:
    with pytest.raises(CommandError, match=named) as failure:
        call_command("replay_exchange", "--port", "0", *arguments)
    assert failure.value.returncode == 2
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("bad", [["--speed", "-1"], ["--speed", "fast"], ["--port", "70000"], ["--timeframe", "1M"]])
def test_a_bad_argument_ends_with_code_2(bad: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as failure:
        call_command("replay_exchange", *bad)
    assert failure.value.code == 2
    assert bad[0] in capsys.readouterr().err


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"127.0.0.1:{port}: the port is in use") as failure:
            call_command("replay_exchange", "--port", str(port))
    assert failure.value.returncode == 1


def _options(**given: object) -> dict[str, object]:
    return {"source": "synthetic", "symbols": None, "timeframe": None, "seed": 1} | given


def test_a_file_tells_its_pair_and_timeframe_and_begins_after_some_history() -> None:
    path = shared_file("candles/BTCUSDT-15m-2023.parquet")
    market, start, end = command.choose_market(_options(source=str(path)))
    assert list(market.listings) == ["BTCUSDT"]
    assert market.timeframes("BTCUSDT")[0] == "15m"
    assert start == 1_672_531_200_000 + 30 * 86_400_000
    # The last candle's close, and a little so that it is told to have closed.
    assert end is not None
    assert 0 < end - market.newest_before(SeriesKey.of("BTCUSDT", "15m"), end, 1).open_time[0] - 900_000 < 60_000


def test_the_timeframe_of_an_unnamed_file_is_found_in_its_candles(tmp_path: Path) -> None:
    candles = walk(1, 600, timeframe=Timeframe.M5)
    lines = ["open_time,open,high,low,close,volume", *(",".join(map(str, candle)) for candle in candles)]
    path = tmp_path / "prices.csv"
    path.write_text("\n".join(lines))
    market, start, _ = command.choose_market(_options(source=str(path), symbols="abcusdt"))
    assert market.timeframes("ABCUSDT")[0] == "5m"
    assert start == int(candles.open_time[0]) + 300 * 300_000


def test_the_store_is_replayed_from_its_last_day(tmp_path: Path) -> None:
    candles = walk(1, 4 * 1440, start=START)
    store = CandleStore(tmp_path / "candles")
    store.merge(SeriesKey.of("BTCUSDT", "1m"), candles, source=Source.FILE)
    market, start, end = command.stored_market(store, [])
    close = int(candles.open_time[-1]) + 60_000
    assert start == close - 86_400_000
    assert end is not None
    assert end > close
    told = market.candles(SeriesKey.of("BTCUSDT", "1h"), START, START + 3_600_000)
    assert told.close[0] == candles.close[59]


def test_an_empty_store_or_an_unknown_pair_of_it_is_one_line(tmp_path: Path) -> None:
    store = CandleStore(tmp_path / "candles")
    with pytest.raises(Exception, match="nothing is stored of BTCUSDT"):
        command.stored_market(store, ["BTCUSDT"])
