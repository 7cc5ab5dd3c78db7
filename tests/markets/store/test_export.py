"""Parquet for people who download."""

import io

import numpy as np
import pyarrow.parquet as pq

from markets.store.export import parquet_chunks


def test_parts_become_one_file_piece_by_piece() -> None:
    parts = [
        {"open_time": [f"t{at}" for at in range(low, low + 100)], "close": np.arange(low, low + 100.0)}
        for low in range(0, 500, 100)
    ]
    chunks = list(parquet_chunks(iter(parts)))
    assert len(chunks) == 6
    file = pq.ParquetFile(io.BytesIO(b"".join(chunks)))
    assert file.num_row_groups == 5
    table = file.read().to_pydict()
    assert table["close"] == list(np.arange(500.0))
    assert table["open_time"] == [f"t{at}" for at in range(500)]


def test_later_parts_take_the_types_of_the_first() -> None:
    chunks = parquet_chunks([{"close": np.array([1.5])}, {"close": np.array([2])}])
    assert pq.ParquetFile(io.BytesIO(b"".join(chunks))).read().to_pydict() == {"close": [1.5, 2.0]}


def test_no_parts_make_no_file() -> None:
    assert list(parquet_chunks([])) == []
