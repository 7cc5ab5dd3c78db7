"""Candles out of files that others wrote: CSV and Parquet, of whatever time unit and in whatever order."""

import codecs
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from markets.candles import COLUMNS, FLOW_COLUMNS, BoolArray, Candles, FloatArray, Intake, TimeArray, take_file_rows
from markets.errors import InvalidInputError, NoCandlesError
from markets.series import EARLIEST, LATEST, Timeframe
from markets.zips import UnsoundZipError, only_member

Table = Mapping[str, Any]

_BINANCE = (*COLUMNS, "close_time", *FLOW_COLUMNS, "ignore")
_TIME_NAMES = ("open_time", "opentime", "time", "timestamp", "datetime", "date", "__index_level_0__")
_ALIASES = {
    **dict.fromkeys(_TIME_NAMES, "open_time"),
    "vol": "volume",
    "count": "trades",
    "number_of_trades": "trades",
    "quote_asset_volume": "quote_volume",
    "taker_buy_volume": "taker_buy_base",
    "taker_buy_base_asset_volume": "taker_buy_base",
    "taker_buy_quote_volume": "taker_buy_quote",
    "taker_buy_quote_asset_volume": "taker_buy_quote",
}
_CLOSED = "closed"
_READ = {*COLUMNS, *FLOW_COLUMNS, _CLOSED}
_SAMPLE_LINES = 25
_PIECE = 1 << 20
_UNZIPPED_BYTES = 1 << 31
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# pyarrow and float() read more than a price list may hold: inf, nan, 1_000, full-width digits.
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
# As long as 64 bits hold for certain.
_WHOLE = r"^([0-9]{1,18}|[0-8][0-9]{18})(\.0*)?$"


def read_foreign(path: Path, timeframe: Timeframe) -> tuple[Candles, Intake]:
    """Read the candles of a CSV or Parquet file, and count the rows that are none.

    Parameters
    ----------
    path
        Binance's CSV of 12 columns with or without a header, or columns ``open_time, open, high, low, close`` and
        maybe ``volume``, those of ``Flow`` and ``closed``, where 0 or false marks a candle that was still forming; or
        one such file in a zip, as the archive has them. The content decides which it is, not the name.
    timeframe
        The candles'. An open time that is no multiple of it makes a row malformed.

    Raises
    ------
    NoCandlesError
        The file holds none, or not the columns candles need.
    InvalidInputError
        The candles are plainly of a shorter timeframe.
    """
    with path.open("rb") as file:
        data = file.read()
    if data[:4] == b"PK\x03\x04":
        try:
            data = only_member(data, limit=_UNZIPPED_BYTES)
        except UnsoundZipError as error:
            raise NoCandlesError(f"{path} {error}") from error
    try:
        table, unreadable = _parquet(data) if data[:4] == b"PAR1" else _csv(data)
        absent = [name for name in COLUMNS[:-1] if name not in table]
        if absent:
            raise NoCandlesError(f"{path} lacks the columns {', '.join(absent)}")
        rows, has_time = _rows(table)
    except pa.ArrowException as error:
        raise NoCandlesError(f"{path} cannot be read: {error}") from error
    _check_timeframe(path, rows["open_time"][has_time], timeframe)
    candles, intake = take_file_rows(rows, timeframe, has_time=has_time)
    intake += Intake(malformed=unreadable)
    if not len(candles):
        counts = f"malformed={intake.malformed} unclosed={intake.unclosed}"
        raise NoCandlesError(f"{path} holds no candle of {timeframe.value}; {counts}")
    return candles, intake


def _parquet(data: bytes) -> tuple[Table, int]:
    table = pq.ParquetFile(pa.BufferReader(data)).read()
    return _named(table.column_names, table.columns), 0


def _csv(data: bytes) -> tuple[Table, int]:
    data = _as_text(data)
    sample = data[:100_000].decode("utf-8", "ignore").splitlines(keepends=True)[:_SAMPLE_LINES]
    delimiter = max(",;\t", key=lambda each: sum(line.count(each) for line in sample))
    lines = [[cell.strip().strip('"').strip() for cell in line.split(delimiter)] for line in sample]
    # A title may stand above the header; a header further down is of a file that was put behind another.
    first = next((at for at, line in enumerate(lines) if len(line) >= len(COLUMNS) - 1), 0)
    names = lines[first] if lines else []
    body = memoryview(data)
    if "open" in {name.lower() for name in names}:
        body = body[len("".join(sample[: first + 1]).encode()) :]
    else:
        width = Counter(map(len, lines)).most_common(1)[0][0] if lines else 0
        names = [*_BINANCE, *(f"extra_{at}" for at in range(width))][:width]
    if re.search(rb"\S", body) is None:
        return _named(names, [pa.array([], pa.string()) for _ in names]), 0
    unreadable: list[object] = []

    def skip(row: object) -> str:
        unreadable.append(row)
        return "skip"

    known = _named(names, names)
    unique = [f"{at}" for at in range(len(names))]
    wanted = {unique[names.index(name)]: pa.string() for name in known.values()}
    table = pyarrow.csv.read_csv(
        pa.BufferReader(body),
        read_options=pyarrow.csv.ReadOptions(column_names=unique, use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, invalid_row_handler=skip),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=wanted, include_columns=list(wanted), strings_can_be_null=False
        ),
    )
    return {ours: table[unique[names.index(theirs)]] for ours, theirs in known.items()}, len(unreadable)


def _as_text(data: bytes) -> bytes:
    """Return UTF-8. Bytes that are no text become marks that are no number, and their rows malformed."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for at in range(0, len(data), _PIECE):
            decoder.decode(data[at : at + _PIECE], final=at + _PIECE >= len(data))
    except UnicodeDecodeError:
        data = data.decode("utf-8", "replace").encode()
    return data.removeprefix(codecs.BOM_UTF8)


def _named(names: list[str], values: list[Any]) -> dict[str, Any]:
    """Give columns our names; of two that mean the same, the first counts."""
    found: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        plain = name.strip().lower().replace(" ", "_")
        found.setdefault(_ALIASES.get(plain, plain), value)
    return {name: value for name, value in found.items() if name in _READ}


def _rows(table: Table) -> tuple[dict[str, Any], BoolArray]:
    """Return the columns as arrays, and which rows have a time that the store can keep."""
    times, has_time = _times(table["open_time"])
    has_time &= (times >= EARLIEST) & (times < LATEST)
    rows: dict[str, Any] = {name: _numbers(table[name]) for name in (*COLUMNS[1:], *FLOW_COLUMNS) if name in table}
    rows |= {"open_time": times, "volume": rows.get("volume", np.zeros(len(times)))}
    if _CLOSED in table:
        rows[_CLOSED] = _truths(table[_CLOSED])
    return rows, has_time


def _times(column: Any) -> tuple[TimeArray, BoolArray]:
    """Return UTC ms and which of them could be read; a time between two milliseconds cannot."""
    kind = column.type
    if pa.types.is_date(kind):
        column, kind = column.cast(pa.timestamp("ms")), pa.timestamp("ms")
    if pa.types.is_timestamp(kind):
        return _scaled(column.cast(pa.int64()), {"s": 1, "ms": 2, "us": 3, "ns": 4}[kind.unit])
    if pa.types.is_floating(kind):
        numbers = column.cast(pa.float64())
        is_whole = pc.and_(pc.equal(numbers, pc.floor(numbers)), pc.less(pc.abs(numbers), 2.0**62))
        return _scaled(pc.if_else(is_whole, numbers, None).cast(pa.int64(), safe=False))
    if not pa.types.is_integer(kind):
        text = _texts(column)
        whole = pc.match_substring_regex(text, _WHOLE)
        if not pc.any(whole).as_py():
            return _moments(text)
        digits = pc.replace_substring_regex(pc.if_else(whole, text, None), r"\.0*$", "")
        times, has_time = _scaled(digits.cast(pa.int64()))
        others, are_moments = _moments(pc.if_else(whole, None, text))
        return np.where(has_time, times, others), has_time | are_moments
    return _scaled(column.cast(pa.int64()))


def _scaled(column: Any, thousands: int | None = None) -> tuple[TimeArray, BoolArray]:
    """Bring whole numbers to milliseconds: their unit is that of the column, or told by how large each is."""
    is_there = ~column.is_null().to_numpy(zero_copy_only=False)
    values = column.fill_null(0).to_numpy().astype(np.int64)
    if thousands is not None:
        unit = np.full(len(values), thousands)
    else:
        unit = 1 + np.searchsorted([10**11, 10**14, 10**17], values, side="right")
    divisor = np.array([1, 1, 1, 1000, 1_000_000])[unit]
    is_there &= (values >= 0) & (values % divisor == 0)
    return np.where(unit == 1, np.clip(values, 0, 10**15) * 1000, values // divisor), is_there


def _moments(text: Any) -> tuple[TimeArray, BoolArray]:
    """Read ISO 8601; without a zone it is UTC."""
    read = [_moment(each) for each in text.to_pylist()]
    times = np.array([time if time is not None else 0 for time in read], np.int64)
    return times, np.array([time is not None for time in read], np.bool_)


def _moment(text: str | None) -> int | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    milliseconds, rest = divmod(moment - _EPOCH, timedelta(milliseconds=1))
    return None if rest else milliseconds


def _numbers(column: Any) -> FloatArray:
    """Return float64, NaN where there is no number."""
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        numbers = column.cast(pa.float64())
    else:
        text = _texts(column)
        numbers = pc.if_else(pc.match_substring_regex(text, _NUMBER), text, None).cast(pa.float64())
    return np.asarray(numbers.fill_null(np.nan).to_numpy(), np.float64)


def _truths(column: Any) -> BoolArray:
    """Return False where there is 0 or false, and True for all else: what is not told says nothing against a row."""
    is_false = pc.equal(pc.utf8_lower(_texts(column)), "false").fill_null(False)
    is_true: BoolArray = ~is_false.to_numpy(zero_copy_only=False) & (_numbers(column) != 0)
    return is_true


def _texts(column: Any) -> Any:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return pc.utf8_trim_whitespace(column.cast(pa.string()))


def _check_timeframe(path: Path, times: TimeArray, timeframe: Timeframe) -> None:
    """Refuse a file of a shorter timeframe: every so many of its rows would pass for a candle of this one."""
    steps = np.diff(np.unique(times))
    if len(steps) < 10:
        return
    values, counts = np.unique(steps, return_counts=True)
    usual = int(values[counts.argmax()])
    if counts.max() * 2 > len(steps) and usual < timeframe.milliseconds:
        known = next((each.value for each in Timeframe if each.milliseconds == usual), f"{usual / 60_000:g} minutes")
        raise InvalidInputError(f"{path} holds candles of {known}, not {timeframe.value}", field="timeframe")
