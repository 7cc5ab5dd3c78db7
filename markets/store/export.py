"""Parquet for people who download: written row group by row group, so that memory stays flat."""

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


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


def parquet_chunks(parts: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Write parts, each with the same columns of equal length, as one Parquet file; yield it piece by piece.

    The first part decides the types; later parts are cast to them.
    """
    pipe = _Pipe()
    writer: pq.ParquetWriter | None = None
    for part in parts:
        table = pa.table(dict(part))
        if writer is None:
            writer = pq.ParquetWriter(pipe, table.schema, compression="snappy")
        writer.write_table(table.cast(writer.schema))
        yield pipe.drain()
    if writer is not None:
        writer.close()
        yield pipe.drain()
