"""Reports on disk: trades, equity and metrics, as CSV and Parquet, published whole or not at all.

::

    <data>/backtests/<id>/   trades.csv  equity.csv  metrics.json  trades.parquet  equity.parquet
    <reports>/<SYMBOL>/<timeframe>/<id>.csv    the trades once more, where people look for them
"""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from backtests.engine.labels import Labels
from backtests.engine.run import Result
from backtests.engine.text import LARGEST, equity_rows
from markets.errors import NotFoundError, StoreError
from markets.store.disk import TEMPORARY, Disk, make_folder, translated

TRADES, EQUITY, METRICS = "trades", "equity", "metrics.json"

_ROW_GROUP = 65_536
_PIECE = 1 << 20
# A folder left by a process that died is swept when it is older than any job may run.
_ABANDONED_SECONDS = 3_600.0
_CELL_STARTS = ("=", "+", "-", "@", "\t", "\r")

Data = bytes | memoryview
Files = Iterable[tuple[str, Data]]


def report_files(result: Result) -> Iterator[tuple[str, Data]]:
    """Yield the files of a report with their names, the largest first; equal results give equal bytes.

    Each is made when it is asked for, so that the disk can take one while the next is made.
    """
    curve = result.equity.columns()
    yield f"{EQUITY}.csv", equity_csv(curve)
    yield f"{EQUITY}.parquet", _parquet(_table(curve))
    trades = _table(result.trades.columns())
    yield f"{TRADES}.csv", _csv(trades)
    yield f"{TRADES}.parquet", _parquet(trades)
    yield METRICS, orjson.dumps(result.metrics, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def equity_csv(curve: Mapping[str, Any]) -> Data:
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


def _yes() -> None:
    """Agree."""


class ReportShelf:
    """Where the reports of runs are: published, read, swept.

    Parameters
    ----------
    root
        The data folder; reports lie in ``backtests/<id>`` below it.
    reports
        The folder of the people's copies.
    disk
        The operations on files; tests put their own in.
    """

    def __init__(self, root: Path, reports: Path, *, disk: Disk | None = None) -> None:
        self.root, self.reports = root / "backtests", reports
        self._disk = disk if disk is not None else Disk()

    def publish(
        self, run_id: int, files: Files, *, symbol: str, timeframe: str, confirm: Callable[[], None] = _yes
    ) -> Path:
        """Make the report of a run visible by one rename, after its copy for people; return its folder.

        ``confirm`` is called before anything is visible and may raise to stop it. Raises ``StoreFullError`` when
        the disk is full; then nothing is visible that was not before.
        """
        copy = self.reports / symbol / timeframe / f"{run_id}.csv"
        make_folder(self._disk, copy.parent)

        def show_copy(written: Path) -> None:
            confirm()
            replace_file(copy, (written / f"{TRADES}.csv").read_bytes(), disk=self._disk)

        try:
            return publish_folder(self.root / str(run_id), files, disk=self._disk, before=show_copy)
        except StoreError:
            copy.unlink(missing_ok=True)
            raise

    def folder(self, run_id: int) -> Path:
        """Return the folder of a published report."""
        folder = self.root / str(run_id)
        if not folder.is_dir():
            raise NotFoundError(f"the report of run {run_id} is not there any more")
        return folder

    def has(self, run_id: int) -> bool:
        return (self.root / str(run_id) / METRICS).exists()

    def remove(self, run_id: int, *, symbol: str, timeframe: str) -> None:
        """Remove a report and its copy for people."""
        shutil.rmtree(self.root / str(run_id), ignore_errors=True)
        (self.reports / symbol / timeframe / f"{run_id}.csv").unlink(missing_ok=True)

    def sweep(self) -> int:
        """Remove what processes that died left half written; return how many folders."""
        if not self.root.is_dir():
            return 0
        abandoned = [
            each for each in self.root.iterdir() if each.name.endswith(TEMPORARY) and _age(each) > _ABANDONED_SECONDS
        ]
        for each in abandoned:
            shutil.rmtree(each, ignore_errors=True)
        return len(abandoned)


def _age(path: Path) -> float:
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime
    return 0.0


def publish_folder(
    folder: Path, files: Files, *, disk: Disk | None = None, before: Callable[[Path], None] = lambda written: None
) -> Path:
    """Make ``files`` the content of ``folder``, whole after one rename.

    ``before`` is called with the folder they were written to, before anybody sees it; it may raise to stop it.
    A folder that exists is put aside first: between two renames it is not there, and it is never a mixture.
    """
    disk = disk if disk is not None else Disk()
    make_folder(disk, folder.parent)
    fresh, former = (folder.with_name(f".{folder.name}.{secrets.token_hex(6)}{TEMPORARY}") for _ in range(2))
    try:
        with translated(folder):
            fresh.mkdir(mode=0o750)
            _write_files(disk, fresh, files)
            before(fresh)
            if folder.exists():
                disk.replace(folder, former)
            disk.replace(fresh, folder)
            disk.fsync_folder(folder.parent)
    finally:
        for each in (fresh, former):
            shutil.rmtree(each, ignore_errors=True)
    return folder


def publish_into(folder: Path, files: Files, *, disk: Disk | None = None) -> Path:
    """Put ``files`` into a folder that may hold others, each of them whole; the metrics come last."""
    disk = disk if disk is not None else Disk()
    if not folder.exists():
        return publish_folder(folder, files, disk=disk)
    for name, data in sorted(files, key=lambda each: each[0] == METRICS):
        replace_file(folder / name, data, disk=disk)
    return folder


def replace_file(path: Path, data: Data, *, disk: Disk) -> None:
    """Make ``data`` the content of one file, by a rename."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY}")
    with translated(path):
        try:
            _write_files(disk, path.parent, [(temporary.name, data)])
            disk.replace(temporary, path)
            disk.fsync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def _write_files(disk: Disk, folder: Path, files: Files) -> None:
    with ThreadPoolExecutor(1, "report") as writer:
        writing: list[Future[None]] = []
        for name, data in files:
            writing.append(writer.submit(_write_file, disk, folder / name, data))
            for each in writing:
                if each.done():
                    each.result()
        for each in writing:
            each.result()
    disk.fsync_folder(folder)


def _write_file(disk: Disk, path: Path, data: Data) -> None:
    handle = disk.open_new(path)
    try:
        left = memoryview(data)
        while left:
            left = left[disk.write(handle, left) :]
        disk.fsync(handle)
    finally:
        os.close(handle)


def read_columns(
    folder: Path, name: str, columns: Iterable[str] | None = None, *, start: int = 0, count: int | None = None
) -> dict[str, Any]:
    """Return columns of ``trades`` or ``equity`` of a published report, rows ``start`` to ``start + count``."""
    with _opened(folder, name) as file:
        table = file.read(columns=None if columns is None else list(columns))
    part = table.slice(start, count)
    return {each: part.column(each).to_numpy(zero_copy_only=False) for each in part.column_names}


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


def read_metrics(folder: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = orjson.loads((folder / METRICS).read_bytes())
    return metrics
