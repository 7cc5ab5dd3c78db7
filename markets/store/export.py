"""Parquet for people who download: written row group by row group, so that memory stays flat."""

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_TYPES = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}


class _Pipe(io.RawIOBase):
    """A sink that hands out what was written since it was last asked, and remembers only its position."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._position

    def drain(self) -> bytes:
        written = b"".join(self._pieces)
        self._pieces.clear()
        return written


def parquet_chunks(parts: Iterable[Mapping[str, Any]], types: Mapping[str, type]) -> Iterator[bytes]:
    """Write parts, each with the columns of ``types`` in equal length, as one Parquet file; yield it piece by piece.

    What a column holds is said before: a part that has no rows, or none with a value, does not tell it.
    """
    pipe = _Pipe()
    schema = pa.schema({name: _TYPES[kind] for name, kind in types.items()})
    with pq.ParquetWriter(pipe, schema, compression="snappy") as writer:
        for part in parts:
            writer.write_table(pa.table(dict(part), schema=schema))
            yield pipe.drain()
    yield pipe.drain()
