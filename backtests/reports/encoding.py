"""What the files of a report hold: a result's trades, equity and metrics, as bytes."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from backtests.engine.labels import Labels
from backtests.engine.run import Result
from backtests.engine.text import LARGEST, equity_rows

TRADES, EQUITY, METRICS = "trades", "equity", "metrics.json"

_ROW_GROUP = 65_536
_CELL_STARTS = ("=", "+", "-", "@", "\t", "\r")

Data = bytes | memoryview
Files = Iterable[tuple[str, Data]]


def report_files(result: Result) -> Iterator[tuple[str, Data]]:
    """Yield the files of a report with their names, the largest first; equal results give equal bytes.

    Each is made when it is asked for, so that the disk can take one while the next is made.
    """
    curve = result.equity.columns()
    yield f"{EQUITY}.csv", _equity_csv(curve)
    yield f"{EQUITY}.parquet", _parquet(_table(curve))
    trades = _table(result.trades.columns())
    yield f"{TRADES}.csv", _csv(trades)
    yield f"{TRADES}.parquet", _parquet(trades)
    yield METRICS, orjson.dumps(result.metrics, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _equity_csv(curve: Mapping[str, Any]) -> Data:
    """Return one row a bar, with eight decimals; the Parquet twin holds every digit."""
    equity = curve["equity"]
    if len(equity) and max(-equity.min(), equity.max()) >= LARGEST:
        return _csv(_table(curve))
    return equity_rows(f"{','.join(curve)}\n".encode(), curve["time"], equity, curve["drawdown"])


def _table(columns: Mapping[str, Any]) -> pa.Table:
    return pa.table({name: _array(column) for name, column in columns.items()})


def _array(column: Any) -> pa.Array:
    """Return a column as Arrow holds it, with NaN as null: an empty cell, and no number to any reader.

    It is made of the memory itself: ``pa.array`` imports pandas, which takes longer than a year's backtest.
    """
    if isinstance(column, Labels):
        return _text(column)
    column = np.ascontiguousarray(column)
    if column.dtype == bool:
        return pa.Array.from_buffers(pa.bool_(), len(column), [None, _bits(column)])
    missing = np.isnan(column) if column.dtype.kind == "f" else np.zeros(0, bool)
    valid = _bits(~missing) if missing.any() else None
    return pa.Array.from_buffers(pa.from_numpy_dtype(column.dtype), len(column), [valid, pa.py_buffer(column)])


def _bits(flags: Any) -> pa.Buffer:
    return pa.py_buffer(np.packbits(flags, bitorder="little"))


def _text(labels: Labels) -> pa.Array:
    """Return a column of texts, of which no spreadsheet runs one as a formula."""
    safe = [(f"'{text}" if text.startswith(_CELL_STARTS) else text).encode() for text in labels.names]
    sizes = np.array([len(text) for text in safe], np.int32)
    ends = np.concatenate([[0], sizes[labels.codes].cumsum()]).astype(np.int32)
    cells = b"".join([safe[code] for code in labels.codes.tolist()])
    return pa.Array.from_buffers(pa.string(), len(labels), [None, pa.py_buffer(ends), pa.py_buffer(cells)])


def _csv(table: pa.Table) -> Data:
    sink = pa.BufferOutputStream()
    sink.write(f"{','.join(table.column_names)}\n".encode())
    pa_csv.write_csv(table, sink, pa_csv.WriteOptions(include_header=False, quoting_style="needed"))
    return memoryview(sink.getvalue())


def _parquet(table: pa.Table) -> Data:
    sink = pa.BufferOutputStream()
    # A curve's times are a third of its bytes, and as differences next to nothing.
    encodings = {each.name: "DELTA_BINARY_PACKED" if each.type == pa.int64() else "PLAIN" for each in table.schema}
    pq.write_table(
        table, sink, compression="snappy", use_dictionary=False, column_encoding=encodings, row_group_size=_ROW_GROUP
    )
    return memoryview(sink.getvalue())
