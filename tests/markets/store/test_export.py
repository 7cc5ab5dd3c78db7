"""Parquet for people who download."""

import io

import numpy as np
import pyarrow.parquet as pq
import pytest

from markets.store.export import parquet_chunks


def test_parts_become_one_file_piece_by_piece() -> None:
    parts = [
        {"open_time": [f"t{at}" for at in range(low, low + 100)], "close": np.arange(low, low + 100.0)}
        for low in range(0, 500, 100)
    ]
    chunks = list(parquet_chunks(iter(parts), {"open_time": str, "close": float}))
    assert len(chunks) == 6
    file = pq.ParquetFile(io.BytesIO(b"".join(chunks)))
    assert file.num_row_groups == 5
    table = file.read().to_pydict()
    assert table["close"] == list(np.arange(500.0))
    assert table["open_time"] == [f"t{at}" for at in range(500)]


@pytest.mark.parametrize("first", [[], [None, None]])
def test_a_part_without_values_leaves_the_types_of_the_others(first: list[None]) -> None:
    types = {"time": str, "close": float, "side": int, "is_new": bool}
    values = {"time": ["t"], "close": np.array([2]), "side": [-1], "is_new": [True]}
    chunks = parquet_chunks([dict.fromkeys(types, first), values], types)
    told = pq.ParquetFile(io.BytesIO(b"".join(chunks))).read().to_pydict()
    assert told == {"time": [*first, "t"], "close": [*first, 2.0], "side": [*first, -1], "is_new": [*first, True]}


def test_no_parts_make_a_file_of_the_columns_alone() -> None:
    file = pq.ParquetFile(io.BytesIO(b"".join(parquet_chunks([], {"close": float}))))
    assert file.read().to_pydict() == {"close": []}
