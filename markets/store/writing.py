"""How candles get into the files of a series. All of it is for the one who holds the series' lock."""

import logging
import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from markets.candles import Candles
from markets.errors import StoreError
from markets.store.combining import Revised, combine, union
from markets.store.disk import translated
from markets.store.files import Sheet
from markets.store.journal import ROW_BYTES, journal_name
from markets.store.keeping import Keeper
from markets.store.layout import Span, day_of, keeps_days, months_of
from markets.store.shelf import DamagedError

logger = logging.getLogger(__name__)

# A day that is over is merged into its month in the first half of the next, each series at its own minute, so that
# not all of them rewrite a month with the same candle.
_MINUTES_TO_SPREAD = 720
_MANY_ROWS = 100
_MANY_DAYS = 3
# A journal is checked row by row, and rewriting its file is put off no longer than this.
_JOURNAL_BYTES = 100 * ROW_BYTES


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did. ``unchanged`` candles were stored already and stayed as they were.

    ``is_append`` says that nothing changed at or before the candle that was the last one, ``edit`` is the series'
    number of such changes after it.
    """

    added: int
    unchanged: int
    revised: tuple[Revised, ...]
    is_append: bool
    edit: int


class Writer(Keeper):
    """Puts candles of one series where they belong while its lock is held."""

    def look(self) -> None:
        """Learn what there is, put damaged files that are met away, and end a merge of days that was cut short."""
        if self.find_as_left():
            return
        while True:
            try:
                self.list_files()
                self._heal()
            except DamagedError as damage:
                self.bury(damage)
            else:
                return

    def merge(self, candles: Candles, *, corrects: bool, is_live: bool) -> Merged:
        """Store candles. When this returns they are on the disk for good; live ones in a journal, where that does."""
        added = 0
        revised: list[Revised] = []
        while True:
            self.look()
            try:
                for now_added, now_revised in self._merge(candles, corrects=corrects, is_live=is_live):
                    added, revised = added + now_added, revised + now_revised
            except DamagedError as damage:
                # What was written before it was met stays, and is not written again.
                self.bury(damage)
            else:
                break
        is_bulk = len(candles) > _MANY_ROWS
        # A month takes long to write, and who tells what a live candle means waits; ``fold_all`` comes later.
        if is_bulk or not is_live or len(self.old_days()) >= _MANY_DAYS:
            self._tidy_and_leave(is_bulk=is_bulk)
        else:
            self.leave()
        return Merged(added, len(candles) - added - len(revised), tuple(sorted(revised)), self.is_append, self.edit)

    def fold_all(self) -> None:
        """Write what stands in any journal into the file beside it, and days that are over into their months."""
        while True:
            self.look()
            try:
                self.fold(self.files)
            except DamagedError as damage:
                self.bury(damage)
            else:
                break
        self._tidy_and_leave(is_bulk=False)

    def fold(self, spans: Iterable[Span]) -> None:
        """Write what stands in the journals of ``spans`` into the files beside them."""
        behind = [span for span in spans if self.files[span].journal]
        for span in behind:
            sheet = self.shelf.sheet(span, self.files[span], with_flow=True)
            self._note_end(span, sheet)
            self.put(span, sheet.candles)
        if not all(span.is_day for span in behind):
            self.save_manifest()

    def tidy(self, days: Collection[Span]) -> None:
        """Merge days into their months. Both hold the candles for a moment; readers take each once."""
        # Who has listed a day, and reads it only now, must find all of it in its file: its journal goes before it.
        self.fold(days)
        for month in sorted({day.month for day in days}):
            inside = [day for day in days if day.month == month]
            sheets = [self.shelf.sheet(day, self.files[day], with_flow=True).candles for day in inside]
            if month in self.files:
                sheets.append(self.shelf.sheet(month, self.files[month], with_flow=True, is_kept=False).candles)
            # Whoever follows a series live reads its days; months of hundreds would only push those out of the cache.
            self.put(month, union(sheets), is_kept=False)
            self.save_manifest()
            for day in inside:
                path = self.shelf.path(day.name)
                self.drop_journal(day)
                with translated(path):
                    self.shelf.disk.unlink(path)
                self.shelf.cache.drop(path)
                del self.files[day]

    def old_days(self) -> list[Span]:
        """Return the days before the newest."""
        return sorted(span for span in self.files if span.is_day)[:-1]

    def _merge(self, candles: Candles, *, corrects: bool, is_live: bool) -> Iterator[tuple[int, list[Revised]]]:
        """Write file after file; yield how many candles each one added, and the revised ones."""
        last = self.shelf.last_time(self.files)
        if is_live and last is not None and (span := self._file_before(candles, last)) is not None:
            self.append(span, candles)
            yield len(candles), []
            return
        newest = int(candles.open_time[-1]) if last is None else max(last, int(candles.open_time[-1]))
        is_manifest_behind = False
        for span, rows in self._routes(candles, newest):
            sheet = self.shelf.sheet(span, self.files[span], with_flow=True) if span in self.files else None
            combined = combine(sheet.candles if sheet is not None else Candles.empty(), rows, corrects=corrects)
            if last is not None and combined.first_change is not None and combined.first_change <= last:
                self.note_change()
                is_manifest_behind = True
            if sheet is not None:
                self._note_end(span, sheet)
            if combined.is_new or span in self.shelf.unsure:
                self.put(span, combined.candles)
                is_manifest_behind |= not span.is_day
            yield combined.added, list(combined.revised)
        if is_manifest_behind:
            self.save_manifest()

    def _routes(self, candles: Candles, newest: int) -> Iterator[tuple[Span, Candles]]:
        """Say which candles go into which file: a day's where there is one, the newest day's, else the month's."""
        for month in months_of(candles.open_time):
            rows = candles.between(month.start, month.end)
            month_last = self.shelf.last_of(month, self.files[month]) if month in self.files else -1
            days = {span for span in self.files if span.is_day and span.month == month}
            today = day_of(newest)
            if keeps_days(self.shelf.series.timeframe) and today.month == month and month_last < today.start:
                days.add(today)
            for day in sorted(days):
                in_day = (rows.open_time >= day.start) & (rows.open_time < day.end)
                if month_last >= day.start:
                    stored = self.shelf.sheet(month, self.files[month]).candles.open_time
                    in_day &= ~np.isin(rows.open_time, stored)
                if in_day.any():
                    yield day, rows.take(in_day)
                    rows = rows.take(~in_day)
            if len(rows):
                yield month, rows

    def _note_end(self, span: Span, sheet: Sheet) -> None:
        """Say so when the journal of a file ends in what is no candle, which goes when the file is written next.

        A crash in the middle of an append leaves that, and nothing is lost by it; or a disk that changes bits.
        """
        if not sheet.is_sound:
            told = {"series": str(self.shelf.series), "file": journal_name(span)}
            logger.error("a journal ends in what is no candle; it is cut off there", extra=told)
            self.note_change()

    def _file_before(self, candles: Candles, last: int) -> Span | None:
        """Return the file whose journal takes ``candles``: they follow all there is, and belong into the newest file.

        None where they do not, or the file has to be written first.
        """
        span, first, end = self.newest, int(candles.open_time[0]), int(candles.open_time[-1])
        is_whole = span.is_day or not keeps_days(self.shelf.series.timeframe) or last >= day_of(end).start
        size = self.files[span].journal + len(candles) * ROW_BYTES
        if first <= last or end >= span.end or not is_whole or size > _JOURNAL_BYTES or span in self.shelf.unsure:
            return None
        sheet = self.shelf.sheet(span, self.files[span], with_flow=True)
        return span if sheet.is_sound and sheet.candles.open_time[-1] == last else None

    def _heal(self) -> None:
        """End a merge of days into their month that a crash cut short: both hold the same candles then."""
        cut_short = []
        for day in [span for span in self.files if span.is_day and span.month in self.files]:
            month_seen = self.files[day.month]
            if self.shelf.last_of(day.month, month_seen) < day.start:
                continue
            times = self.shelf.sheet(day, self.files[day]).candles.open_time
            if np.isin(times, self.shelf.sheet(day.month, month_seen).candles.open_time).any():
                cut_short.append(day)
        if cut_short:
            self.tidy(cut_short)

    def _tidy_and_leave(self, *, is_bulk: bool) -> None:
        """Merge days that are over into their months. What was to be stored is stored, so this may wait or fail."""
        try:
            if self._must_tidy(is_bulk=is_bulk):
                self.tidy(self.old_days())
        except DamagedError as damage:
            self.bury(damage)
        except StoreError as error:
            logger.warning("days wait to be merged", extra={"series": str(self.shelf.series), "error": str(error)})
        else:
            self.leave()

    def _must_tidy(self, *, is_bulk: bool) -> bool:
        old = self.old_days()
        newest = self.shelf.last_time(self.files) if old else None
        if newest is None:
            return False
        minute = zlib.crc32(str(self.shelf.series).encode()) % _MINUTES_TO_SPREAD
        return is_bulk or len(old) >= _MANY_DAYS or newest >= day_of(newest).start + minute * 60_000
