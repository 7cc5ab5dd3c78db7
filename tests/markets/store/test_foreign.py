"""Files of others: any unit, any order, any dirt; each row is a candle or counted."""

import io
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from markets.candles import COLUMNS, FLOW_COLUMNS, Candles, Intake
from markets.errors import InvalidInputError, NoCandlesError
from markets.series import SeriesKey, Timeframe
from markets.store import CandleStore, Source
from markets.store.foreign import read_foreign
from tests.factories import real_candles, shared_file, walk
from tests.markets.store.disks import same

T0 = 1_700_000_040_000
STEP = 60_000
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


def read(tmp_path: Path, text: str | bytes, timeframe: str = "1m") -> tuple[Candles, Intake]:
    path = tmp_path / "file"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_foreign(path, Timeframe(timeframe))


def row(time: object, open_: object = 1.5, volume: object = 10) -> str:
    return f"{time},{open_},2.5,1.0,2.0,{volume},0,5,7,1,2,0"


def rows(n: int = 5) -> str:
    return "\n".join(row(T0 + at * STEP) for at in range(n))


@pytest.mark.parametrize(
    "text",
    [
        rows(),
        f"{HEADER}\n{rows()}\n",
        f"Some title\n{HEADER}\n{rows()}",
        f"\ufeff{HEADER}\r\n" + rows().replace("\n", "\r\n"),
    ],
)
def test_binance_s_twelve_columns_are_read_with_and_without_a_header(tmp_path: Path, text: str) -> None:
    candles, intake = read(tmp_path, text)
    assert intake == Intake(accepted=5)
    assert candles.open_time.tolist() == [T0 + at * STEP for at in range(5)]
    assert candles.candle(2) == (T0 + 2 * STEP, 1.5, 2.5, 1.0, 2.0, 10.0)
    assert candles.flow is not None
    assert [getattr(candles.flow, name)[0] for name in FLOW_COLUMNS] == [5.0, 7.0, 1.0, 2.0]


_UNITS: dict[str, Callable[[int], object]] = {
    "s": lambda at: at // 1000,
    "ms": lambda at: at,
    "us": lambda at: at * 1000,
    "ns": lambda at: at * 1_000_000,
    "whole float": lambda at: f"{at}.0",
    "Z": lambda at: _moment(at).isoformat().replace("+00:00", "Z"),
    "no zone": lambda at: _moment(at).strftime("%Y-%m-%d %H:%M:%S"),
    "zone": lambda at: f"{_moment(at + 19_800_000).strftime('%Y-%m-%dT%H:%M:%S')}+05:30",
    "quoted": lambda at: f'"{at}"',
}


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)


def test_time_units(tmp_path: Path) -> None:
    # Across the leap day and both hours of a change to summer time, with all units in one file too.
    times = [at + part * STEP for at in (1_709_164_740_000, 1_711_846_740_000, 1_729_990_740_000) for part in range(3)]
    for write in _UNITS.values():
        candles, intake = read(tmp_path, "\n".join(row(write(at)) for at in times))
        assert intake == Intake(accepted=len(times))
        assert candles.open_time.tolist() == times
    mixed = "\n".join(row(write(at)) for at, write in zip(times, _UNITS.values(), strict=True))
    assert read(tmp_path, mixed)[0].open_time.tolist() == times


@pytest.mark.parametrize(
    ("text", "expected"),
    [("99999999960", 99_999_999_960_000), ("100000020000", 100_000_020_000), ("99999999960000", 99_999_999_960_000)],
)
def test_units_change_where_they_are_said_to(tmp_path: Path, text: str, expected: int) -> None:
    if expected >= 4_102_444_800_000:
        with pytest.raises(NoCandlesError):
            read(tmp_path, row(text))
    else:
        assert read(tmp_path, row(text))[0].open_time.tolist() == [expected]


@pytest.mark.parametrize(
    "bad",
    [
        row(""), row("x"), row("nan"), row(-T0), row(T0 + 1), row(T0 * 1000 + 1), row(T0 / 1000 + 0.5), row("1e12"),
        row("2023-02-30"), row("99999999999999999999"), row("9" * 19), row(T0, ""), row(T0, "nan"), row(T0, "inf"),
        row(T0, "1_0"), row(T0, "１.５"), row(T0, "0x1"), row(T0, "1,5"), row(T0, 99), row(T0, 0.5), row(T0, -1.5),
        "", "hello", "1,2,3", HEADER, "\x00" * 30, f"{T0},1,2,1,2,3,4,5,6,7,8,9,10,11",
    ],
)  # fmt: skip
def test_what_is_no_candle_is_malformed_and_harms_no_other(tmp_path: Path, bad: str) -> None:
    candles, intake = read(tmp_path, f"{rows(3)}\n{bad}\n{row(T0 + 9 * STEP)}")
    assert candles.open_time.tolist() == [T0, T0 + STEP, T0 + 2 * STEP, T0 + 9 * STEP]
    assert intake == Intake(accepted=4, malformed=int(bool(bad)))


def test_bytes_that_are_no_text_are_malformed(tmp_path: Path) -> None:
    candles, intake = read(tmp_path, rows(3).encode() + b"\n\xff\xfe,1,2,1,2,3,4,5,6,7,8,9\n")
    assert (len(candles), intake) == (3, Intake(accepted=3, malformed=1))


@pytest.mark.parametrize("volume", ["", "nan", "-1", "inf", "x"])
def test_a_volume_that_is_none_is_taken_as_zero(tmp_path: Path, volume: str) -> None:
    assert read(tmp_path, row(T0, volume=volume))[0].volume.tolist() == [0.0]


def test_of_equal_times_the_last_row_wins_and_order_is_counted_not_needed(tmp_path: Path) -> None:
    text = "\n".join(row(T0 + at * STEP, price) for at, price in ((0, 1.1), (2, 1.2), (1, 1.3), (2, 1.4), (0, 1.6)))
    candles, intake = read(tmp_path, text)
    assert candles.open.tolist() == [1.6, 1.3, 1.4]
    assert intake == Intake(accepted=3, duplicate=2, out_of_order=2)


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [
        ("Open Time,Open,High,Low,Close", ","),
        ("timestamp;open;high;low;close;volume", ";"),
        ('"date"\t"open"\t"high"\t"low"\t"close"\t"volume"', "\t"),
        ("volume,close,low,high,open,open_time", ","),
        ("symbol,datetime,open,high,low,close,vol", ","),
    ],
)
def test_other_headers_are_understood(tmp_path: Path, header: str, delimiter: str) -> None:
    values = {"open": "1.5", "high": "2.5", "low": "1", "close": "2", "volume": "3", "vol": "3", "symbol": "X"}
    names = [name.strip('"').lower() for name in header.split(delimiter)]
    lines = [delimiter.join(values.get(name, str(T0 + at * STEP)) for name in names) for at in range(3)]
    candles, intake = read(tmp_path, "\n".join([header, *lines]))
    assert intake == Intake(accepted=3)
    assert candles.candle(1)[:5] == (T0 + STEP, 1.5, 2.5, 1.0, 2.0)


def zipped(*contents: str) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, content in enumerate(contents):
            # A fixed date: the bytes are the names of tests, which every worker must find the same.
            archive.writestr(zipfile.ZipInfo(f"{number}.csv", (2020, 1, 1, 0, 0, 0)), content)
    return sink.getvalue()


def test_a_zip_of_one_file_is_read_as_that_file(tmp_path: Path) -> None:
    assert [*read(tmp_path, zipped(rows(20)))[0]] == [*read(tmp_path, rows(20))[0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks the columns"),
        ("\n\n", "lacks the columns"),
        ("hello\nworld", "lacks the columns open, high, low, close"),
        ("time,open,high\n1,2,3", "lacks the columns low, close"),
        (HEADER, "holds no candle of 1m; malformed=0"),
        (f"{HEADER}\n{row('x')}\n{row('y')}", "holds no candle of 1m; malformed=2"),
        ("open_time,open,high,low,close,closed\n1700000040,1,2,1,2,0", "no candle of 1m; malformed=0 unclosed=1"),
        ("PAR1 and then something else", "cannot be read"),
        (bytes(range(256)) * 50, "lacks the columns"),
        (zipped("a", "b"), "does not hold one file"),
        (zipped("a")[:80], "is not a sound zip file"),
    ],
)
def test_a_file_without_candles_is_told_in_one_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(NoCandlesError) as told:
        read(tmp_path, text)
    assert message in str(told.value)
    assert str(tmp_path / "file") in str(told.value)


def test_a_file_of_a_shorter_timeframe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="holds candles of 1m, not 5m"):
        read(tmp_path, rows(60), "5m")
    assert len(read(tmp_path, rows(60))[0]) == 60


def _parquet(table: pa.Table | pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table if isinstance(table, pa.Table) else pa.Table.from_pandas(table), sink)
    return sink.getvalue()


def test_parquet_is_read_whatever_its_types(tmp_path: Path) -> None:
    expected = walk(3, 50)
    frame = pd.DataFrame({name: getattr(expected, name) for name in ("open", "high", "low", "close", "volume")})
    times = expected.open_time
    prices = pa.Table.from_pandas(frame)
    columns = [
        pa.array(times),
        pa.array(times // 1000, pa.int32()),
        pa.array((times * 1000).astype(np.uint64)),
        pa.array(times * 1_000_000),
        pa.array(times.astype(np.float64)),
        pa.array(times.astype("datetime64[ms]")),
        pa.array(times * 1_000_000, pa.timestamp("ns", tz="Asia/Kolkata")),
        pa.array(times // 1000, pa.timestamp("s")),
        pa.array([_moment(at).isoformat() for at in times.tolist()]).dictionary_encode(),
    ]
    for column in columns:
        found, intake = read(tmp_path, _parquet(prices.append_column("open_time", column)))
        assert intake == Intake(accepted=50), column.type
        assert same(found, expected), column.type
    indexed = frame.set_index(pd.DatetimeIndex(times.astype("datetime64[ms]"), tz="UTC"))
    assert same(read(tmp_path, _parquet(indexed))[0], expected)
    texts = pa.table({"date": columns[0], **{name: pa.array(frame[name].astype(str)) for name in frame}})
    assert same(read(tmp_path, _parquet(texts))[0], expected)


@pytest.mark.parametrize(
    ("no", "yes"),
    [("0", "1"), ("false", "true"), ("False", "True"), (" FALSE", "TRUE "), ("0.0", "1.0"), ("0", ""), ("false", "x")],
)
def test_a_row_that_says_it_is_not_closed_is_passed_over(tmp_path: Path, no: str, yes: str) -> None:
    # The last two of equal time: what had closed stays, though the row that had not comes after it.
    marks = [(0, yes), (1, no), (2, yes), (2, no)]
    lines = [f"{T0 + at * STEP},1.5,2.5,1,2,{mark}" for at, mark in marks]
    candles, intake = read(tmp_path, "\n".join(["open_time,open,high,low,close,Closed", *lines]))
    assert candles.open_time.tolist() == [T0, T0 + 2 * STEP]
    assert intake == Intake(accepted=2, unclosed=2)


@pytest.mark.parametrize(
    "closed",
    [
        pa.array([True, False, None]),
        pa.array([1, 0, None], pa.int8()),
        pa.array([1.0, 0.0, float("nan")]),
        pa.array(["True", "False", None]),
        pa.array(["1", "0", ""]).dictionary_encode(),
    ],
)
def test_parquet_tells_unclosed_rows_in_any_type(tmp_path: Path, closed: pa.Array) -> None:
    candles = walk(1, 3)
    columns = {name: getattr(candles, name) for name in COLUMNS}
    found, intake = read(tmp_path, _parquet(pa.table({**columns, "closed": closed})))
    assert same(found, candles.take(np.array([0, 2])))
    assert intake == Intake(accepted=2, unclosed=1)


@pytest.mark.parametrize("name", ["open_time", "open", "closed"])
def test_a_column_of_lists_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    columns = {"closed": [1], **{each: getattr(walk(1, 1), each) for each in COLUMNS}, name: [[1]]}
    with pytest.raises(NoCandlesError, match="cannot be read"):
        read(tmp_path, _parquet(pa.table(columns)))


def test_a_csv_of_pandas_and_of_ours_come_back_exactly(tmp_path: Path) -> None:
    expected = walk(8, 500)
    frame = pd.DataFrame(
        {name: getattr(expected, name) for name in ("open_time", "open", "high", "low", "close", "volume")}
    )
    assert same(read(tmp_path, frame.to_csv(index=False))[0], expected)
    shuffled = frame.sample(frac=1, random_state=1)
    found, intake = read(tmp_path, shuffled.to_csv(index=False))
    assert same(found, expected)
    assert intake.out_of_order == int((np.diff(shuffled.open_time) < 0).sum())


@pytest.mark.parametrize("name", ["BTCUSDT-15m-2023", "BTCUSDT-1m-2026-06-10_17", "EURUSD-15m-2022-10_2023-10"])
def test_real_files_are_read_whole(name: str) -> None:
    path = shared_file(f"candles/{name}.parquet")
    candles, intake = read_foreign(path, Timeframe(name.split("-")[1]))
    assert same(candles, real_candles(name))
    assert intake == Intake(accepted=len(candles))


_ZONE = """
import sys
from pathlib import Path
from markets.series import SeriesKey, Timeframe
from markets.store import CandleStore, Source
from markets.store.foreign import read_foreign

series = SeriesKey.of("BTCUSDT", "15m")
candles, _ = read_foreign(Path(sys.argv[1]), Timeframe.M15)
CandleStore(Path(sys.argv[2])).merge(series, candles, source=Source.FILE)
"""


def test_tz_env_invariant(tmp_path: Path) -> None:
    # Two days of a change of the clock in New York, naive and zoned times.
    path = tmp_path / "file.csv"
    times = [1_710_028_800_000 + at * 900_000 for at in range(192)]
    texts = [_UNITS["no zone" if at % 2 else "Z"](time) for at, time in enumerate(times)]
    path.write_text("\n".join(map(row, texts)))
    contents = []
    for zone in ("UTC", "Asia/Kolkata", "America/New_York"):
        root = tmp_path / zone.replace("/", "-")
        subprocess.run([sys.executable, "-c", _ZONE, path, root], env={**os.environ, "TZ": zone}, check=True)
        folder = root / "candles" / "BTCUSDT" / "15m"
        contents.append({each.name: each.read_bytes() for each in folder.glob("*.parquet")})
    assert contents[0] == contents[1] == contents[2]
    assert CandleStore(tmp_path / "UTC").coverage(SeriesKey.of("BTCUSDT", "15m")).count == 192  # type: ignore[union-attr]


def test_a_long_file_takes_seconds(tmp_path: Path) -> None:
    n = 100_000
    candles = walk(1, n)
    columns = zip(
        *(getattr(candles, name).tolist() for name in ("open_time", "open", "high", "low", "close", "volume")),
        strict=True,
    )
    text = "\n".join(",".join(map(str, values)) for values in columns)
    began = time.process_time()
    assert len(read(tmp_path, text)[0]) == n
    assert (time.process_time() - began) * 10 < 20


def test_what_was_read_is_stored_once(tmp_path: Path) -> None:
    store, series = CandleStore(tmp_path / "data"), SeriesKey.of("BTCUSDT", "1m")
    candles, _ = read(tmp_path, rows(50))
    assert store.merge(series, candles, source=Source.FILE).added == 50
    assert store.merge(series, candles, source=Source.FILE).unchanged == 50
