"""How candles get into the files of a series. All of it is for the one who holds the series' lock."""

import logging
import time
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from markets.candles import Candles, join
from markets.errors import StoreError, StoreFullError
from markets.store.combining import Revised, combine, union
from markets.store.coverage import Stretch
from markets.store.disk import append, commit, empty, identity, make_folder, translated
from markets.store.files import Sheet, encode, frozen
from markets.store.journal import JOURNALS, ROW_BYTES, journal_name, pack
from markets.store.layout import MANIFEST, Span, day_of, keeps_days, months_of
from markets.store.locks import SeriesLock
from markets.store.manifest import Manifest, Record
from markets.store.shelf import DamagedError, Files, Left, Shelf

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


class Writer:
    """Writes one series while its lock is held, and keeps the manifest in step with the month files.

    ``is_append`` turns false with the first change to what was stored before.
    """

    def __init__(self, shelf: Shelf, lock: SeriesLock, *, reserve_bytes: int) -> None:
        self.shelf, self._lock, self._reserve_bytes = shelf, lock, reserve_bytes
        self.files: Files = {}
        self.buried = 0
        self.is_append = True
        self._edit = self._sequence = 0
        self._records: dict[str, Record] = {}

    def look(self) -> None:
        """Learn what there is, put damaged files that are met away, and end a merge of days that was cut short."""
        if self._is_as_left():
            return
        while True:
            self.files = self.shelf.files()
            self._records = dict(self.shelf.manifest.files)
            try:
                self._edit, self._sequence = self.shelf.numbers(self.files, breathe=self._lock.confirm)
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
            self._tidy_when_due(is_bulk=is_bulk)
        self._leave()
        return Merged(added, len(candles) - added - len(revised), tuple(sorted(revised)), self.is_append, self._edit)

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
        self._tidy_when_due(is_bulk=False)
        self._leave()

    def fold(self, spans: Iterable[Span]) -> None:
        """Write what stands in the journals of ``spans`` into the files beside them."""
        behind = [span for span in spans if self.files[span].journal]
        for span in behind:
            sheet = self.shelf.sheet(span, self.files[span], with_flow=True)
            self._note_end(span, sheet)
            self._put(span, sheet.candles)
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
            self._put(month, union(sheets), is_kept=False)
            self.save_manifest()
            for day in inside:
                path = self.shelf.path(day.name)
                self.drop_journal(day)
                with translated(path):
                    self.shelf.disk.unlink(path)
                self.shelf.cache.drop(path)
                del self.files[day]

    def drop_journals(self) -> None:
        """Remove all journals, which were written into their files, or have none and are of no use."""
        for path in self.shelf.folder.glob(JOURNALS):
            with translated(path):
                self.shelf.disk.unlink(path)
        self.files = {span: seen.of_file for span, seen in self.files.items()}

    def drop_journal(self, span: Span) -> None:
        """Remove the journal of a file, if it has one."""
        path = self.shelf.path(journal_name(span))
        with translated(path), suppress(FileNotFoundError):
            self.shelf.disk.unlink(path)

    def bury(self, damage: DamagedError) -> None:
        """Move a damaged file to the quarantine; its candles are a gap from now on, to be fetched again."""
        shelf, path = self.shelf, self.shelf.path(damage.span.name)
        told = {"series": str(shelf.series), "file": damage.span.name, "reason": str(damage.reason)}
        shelf.look_at_manifest()
        manifest = shelf.manifest
        record = manifest.files.get(damage.span.name)
        rows = record.stretch.rows if record is not None else 0
        try:
            if identity(path) != damage.seen:
                return
            make_folder(shelf.disk, shelf.graveyard)
            self._lock.confirm()
            shelf.disk.replace(path, shelf.graveyard / f"{path.name}.{time.time_ns()}.{rows}.damaged")
            # What stood in its journal is fetched again with the rest, and may be others by then.
            self.drop_journal(damage.span)
            shelf.disk.fsync_folder(path.parent)
        except FileNotFoundError:
            return
        except (OSError, StoreError) as error:
            shelf.shunned[damage.span] = damage.seen
            logger.error("a damaged file cannot be moved away; it is passed over", extra={**told, "error": str(error)})  # noqa: TRY400  # no trace helps
        else:
            logger.error("a damaged file was moved to the quarantine", extra=told)
        self._records = {**manifest.files, **self._records}
        self._records.pop(damage.span.name, None)
        self._edit, self._sequence = max(self._edit, manifest.edit) + 1, max(self._sequence, manifest.sequence)
        self.is_append = False
        self.buried += 1
        self.save_manifest()

    def save_manifest(self) -> None:
        """Write the manifest. The candles do not need it, so it must not fail them."""
        shelf, manifest = self.shelf, Manifest(self._edit, self._sequence, dict(self._records))
        data = manifest.to_bytes(str(shelf.series))
        try:
            seen = commit(shelf.disk, shelf.path(MANIFEST), data, confirm=self._lock.confirm, is_durable=False)
        except StoreError as error:
            logger.warning("a manifest stays behind", extra={"series": str(shelf.series), "error": str(error)})
        else:
            shelf.note_manifest(seen, manifest)

    def adopt(self) -> int:
        """Write down month files that the manifest does not know in this version; return how many."""
        news = [span for span in self.files if not span.is_day and not self._is_listed(span)]
        for span in news:
            sheet = self.shelf.sheet(span, self.files[span])
            self._list(span, sheet.candles, seal=sheet.seal, sequence=sheet.sequence)
            self._lock.confirm()
        if news:
            self.save_manifest()
        return len(news)

    def old_days(self) -> list[Span]:
        """Return the days before the newest."""
        return sorted(span for span in self.files if span.is_day)[:-1]

    def _is_as_left(self) -> bool:
        """Say whether all is as the last writer of this process left it, and take over what that knew.

        To list and to check the files takes longer than to append a candle. Each look needs a new one to have left.
        """
        left, self.shelf.left = self.shelf.left, None
        if left is None or left.sign != self._lock.former or not left.files or self.shelf.shunned:
            return False
        newest = _newest(left.files)
        if self.shelf.changed() != left.changed or self.shelf.seen(newest) != left.files[newest]:
            return False
        self.files, self._records = left.files, left.records
        self._edit, self._sequence = left.edit, left.sequence
        return True

    def _leave(self) -> None:
        """Remember how the series is left, for the next writer of this process."""
        known = (self.files, self._records, self._edit, self._sequence)
        self.shelf.left = Left(self._lock.sign, self.shelf.changed(), *known)

    def _merge(self, candles: Candles, *, corrects: bool, is_live: bool) -> Iterator[tuple[int, list[Revised]]]:
        """Write file after file; yield how many candles each one added, and the revised ones."""
        last = self.shelf.last_time(self.files)
        if is_live and last is not None and (span := self._file_before(candles, last)) is not None:
            self._append(span, candles)
            yield len(candles), []
            return
        newest = int(candles.open_time[-1]) if last is None else max(last, int(candles.open_time[-1]))
        is_manifest_behind = False
        for span, rows in self._routes(candles, newest):
            sheet = self.shelf.sheet(span, self.files[span], with_flow=True) if span in self.files else None
            combined = combine(sheet.candles if sheet is not None else Candles.empty(), rows, corrects=corrects)
            if last is not None and combined.first_change is not None and combined.first_change <= last:
                self._edit += self.is_append
                self.is_append, is_manifest_behind = False, True
            if sheet is not None:
                self._note_end(span, sheet)
            if combined.is_new or span in self.shelf.unsure:
                self._put(span, combined.candles)
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
            self._edit += self.is_append
            self.is_append = False

    def _file_before(self, candles: Candles, last: int) -> Span | None:
        """Return the file whose journal takes ``candles``: they follow all there is, and belong into the newest file.

        None where they do not, or the file has to be written first.
        """
        span, first, end = _newest(self.files), int(candles.open_time[0]), int(candles.open_time[-1])
        is_whole = span.is_day or not keeps_days(self.shelf.series.timeframe) or last >= day_of(end).start
        size = self.files[span].journal + len(candles) * ROW_BYTES
        if first <= last or end >= span.end or not is_whole or size > _JOURNAL_BYTES or span in self.shelf.unsure:
            return None
        sheet = self.shelf.sheet(span, self.files[span], with_flow=True)
        return span if sheet.is_sound and sheet.candles.open_time[-1] == last else None

    def _append(self, span: Span, candles: Candles) -> None:
        """Put ``candles`` into the journal of a file, after all that both hold."""
        shelf, seen, data = self.shelf, self.files[span], pack(candles)
        sheet = shelf.sheet(span, seen, with_flow=True)
        self._require_space(len(data))
        shelf.unsure.add(span)
        append(shelf.disk, shelf.path(journal_name(span)), data, at=seen.journal, confirm=self._lock.confirm)
        shelf.unsure.discard(span)
        self.files[span] = seen._replace(journal=seen.journal + len(data))
        whole = frozen(join((sheet.candles, candles)))
        shelf.cache.put(shelf.path(span.name), self.files[span], replace(sheet, candles=whole))

    def _require_space(self, size: int) -> None:
        shelf = self.shelf
        if shelf.disk.free_bytes(shelf.folder) - size < self._reserve_bytes:
            raise StoreFullError(
                f"disk full: less than {self._reserve_bytes >> 20} MB free at {shelf.folder}; writes stop, reads go on"
            )

    def _put(self, span: Span, candles: Candles, *, is_kept: bool = True) -> None:
        """Write a file anew; ``candles`` are all that it and its journal hold."""
        shelf, path = self.shelf, self.shelf.path(span.name)
        self._sequence += 1
        data, sheet = encode(shelf.series, candles, edit=self._edit, sequence=self._sequence)
        self._require_space(len(data))
        # Until the folder is synced too, the new file may be seen and yet be lost: a repeat has to write it again.
        shelf.unsure.add(span)
        seen = commit(shelf.disk, path, data, confirm=self._lock.confirm)
        shelf.unsure.discard(span)
        journal = self.files[span].journal if span in self.files else 0
        if journal:
            self._empty_journal(span, journal)
        if is_kept:
            shelf.cache.put(path, seen, sheet)
        else:
            shelf.cache.drop(path)
        self.files[span] = seen
        if not span.is_day:
            self._list(span, candles, seal=sheet.seal, sequence=sheet.sequence)

    def _empty_journal(self, span: Span, size: int) -> None:
        """Take away what the file holds now. Where that fails it stays, and nobody reads what is in the file too."""
        try:
            empty(self.shelf.disk, self.shelf.path(journal_name(span)), at=size, confirm=self._lock.confirm)
        except StoreError as error:
            logger.warning("a journal stays", extra={"series": str(self.shelf.series), "error": str(error)})

    def _list(self, span: Span, candles: Candles, *, seal: str, sequence: int) -> None:
        seen, stretch = self.files[span], Stretch.of(candles.open_time, self.shelf.series.timeframe)
        self._records[span.name] = Record(stretch, seal, sequence, seen.size, seen.mtime_ns)

    def _is_listed(self, span: Span) -> bool:
        record = self._records.get(span.name)
        return record is not None and record.is_of(self.files[span])

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

    def _tidy_when_due(self, *, is_bulk: bool) -> None:
        """Merge days that are over into their months. What was to be stored is stored, so this may wait or fail."""
        old = self.old_days()
        newest = self.shelf.last_time(self.files) if old else None
        if newest is None:
            return
        minute = zlib.crc32(str(self.shelf.series).encode()) % _MINUTES_TO_SPREAD
        if not (is_bulk or len(old) >= _MANY_DAYS or newest >= day_of(newest).start + minute * 60_000):
            return
        try:
            self.tidy(old)
        except DamagedError as damage:
            self.bury(damage)
        except StoreError as error:
            logger.warning("days wait to be merged", extra={"series": str(self.shelf.series), "error": str(error)})


def _newest(files: Files) -> Span:
    """Return the file that live candles go beside."""
    return max(files, key=lambda span: (span.start, span.is_day))
