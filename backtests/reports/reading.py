"""Rows, columns and pieces of a published report."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from markets.errors import NotFoundError

_PIECE = 1 << 20


def read_columns(
    folder: Path, name: str, columns: Iterable[str] | None = None, *, start: int = 0, count: int | None = None
) -> dict[str, Any]:
    """Return columns of ``trades`` or ``equity`` of a published report, rows ``start`` to ``start + count``."""
    with _opened(folder, name) as file:
        groups, first = _groups_of(file.metadata, start, count)
        table = file.read_row_groups(groups, columns=None if columns is None else list(columns))
    part = table.slice(start - first, count)
    return {each: part.column(each).to_numpy(zero_copy_only=False) for each in part.column_names}


def _groups_of(metadata: pq.FileMetaData, start: int, count: int | None) -> tuple[list[int], int]:
    """Return which row groups hold rows ``start`` to ``start + count``, and the number of the first row in them."""
    end = metadata.num_rows if count is None else min(start + count, metadata.num_rows)
    groups: list[int] = []
    first, at = start, 0
    for number in range(metadata.num_row_groups):
        size = metadata.row_group(number).num_rows
        if at < end and start < at + size:
            first = first if groups else at
            groups.append(number)
        at += size
    return groups, first


def column_names(folder: Path, name: str) -> list[str]:
    """Return the columns that ``trades`` or ``equity`` of a published report has."""
    with _opened(folder, name) as file:
        names: list[str] = file.schema_arrow.names
    return names


def csv_chunks(folder: Path, name: str, *, start: int = 0, count: int | None = None) -> Iterator[bytes]:
    """Yield the header and rows ``start`` to ``start + count`` of a published CSV file, as they lie on the disk."""
    with _existing(folder, f"{name}.csv").open("rb") as file:
        yield file.readline()
        if start == 0 and count is None:
            while piece := file.read(_PIECE):
                yield piece
        else:
            yield from islice(file, start, None if count is None else start + count)


def row_count(folder: Path, name: str) -> int:
    """Return how many rows ``trades`` or ``equity`` of a published report has."""
    with _opened(folder, name) as file:
        count: int = file.metadata.num_rows
    return count


def _opened(folder: Path, name: str) -> pq.ParquetFile:
    return pq.ParquetFile(_existing(folder, f"{name}.parquet"))


def _existing(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.exists():
        raise NotFoundError(f"the report {folder.name} is not there any more")
    return path
