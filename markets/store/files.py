"""One Parquet file of candles: to bytes and back, with a seal that shows any changed bit.

The seal is the SHA-256 of the file with the seal's own 64 characters taken as zeros. So a file proves itself, with
no other file beside it, and stays plain Parquet.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from markets.candles import COLUMNS, FLOW_COLUMNS, Candles, Flow
from markets.errors import CorruptFileError, ForeignFileError, InvalidCandlesError, StoreError
from markets.series import SeriesKey

VERSION = 1
SCHEMA = pa.schema(
    [pa.field("open_time", pa.int64(), nullable=False)]
    + [pa.field(name, pa.float64(), nullable=False) for name in COLUMNS[1:]]
    + [pa.field(name, pa.float64()) for name in FLOW_COLUMNS]
)
_ROW_GROUP = 65_536
_BLANK = b"0" * 64
# Thrift's compact protocol: the key, the header of the next string field, its length 64, the value.
_SEAL = re.compile(rb"smc\.seal\x18\x40([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """The content of one file. ``edit`` and ``sequence`` are the series' numbers when it was written.

    ``is_sound`` turns false where the journal beside it ends in what is no candle.
    """

    candles: Candles
    edit: int
    sequence: int
    seal: str
    is_sound: bool = True


def encode(series: SeriesKey, candles: Candles, *, edit: int, sequence: int) -> tuple[bytes, Sheet]:
    """Write candles as one sealed Parquet file."""
    flow = candles.flow if candles.flow is not None else Flow.unknown(len(candles))
    columns = [_array(getattr(candles, name)) for name in COLUMNS]
    columns += [_array(getattr(flow, name), is_nullable=True) for name in FLOW_COLUMNS]
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink, SCHEMA, compression="snappy", use_dictionary=False, write_statistics=True, store_schema=False
    ) as writer:
        writer.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), row_group_size=_ROW_GROUP)
        writer.add_key_value_metadata(
            {
                "smc.version": str(VERSION),
                "smc.series": str(series),
                "smc.edit": str(edit),
                "smc.sequence": str(sequence),
                "smc.seal": _BLANK.decode(),
            }
        )
    data = sink.getvalue().to_pybytes()
    start = _seal_position(data)
    if start is None:
        raise StoreError("this pyarrow writes metadata in a way the seal does not know")
    seal = hashlib.sha256(data).hexdigest()
    sealed = b"".join((data[:start], seal.encode(), data[start + 64 :]))
    # A copy, since the sheet is kept: the caller's columns may be a part of much larger ones, or change.
    return sealed, Sheet(frozen(candles.with_flow(flow).copy()), edit, sequence, seal)


def decode(data: bytes, series: SeriesKey, *, with_flow: bool = True) -> Sheet:
    """Read a file that ``encode`` wrote; ``with_flow=False`` leaves out the columns of ``Flow``.

    Raises
    ------
    CorruptFileError
        A bit of it changed, or a part is missing.
    ForeignFileError
        It is Parquet, and not ours: other columns, another series, or written by another program.
    StoreError
        A later version of the project wrote it.
    """
    start = _seal_position(data)
    if start is None:
        raise _unsealed(data)
    seal = data[start : start + 64].decode()
    check = hashlib.sha256(memoryview(data)[:start])
    check.update(_BLANK)
    check.update(memoryview(data)[start + 64 :])
    if check.hexdigest() != seal:
        raise CorruptFileError("its content does not match its seal")
    file = pq.ParquetFile(pa.BufferReader(data))
    metadata = {key.decode(): value.decode() for key, value in file.metadata.metadata.items()}
    if metadata["smc.version"] != str(VERSION):
        raise StoreError(f"it is of format {metadata['smc.version']}, and this version reads format {VERSION}")
    if metadata["smc.series"] != str(series):
        raise ForeignFileError(f"it holds {metadata['smc.series']}, not {series}")
    table = file.read(columns=[*COLUMNS, *FLOW_COLUMNS] if with_flow else list(COLUMNS), use_threads=False)
    return Sheet(_candles(table, with_flow=with_flow), int(metadata["smc.edit"]), int(metadata["smc.sequence"]), seal)


def _candles(table: pa.Table, *, with_flow: bool) -> Candles:
    flow = Flow(*(_column(table, name) for name in FLOW_COLUMNS)) if with_flow else None
    try:
        return frozen(Candles(*(_column(table, name) for name in COLUMNS), flow=flow))
    except InvalidCandlesError as error:
        raise CorruptFileError(f"its rows are not candles: {error}") from error


def _array(values: NDArray[Any], *, is_nullable: bool = False) -> pa.Array:
    """Hand a column to Arrow as it lies in memory. Arrow's own way imports pandas, 40 MB and half a second.

    What the exchange did not tell is null in the file; NaN would be a number to most readers.
    """
    values = np.ascontiguousarray(values)
    is_there = ~np.isnan(values) if is_nullable else None
    nulls = None if is_there is None or is_there.all() else pa.py_buffer(np.packbits(is_there, bitorder="little"))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [nulls, pa.py_buffer(values)])


def _column(table: pa.Table, name: str) -> NDArray[Any]:
    """Return a column of int64 or float64, NaN for null; as ``_array``, without pandas."""
    parts = [_part(chunk) for chunk in table.column(name).chunks]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _part(chunk: pa.Array) -> NDArray[Any]:
    nulls, data = chunk.buffers()
    values = np.frombuffer(data, chunk.type.to_pandas_dtype(), len(chunk), chunk.offset * 8)
    if not chunk.null_count:
        return values
    bits = np.frombuffer(nulls, np.uint8)
    is_there = np.unpackbits(bits, count=chunk.offset + len(chunk), bitorder="little")[chunk.offset :]
    return np.where(is_there.view(bool), values, np.nan)


def frozen(candles: Candles) -> Candles:
    """Forbid writing to columns that are to be shared by all who read the file."""
    for name in COLUMNS:
        getattr(candles, name).flags.writeable = False
    for name in FLOW_COLUMNS if candles.flow is not None else ():
        getattr(candles.flow, name).flags.writeable = False
    return candles


def _seal_position(data: bytes) -> int | None:
    footer = int.from_bytes(data[-8:-4], "little") + 8
    found = list(_SEAL.finditer(data, max(0, len(data) - footer)))
    return found[0].start(1) if len(found) == 1 else None


def _unsealed(data: bytes) -> StoreError:
    try:
        names = pq.ParquetFile(pa.BufferReader(data)).schema_arrow
    except (pa.ArrowException, OSError):
        return CorruptFileError("it is damaged or cut short")
    columns = ", ".join(f"{field.name} {field.type}" for field in names)
    return ForeignFileError(f"the store did not write it (columns: {columns[:300]}); use import_candles for such files")
