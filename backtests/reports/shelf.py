"""Where reports lie on disk: published whole or not at all, and swept.

::

    <data>/backtests/<id>/   trades.csv  equity.csv  metrics.json  trades.parquet  equity.parquet
    <reports>/<SYMBOL>/<timeframe>/<id>.csv    the trades once more, where people look for them
"""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from backtests.reports.encoding import METRICS, TRADES, Data, Files
from markets.errors import NotFoundError, StoreError
from markets.store.disk import TEMPORARY, Disk, commit, make_folder, replace_file, translated

# A folder left by a process that died is swept when it is older than any job may run.
_ABANDONED_SECONDS = 3_600.0


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
        self, run_id: int, files: Files, *, symbol: str, timeframe: str, confirm: Callable[[], None] = lambda: None
    ) -> Path:
        """Make the report of a run visible by one rename, after its copy for people; return its folder.

        ``confirm`` is called before anything is visible and may raise to stop it. Raises ``StoreFullError`` when
        the disk is full; then nothing is visible that was not before.
        """
        copy = self.reports / symbol / timeframe / f"{run_id}.csv"
        make_folder(self._disk, copy.parent)

        def show_copy(written: Path) -> None:
            commit(self._disk, copy, (written / f"{TRADES}.csv").read_bytes(), confirm=confirm)

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


def publish_into(folder: Path, files: Files) -> Path:
    """Put ``files`` into a folder that may hold others, each of them whole; the metrics come last."""
    if not folder.exists():
        return publish_folder(folder, files)
    for name, data in sorted(files, key=lambda each: each[0] == METRICS):
        replace_file(folder / name, data)
    return folder


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
