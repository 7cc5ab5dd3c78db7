"""Month files: signals by confirm month and marks by mark month, as Parquet that anyone can read."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from markets.errors import CorruptFileError
from markets.series import SeriesKey
from markets.store.disk import replace_file
from signals.engine import Kind
from signals.engine.kinds import KIND_TEXT, MARK_TEXT, TAG_TEXT
from signals.engine.layout import RecordArray
from signals.log.generations import Generation
from signals.log.rows import LOGGED, MARKED, SCALE_NAMES

_FILE = re.compile(r"(signals|marks)-([0-9]{4})-([0-9]{2})\.parquet", re.ASCII)
_WORDS = frozenset({"scale", "kind", "tag", "mark"})
_NUMBERS = ("number", "confirm_time", "event_time", "ref_time", "level", "top", "bottom", "strength", "range_pos")


def month_of(time: int) -> int:
    """Return the number of the UTC month that holds ``time`` (UTC ms), counted from year 0."""
    moment = datetime.fromtimestamp(time / 1000, UTC)
    return moment.year * 12 + moment.month - 1


def month_start(month: int) -> int:
    return int(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1000


def by_month(rows: RecordArray, time: str) -> list[tuple[int, RecordArray]]:
    """Split rows, which are in order of ``time``, into those of each month."""
    parts, at = [], 0
    while at < len(rows):
        month = month_of(int(rows[time][at]))
        end = int(np.searchsorted(rows[time], month_start(month + 1)))
        parts.append((month, rows[at:end]))
        at = end
    return parts


def file_name(what: str, month: int) -> str:
    return f"{what}-{month // 12:04}-{month % 12 + 1:02}.parquet"


def months_on_disk(folder: Path, what: str) -> list[int]:
    """Return the months that have a file of ``what``, ``signals`` or ``marks``, ascending."""
    found = (_FILE.fullmatch(name) for name in os.listdir(folder))  # noqa: PTH208  # names are all that is needed
    return sorted(int(each[2]) * 12 + int(each[3]) - 1 for each in found if each and each[1] == what)


def write_signals(folder: Path, month: int, rows: RecordArray, series: SeriesKey, generation: Generation) -> None:
    """Write one month's signals in place of what stood there."""
    kinds, tags = rows["kind"], rows["tag"]
    tag_names = [*TAG_TEXT, *map(str, range(int(tags.max(initial=0)) + 1))]
    n = len(rows)
    columns: dict[str, Any] = {
        "symbol": _constant(series.symbol, n),
        "timeframe": _constant(series.timeframe.value, n),
        "scale": _words(rows["scale"], SCALE_NAMES),
        "number": rows["number"],
        "kind": _words(kinds, KIND_TEXT),
        "direction": rows["direction"],
        **{name: rows[name] for name in _NUMBERS[1:4]},
        **{name: pa.array(np.ascontiguousarray(rows[name]), from_pandas=True) for name in _NUMBERS[4:]},
        "tag": _words(np.where(kinds == Kind.EQ, tags + len(TAG_TEXT), tags), tag_names),
        "detector_version": np.full(n, generation.version, np.int32),
        "params": _words(rows["scale"], generation.digests),
        "revision": np.full(n, generation.revision, np.int32),
    }
    _write(folder / file_name("signals", month), columns)


def write_marks(folder: Path, month: int, rows: RecordArray, series: SeriesKey) -> None:
    """Write one month's marks in place of what stood there."""
    columns: dict[str, Any] = {
        "symbol": _constant(series.symbol, len(rows)),
        "timeframe": _constant(series.timeframe.value, len(rows)),
        "scale": _words(rows["scale"], SCALE_NAMES),
        "number": rows["number"],
        "mark": _words(rows["mark"], MARK_TEXT),
        "time": rows["time"],
    }
    _write(folder / file_name("marks", month), columns)


def _write(path: Path, columns: dict[str, Any]) -> None:
    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    data = pa.BufferOutputStream()
    pq.write_table(table, data, compression="snappy", write_page_checksum=True)
    replace_file(path, data.getvalue().to_pybytes(), is_durable=False)


def _words(codes: NDArray[Any], words: Any) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(list(words)))


def _constant(word: str, n: int) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([word]))


def read_signals(folder: Path, month: int) -> RecordArray:
    """Return one month's signals as ``LOGGED`` records; none where the month has no file."""
    table = _read(folder / file_name("signals", month), ["scale", "kind", "direction", "tag", *_NUMBERS])
    rows: RecordArray = np.zeros(table.num_rows if table else 0, LOGGED)
    if table:
        for name in (*_NUMBERS, "direction"):
            rows[name] = table[name].to_numpy()
        rows["scale"] = _codes(table["scale"], SCALE_NAMES)
        rows["kind"] = _codes(table["kind"], KIND_TEXT)
        rows["tag"] = _codes(table["tag"], TAG_TEXT)
    return rows


def read_marks(folder: Path, month: int) -> RecordArray:
    """Return one month's marks as ``MARKED`` records; none where the month has no file."""
    table = _read(folder / file_name("marks", month), ["scale", "number", "mark", "time"])
    rows: RecordArray = np.zeros(table.num_rows if table else 0, MARKED)
    if table:
        for name in ("number", "time"):
            rows[name] = table[name].to_numpy()
        rows["scale"] = _codes(table["scale"], SCALE_NAMES)
        rows["mark"] = _codes(table["mark"], MARK_TEXT)
    return rows


def _read(path: Path, columns: list[str]) -> Any:
    words = [name for name in columns if name in _WORDS]
    try:
        with path.open("rb") as file:
            parquet = pq.ParquetFile(file, read_dictionary=words, page_checksum_verification=True)
            return parquet.read(columns=columns)
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError) as error:
        raise CorruptFileError(f"{path} cannot be read: {error}") from error


def _codes(column: Any, words: tuple[str, ...]) -> NDArray[Any]:
    """Return the codes of a column of ``words``; one of digits is its own code (the touches of EQ)."""
    known = {word: code for code, word in enumerate(words)}
    array = column.unify_dictionaries().combine_chunks()
    told = array.dictionary.to_pylist()
    codes = np.array([int(word) if word.isdigit() else known[word] for word in told] or [0])
    chosen: NDArray[Any] = codes[array.indices.to_numpy(zero_copy_only=False)]
    return chosen
