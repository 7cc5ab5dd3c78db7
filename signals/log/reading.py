"""The reading end of the logs: views that follow what is written, kept in memory while there is room."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from markets.errors import CorruptFileError
from markets.series import SeriesKey
from signals.log import months
from signals.log.generations import CurrentFolders, Generation
from signals.log.journal import Frame, JournalReader, Opening, no_facts, status_of
from signals.log.rows import in_order
from signals.log.views import LogView

# Months of more bytes than this are dropped, those of the view least recently asked for first.
_MEMORY = 256 * 2**20
_TRIM_SECONDS = 1.0


class SignalLog:
    """All logs of a data folder, for reading. Threads may share one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._open: OrderedDict[SeriesKey, _Open] = OrderedDict()
        self._folders = CurrentFolders(root)
        self._lock = threading.RLock()
        self._trimmed_at = time.monotonic()

    def view(self, series: SeriesKey) -> LogView | None:
        """Return the log as it stands now; None where the series has none."""
        with self._lock:
            for _ in range(8):
                try:
                    return self._current(series)
                except FileNotFoundError:
                    # Another process replaced the generation between two of our looks.
                    self._forget(series)
            return None

    def _current(self, series: SeriesKey) -> LogView | None:
        opened = self._open.get(series)
        folder = self._folders.of(series)
        if folder is None:
            self._forget(series)
            return None
        if opened is None or opened.view.folder != folder:
            self._forget(series)
            opened = self._open[series] = _Open.of(series, folder)
        else:
            opened.refresh()
        self._open.move_to_end(series)
        self.trim()
        return opened.view

    def _forget(self, series: SeriesKey) -> None:
        self._open.pop(series, None)
        self._folders.forget(series)

    def trim(self) -> None:
        """Drop the months that are too many, now and then: to add up what all series hold takes its time.

        It is also for when a reader is done, who loads months after it got the views.
        """
        with self._lock:
            now = time.monotonic()
            if now - self._trimmed_at < _TRIM_SECONDS:
                return
            self._trimmed_at = now
            held = self.nbytes
            for opened in [*self._open.values()][:-1]:
                if held <= _MEMORY:
                    break
                former, opened.view = opened.view, opened.view.without_months()
                held -= former.nbytes - opened.view.nbytes

    @property
    def nbytes(self) -> int:
        with self._lock:
            return sum(each.view.nbytes for each in self._open.values())


@dataclass(slots=True, eq=False)
class _Open:
    """A log that is being followed: its journal as far as it was read, and the view of that."""

    journal: JournalReader
    size: int
    view: LogView

    @classmethod
    def of(cls, series: SeriesKey, folder: Path) -> "_Open":
        generation = Generation.parse(folder.name)
        if generation is None:
            raise CorruptFileError(f"{folder} is not a log's folder")
        journal = JournalReader(folder)
        frames = journal.new_frames()
        _, size = status_of(folder)
        opening = journal.opening
        signals, marks = no_facts()
        empty = LogView(
            series, generation, folder, opening.base, opening.base, opening.first, opening.edit, signals, marks
        )
        return cls(journal, size, empty.advanced(frames, opening.base))

    def refresh(self) -> None:
        """Follow what was written since."""
        inode, size = status_of(self.view.folder)
        if inode == self.journal.inode:
            if size != self.size:
                self.size = size
                self._advance(self.journal.new_frames())
            return
        self.journal = JournalReader(self.view.folder)
        self.size = size
        base = self.journal.opening.base
        through = self.view.through
        frames = [frame.after(through) for frame in self.journal.new_frames() if frame.through > through]
        if through < base:
            frames.insert(0, _merged_facts(self.view, self.journal.opening))
        self._advance(frames)

    def _advance(self, frames: list[Frame]) -> None:
        if frames or self.journal.opening.base != self.view.base:
            self.view = self.view.advanced(frames, self.journal.opening.base)


def _merged_facts(view: LogView, opening: Opening) -> Frame:
    """Return the facts after the view up to a journal's base from the month files: no journal has them any more."""
    base = opening.base
    first, last = months.month_of(max(view.through, 0)), months.month_of(base)
    wanted = range(first, last + 1)
    signals, marks = no_facts()
    signals = np.concatenate([signals, *(months.read_signals(view.folder, month) for month in wanted)])
    marks = np.concatenate([marks, *(months.read_marks(view.folder, month) for month in wanted)])
    new_signals = signals[(signals["confirm_time"] > view.through) & (signals["confirm_time"] <= base)]
    new_marks = marks[(marks["time"] > view.through) & (marks["time"] <= base)]
    facts = in_order(new_signals, "confirm_time"), in_order(new_marks, "time")
    return Frame(view.through, base, opening.edit, opening.checksum, *facts)
