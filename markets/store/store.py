"""``CandleStore``: closed candles of every series, in Parquet files below one folder."""

import hashlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from markets.candles import COLUMNS, Candles
from markets.errors import InvalidCandlesError, StoreError
from markets.series import EARLIEST, LATEST, SeriesKey
from markets.store.cache import SheetCache
from markets.store.clearing import ClearedUp, clear_up
from markets.store.combining import Source
from markets.store.coverage import Coverage
from markets.store.disk import Disk, make_folder
from markets.store.layout import DAMAGED, QUARANTINE, folder_of, require_readable, series_below
from markets.store.locks import SeriesLock
from markets.store.shelf import DamagedError, Files, Shelf, Version
from markets.store.verify import Verified, verify
from markets.store.writing import Merged, Writer

logger = logging.getLogger(__name__)

T = TypeVar("T")

RESERVE_BYTES = 128 * 1024 * 1024
_CACHE_BYTES = 64 * 1024 * 1024
# A listing is out of date when a file of it goes while it is read; a writer merges a day away once a day.
_TRIES = 100


class CandleStore:
    """Reads and writes closed candles. Safe to use from any number of threads and processes at once.

    Parameters
    ----------
    root
        The data folder; candles lie in ``candles/<SYMBOL>/<timeframe>`` below it. Made with the first write.
    cache_seconds
        How long a decoded file serves before it is read and checked against its seal again.
    reserve_bytes
        Writes are refused with ``StoreFullError`` when they would leave less free space than this.
    disk
        The operations on files; tests put their own in.
    """

    def __init__(
        self,
        root: Path,
        *,
        cache_seconds: float = 300.0,
        reserve_bytes: int = RESERVE_BYTES,
        disk: Disk | None = None,
    ) -> None:
        self.root = Path(root)
        self._reserve_bytes = reserve_bytes
        self._disk = disk if disk is not None else Disk()
        self.cache = SheetCache(max_bytes=_CACHE_BYTES, seconds=cache_seconds)
        self._shelves: dict[SeriesKey, Shelf] = {}
        self._lock = threading.Lock()

    def series(self) -> list[SeriesKey]:
        """Return the series that have candles."""
        return [series for series in series_below(self.root) if self._shelf(series).has_files()]

    def read(self, series: SeriesKey, *, start: int | None, end: int | None, with_flow: bool = False) -> Candles:
        """Return the stored candles with ``start <= open_time < end`` (UTC ms, None for no bound)."""
        shelf = self._shelf(series)
        return self._reading(shelf, lambda files: shelf.read(files, start=start, end=end, with_flow=with_flow))

    def newest(self, series: SeriesKey, count: int, *, before: int | None = None) -> Candles:
        """Return the last ``count`` candles, of those with ``open_time < before`` where that is given."""
        if count <= 0:
            return Candles.empty()
        shelf = self._shelf(series)
        return self._reading(shelf, lambda files: shelf.newest(files, count, before=before))

    def last_time(self, series: SeriesKey) -> int | None:
        """Return the open time of the last stored candle, None when there is none."""
        shelf = self._shelf(series)
        return self._reading(shelf, shelf.last_time)

    def coverage(self, series: SeriesKey) -> Coverage | None:
        """Return what is stored and what lacks between, None when nothing is stored."""
        shelf = self._shelf(series)
        return self._reading(shelf, shelf.coverage)

    def edit(self, series: SeriesKey) -> int:
        """Return a number that rises whenever anything at or before the last stored candle changed."""
        shelf = self._shelf(series)
        return self._reading(shelf, lambda files: shelf.numbers(files)[0])

    def version(self, series: SeriesKey) -> Version:
        """Return ``last_time`` and ``edit`` of one moment: as long as both stay, so does every stored candle."""
        shelf = self._shelf(series)
        return shelf.version(
            lambda: self._reading(shelf, lambda files: (shelf.last_time(files), shelf.numbers(files)[0]))
        )

    def digest(self, series: SeriesKey, *, start: int | None, end: int | None) -> str:
        """Return a SHA-256 of the candles in a range; equal digests mean equal times, prices and volumes."""
        return digest_of(self.read(series, start=start, end=end))

    def merge(self, series: SeriesKey, candles: Candles, *, source: Source) -> Merged:
        """Store closed candles; they are on the disk for good when this returns. Safe to repeat.

        What a stream tells may stand in a journal beside its file until ``fold``, as much stored as any other.
        Of a stored candle with other values, REST and the archive are believed (a revision), a stream or a file not.

        Raises
        ------
        InvalidCandlesError
            A time is no multiple of the timeframe, or so far off that its unit must be wrong.
        StoreFullError
            The disk is full; nothing was changed.
        StoreError
            The disk failed, or another process holds the series for long.
        """
        if not len(candles):
            return Merged(0, 0, (), is_append=True, edit=self.edit(series))
        _check_times(series, candles)
        shelf = self._shelf(series)
        make_folder(self._disk, shelf.folder)
        with SeriesLock(shelf.folder) as lock:
            writer = self._writer(shelf, lock)
            return writer.merge(candles, corrects=source.corrects, is_live=source is Source.STREAM)

    def fold(self, series: SeriesKey) -> None:
        """Write what a stream added, and stands in journals yet, into the Parquet files, and days into their months.

        Until then it is durable, and read with the rest by this store, but not by programs without our code.

        Raises
        ------
        StoreError
            The disk is full or failed, or another process holds the series for long; nothing was changed.
        """
        shelf = self._shelf(series)
        if any(seen.journal for seen in shelf.files().values()):
            with SeriesLock(shelf.folder) as lock:
                self._writer(shelf, lock).fold_all()

    def verify(
        self, series: SeriesKey | None = None, *, report: Callable[[int, int], None] = lambda done, of: None
    ) -> Verified:
        """Open every file of one series, or of all, and say what is wrong. Changes nothing.

        ``report`` is told after each series how many are done, of how many.
        """
        total = Verified()
        require_readable(self.root)
        wanted = [series] if series is not None else series_below(self.root)
        for done, each in enumerate(wanted, start=1):
            shelf = self._shelf(each)
            found = verify(shelf)
            if found.problems and shelf.folder.is_dir():
                # It may have been in the middle of a change; nobody changes it now.
                with SeriesLock(shelf.folder):
                    found = verify(shelf)
            total += found
            report(done, len(wanted))
        return total

    def clear_up(self) -> ClearedUp:
        """Clear up what a crash left: temporary files, journals, merges cut short, files the manifest does not know.

        Safe at any time; to be called when a process starts.

        Raises
        ------
        StoreError
            The data folder cannot be written to.
        """
        make_folder(self._disk, self.root)
        total = ClearedUp()
        for series in series_below(self.root):
            shelf = self._shelf(series)
            with SeriesLock(shelf.folder) as lock:
                total += clear_up(self._writer(shelf, lock))
        return total

    def set_aside(self) -> list[tuple[SeriesKey, str]]:
        """Return the damaged files in the quarantine, each by its series and the month or day it was of."""
        below = self.root / QUARANTINE
        return [
            (series, path.name.partition(".")[0])
            for series in series_below(below)
            for path in sorted(folder_of(below, series).glob(DAMAGED))
        ]

    def has_space(self) -> bool:
        """Say whether writes are possible: cheap, to be asked often."""
        return self._disk.free_bytes(_existing(self.root)) >= self._reserve_bytes

    def _shelf(self, series: SeriesKey) -> Shelf:
        with self._lock:
            if series not in self._shelves:
                folder = folder_of(self.root, series)
                graveyard = folder_of(self.root / QUARANTINE, series)
                self._shelves[series] = Shelf(series, folder, graveyard=graveyard, disk=self._disk, cache=self.cache)
            return self._shelves[series]

    def _writer(self, shelf: Shelf, lock: SeriesLock) -> Writer:
        return Writer(shelf, lock, reserve_bytes=self._reserve_bytes)

    def _reading(self, shelf: Shelf, work: Callable[[Files], T]) -> T:
        for _ in range(_TRIES):
            try:
                return work(shelf.files())
            except FileNotFoundError:
                continue
            except DamagedError as damage:
                self._bury(shelf, damage)
        raise StoreError(f"the files of {shelf.series} change faster than they can be read")

    def _bury(self, shelf: Shelf, damage: DamagedError) -> None:
        try:
            with SeriesLock(shelf.folder) as lock:
                self._writer(shelf, lock).bury(damage)
        except (OSError, StoreError):
            logger.exception("a damaged file cannot be moved away", extra={"series": str(shelf.series)})
            shelf.shunned[damage.span] = damage.seen


def digest_of(candles: Candles) -> str:
    """Return a SHA-256 of times, prices and volumes."""
    check = hashlib.sha256()
    for name in COLUMNS:
        check.update(np.ascontiguousarray(getattr(candles, name), "<i8" if name == "open_time" else "<f8").data)
    return check.hexdigest()


def _check_times(series: SeriesKey, candles: Candles) -> None:
    times = candles.open_time
    if (times % series.timeframe.milliseconds).any():
        raise InvalidCandlesError(f"times of {series} must be multiples of {series.timeframe.value}")
    if times[0] < EARLIEST or times[-1] >= LATEST:
        raise InvalidCandlesError("times must be UTC milliseconds between the years 1970 and 2100")


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())
