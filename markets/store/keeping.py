"""What a series' files are while its lock is held, and the ways in which one of them changes."""

import logging
import time
from contextlib import suppress
from dataclasses import replace

from markets.candles import Candles, join
from markets.errors import StoreError, StoreFullError
from markets.store.coverage import Stretch
from markets.store.disk import append, commit, empty, identity, make_folder, translated
from markets.store.files import encode, frozen
from markets.store.journal import JOURNALS, journal_name, pack
from markets.store.layout import MANIFEST, Span
from markets.store.locks import SeriesLock
from markets.store.manifest import Manifest, Record
from markets.store.shelf import DamagedError, Files, Left, Shelf

logger = logging.getLogger(__name__)


class Keeper:
    """Knows the files of one series while it is locked, changes them one by one, and keeps the manifest in step.

    ``is_append`` turns false with the first change to what was stored before; ``edit`` counts such changes, one a
    keeper. ``buried`` counts the damaged files it put away.
    """

    def __init__(self, shelf: Shelf, lock: SeriesLock, *, reserve_bytes: int) -> None:
        self.shelf, self._lock, self._reserve_bytes = shelf, lock, reserve_bytes
        self.files: Files = {}
        self.buried = 0
        self.is_append = True
        self.edit = self._sequence = 0
        self._records: dict[str, Record] = {}

    @property
    def newest(self) -> Span:
        """The file that live candles go beside, of those there are."""
        return _newest(self.files)

    def list_files(self) -> None:
        """Learn which files there are; raise ``DamagedError`` for one that has to be read for that and cannot be."""
        self.files = self.shelf.files()
        self._records = dict(self.shelf.manifest.files)
        self.edit, self._sequence = self.shelf.numbers(self.files, breathe=self._lock.confirm)

    def find_as_left(self) -> bool:
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
        self.edit, self._sequence = left.edit, left.sequence
        return True

    def leave(self) -> None:
        """Remember how the series is left, for the next keeper of this process."""
        known = (self.files, self._records, self.edit, self._sequence)
        self.shelf.left = Left(self._lock.sign, self.shelf.changed(), *known)

    def note_change(self) -> None:
        """Note that something changes that was stored before."""
        self.edit += self.is_append
        self.is_append = False

    def put(self, span: Span, candles: Candles, *, is_kept: bool = True) -> None:
        """Write a file anew; ``candles`` are all that it and its journal hold."""
        shelf, path = self.shelf, self.shelf.path(span.name)
        self._sequence += 1
        data, sheet = encode(shelf.series, candles, edit=self.edit, sequence=self._sequence)
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

    def append(self, span: Span, candles: Candles) -> None:
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
        self.edit, self._sequence = max(self.edit, manifest.edit) + 1, max(self._sequence, manifest.sequence)
        self.is_append = False
        self.buried += 1
        self.save_manifest()

    def save_manifest(self) -> None:
        """Write the manifest. The candles do not need it, so it must not fail them."""
        shelf, manifest = self.shelf, Manifest(self.edit, self._sequence, dict(self._records))
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

    def _empty_journal(self, span: Span, size: int) -> None:
        """Take away what the file holds now. Where that fails it stays, and nobody reads what is in the file too."""
        try:
            empty(self.shelf.disk, self.shelf.path(journal_name(span)), at=size, confirm=self._lock.confirm)
        except StoreError as error:
            logger.warning("a journal stays", extra={"series": str(self.shelf.series), "error": str(error)})

    def _require_space(self, size: int) -> None:
        shelf = self.shelf
        if shelf.disk.free_bytes(shelf.folder) - size < self._reserve_bytes:
            raise StoreFullError(
                f"disk full: less than {self._reserve_bytes >> 20} MB free at {shelf.folder}; writes stop, reads go on"
            )

    def _list(self, span: Span, candles: Candles, *, seal: str, sequence: int) -> None:
        seen, stretch = self.files[span], Stretch.of(candles.open_time, self.shelf.series.timeframe)
        self._records[span.name] = Record(stretch, seal, sequence, seen.size, seen.mtime_ns)

    def _is_listed(self, span: Span) -> bool:
        record = self._records.get(span.name)
        return record is not None and record.is_of(self.files[span])


def _newest(files: Files) -> Span:
    """Return the file that live candles go beside."""
    return max(files, key=lambda span: (span.start, span.is_day))
