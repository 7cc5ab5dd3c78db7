"""Bringing a series' log up to its candles: folding what is new, rebuilding what no longer holds."""

import errno
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from markets.candles import Candle, Candles
from markets.errors import CorruptFileError, InvalidInputError, StoreError, StoreFullError
from markets.series import SeriesKey
from markets.store import CandleStore
from signals.engine import Params
from signals.engine.table import UNSET
from signals.log import months
from signals.log.generations import (
    Generation,
    current_folder,
    install,
    live_params,
    new_folder,
    next_revision,
    series_lock,
)
from signals.log.journal import NAME as JOURNAL
from signals.log.journal import Frame, JournalReader, Opening, append, status_of, write_journal
from signals.log.states import Detectors, candles_checksum
from signals.log.told import tell_again_from

logger = logging.getLogger(__name__)

# The journal is merged into the month files when it has this many candles, or in a quiet moment after this long.
_MERGE_FRAMES = 512
_MERGE_SECONDS = 300.0
# A fold of more candles than this is written to the month files at once.
_BULK_CANDLES = 2_000


class SeriesLog:
    """The writing end of one series' log.

    Any number of processes may hold one. Each takes the series' lock for every change and looks whether another
    has written since; what it then holds in memory is read anew.
    """

    def __init__(
        self, series: SeriesKey, *, store: CandleStore, root: Path, params: tuple[Params, Params] | None = None
    ) -> None:
        self.series = series
        self._store = store
        self._root = root
        self._params = params if params is not None else live_params()
        self._folder: Path | None = None
        self._detectors = Detectors(self._params)
        self._edit = 0
        self._seen: tuple[int, int] | None = None
        self._frames = 0
        self._merged_at = time.monotonic()
        self.generation = Generation.of(self._params)

    @property
    def through(self) -> int | None:
        """Open time of the last candle judged."""
        return None if self._detectors.through == UNSET else self._detectors.through

    @property
    def first(self) -> int | None:
        """Open time of the first candle judged."""
        return None if self._detectors.first == UNSET else self._detectors.first

    @property
    def edit(self) -> int:
        """The store's number of changes that the log knows of."""
        return self._edit

    def catch_up(self, *, before: int | None = None) -> Frame | None:
        """Fold the stored candles that the log lacks, building or rebuilding it where needed.

        None that opens at or after ``before`` is folded, if that is given.

        Returns
        -------
        Frame | None
            The facts of the candles folded; None when the log was built anew.
        """
        with self._writing():
            edit = self._store.edit(self.series)
            if (not self._is_open() and not self._open()) or (edit != self._edit and not self._still_holds()):
                self._build(before)
                return None
            candles = self._store.read(self.series, start=self._detectors.through + 1, end=before)
            return self._append(candles, edit)

    def advance(self, candles: Candles, *, edit: int) -> Frame | None:
        """Fold candles that were just stored; ``edit`` is the store's number after that.

        Returns
        -------
        Frame | None
            The facts of the candles folded; None when more had happened (another process wrote, candles judged
            earlier changed): then this was ``catch_up``.
        """
        with self._writing():
            if self._is_open() and edit == self._edit:
                return self._append(candles.between(self._detectors.through + 1, None), self._edit)
        self.catch_up()
        return None

    def preview(self, candle: Candle) -> Frame:
        """Return the facts of a candle that is still forming; they are not kept."""
        return self._detectors.preview(candle)

    def merge_when_due(self) -> None:
        """Merge the journal into the month files, if that was long ago: for when nobody waits."""
        if self._frames and time.monotonic() - self._merged_at > _MERGE_SECONDS:
            self.merge()

    def merge(self) -> None:
        """Merge the journal into the month files."""
        with self._writing():
            if self._is_open():
                self._merge([])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the series' lock, and tell the disk's errors as ours.

        What was written only in part is read anew by the next call.
        """
        try:
            with series_lock(self._root, self.series):
                yield
        except OSError as error:
            self._folder = None
            kind = StoreFullError if error.errno == errno.ENOSPC else StoreError
            raise kind(f"the signal log of {self.series} cannot be written: {error.strerror}") from error

    def _is_open(self) -> bool:
        """Whether what is held in memory is what is on disk."""
        if self._folder is None:
            return False
        try:
            return status_of(self._folder) == self._seen
        except FileNotFoundError:
            return False

    def _open(self) -> bool:
        """Read the current log; False when there is none, or none that can be gone on with."""
        self._folder = None
        folder = current_folder(self._root, self.series)
        if folder is None:
            return False
        generation = Generation.parse(folder.name)
        if generation is None or not generation.is_made_like(Generation.of(self._params)):
            return False
        try:
            return self._restore(folder, generation)
        except (CorruptFileError, InvalidInputError, FileNotFoundError) as error:
            logger.warning("a signal log cannot be gone on with", extra={"series": str(self.series), "why": str(error)})
            return False

    def _restore(self, folder: Path, generation: Generation) -> bool:
        journal = JournalReader(folder)
        opening, frames = journal.opening, journal.new_frames()
        detectors = Detectors.from_bytes(journal.states(), self._params, first=opening.first, checksum=opening.checksum)
        last = frames[-1] if frames else opening
        if os.path.getsize(folder / JOURNAL) > journal.position:  # noqa: PTH202
            os.truncate(folder / JOURNAL, journal.position)
        between = self._store.read(self.series, start=detectors.through + 1, end=journal.through + 1)
        detectors.take(between)
        if (detectors.through, detectors.checksum) != (journal.through, last.checksum):
            return False
        self._folder, self.generation, self._detectors = folder, generation, detectors
        self._edit, self._frames, self._seen = last.edit, len(frames), status_of(folder)
        return True

    def _still_holds(self) -> bool:
        """Whether the candles folded so far are, after an edit of the store, what they were."""
        folded = self._store.read(self.series, start=None, end=self._detectors.through + 1)
        return candles_checksum(folded) == self._detectors.checksum

    def _append(self, candles: Candles, edit: int) -> Frame:
        frame = self._detectors.take(candles, edit=edit)
        if not len(candles) and edit == self._edit:
            return frame
        self._edit = edit
        assert self._folder is not None  # noqa: S101  # every caller has opened the log
        if len(candles) > _BULK_CANDLES:
            self._merge([frame])
            return frame
        self._seen = append(self._folder, frame)
        self._frames += 1
        if self._frames >= _MERGE_FRAMES:
            self._merge([])
        return frame

    def _merge(self, more: list[Frame]) -> None:
        """Move the journal's facts, and ``more`` that follow them, into the month files."""
        assert self._folder is not None  # noqa: S101
        folder, self._folder = self._folder, None
        journal = JournalReader(folder)
        frames = [*journal.new_frames(), *more]
        _merge_months(folder, journal.opening.base, frames, self.series, self.generation)
        self._begin_journal(folder)

    def _begin_journal(self, folder: Path) -> None:
        states = self._detectors.to_bytes()
        opening = Opening(
            base=self._detectors.through,
            first=self._detectors.first,
            bars=self._detectors.bars,
            edit=self._edit,
            checksum=self._detectors.checksum,
            state_sizes=(len(states[0]), len(states[1])),
        )
        write_journal(folder, opening, states)
        self._folder, self._seen = folder, status_of(folder)
        self._frames, self._merged_at = 0, time.monotonic()

    def _build(self, before: int | None) -> None:
        """Make the log from all stored candles, under a revision that no log like it has had."""
        self._folder = None
        self._edit = self._store.edit(self.series)
        candles = self._store.read(self.series, start=None, end=before)
        self._detectors = Detectors(self._params)
        made = Generation.of(self._params)
        self.generation = Generation.of(self._params, next_revision(self._root, self.series, made))
        if not len(candles):
            return
        frame = self._detectors.take(candles, edit=self._edit)
        with new_folder(self._root) as building:
            _merge_months(building, UNSET, [frame], self.series, self.generation)
            self._begin_journal(building)
            tell_again_from(self._root, self.series, frame.signals)
            folder = install(self._root, self.series, building, self.generation)
        self._folder = folder
        logger.info(
            "signal log built",
            extra={"series": str(self.series), "generation": str(self.generation), "candles": len(candles)},
        )


def _merge_months(folder: Path, base: int, frames: list[Frame], series: SeriesKey, generation: Generation) -> None:
    """Write the months that ``frames`` touch: what their files hold up to ``base``, then the frames' rows."""
    signals = np.concatenate([frame.signals for frame in frames]) if frames else None
    if signals is not None:
        for month, rows in months.by_month(signals, "confirm_time"):
            stored = months.read_signals(folder, month)
            kept = stored[stored["confirm_time"] <= base]
            months.write_signals(folder, month, np.concatenate([kept, rows]), series, generation)
        marks = np.concatenate([frame.marks for frame in frames])
        for month, rows in months.by_month(marks, "time"):
            stored = months.read_marks(folder, month)
            kept = stored[stored["time"] <= base]
            months.write_marks(folder, month, np.concatenate([kept, rows]), series)
