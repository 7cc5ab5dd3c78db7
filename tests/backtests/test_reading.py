"""Parts of a published report."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from backtests.reports import read_columns


def test_every_part_of_a_report_is_that_part_of_the_whole(tmp_path: Path) -> None:
    """Whether it begins or ends within a row group, spans several, or lies behind the last row."""
    rows = list(range(20))
    table = pa.table({"trade": rows, "text": [f"row {row}" for row in rows]})
    pq.write_table(table, tmp_path / "trades.parquet", row_group_size=6)
    for start in range(23):
        for count in [None, *range(23)]:
            part = read_columns(tmp_path, "trades", start=start, count=count)
            wanted = rows[start:] if count is None else rows[start : start + count]
            assert part["trade"].tolist() == wanted, f"rows from {start}, {count} of them"
            assert part["text"].tolist() == [f"row {row}" for row in wanted]
