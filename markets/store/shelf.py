"""The files of one series, as anyone may read them at any moment."""

import os
import time
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from markets.candles import Candles
from markets.errors import CorruptFileError, ForeignFileError, StoreError
from markets.series import SeriesKey
from markets.store.cache import SheetCache
from markets.store.combining import union
from markets.store.coverage import Coverage, Stretch, add_up
from markets.store.disk import Disk, Identity, identity, read
from markets.store.files import Sheet, decode
from markets.store.journal import journal_name, read_journal, span_of_journal, with_journal
from markets.store.layout import MANIFEST, Span, span_named
from markets.store.locks import Sign
from markets.store.manifest import Manifest, Record

# Where there is a journal beside a file, it counts as a part of that.
Files = dict[Span, Identity]
Version = tuple[int | None, int]

_QUIET_NANOSECONDS = 1_000_000_000


class DamagedError(Exception):
    """A file cannot be used; ``seen`` is the version of it that was met, ``reason`` says why."""

    def __init__(self, span: Span, seen: Identity, reason: StoreError) -> None:
        super().__init__(str(reason))
        self.span, self.seen, self.reason = span, seen, reason


class Left(NamedTuple):
    """How a writer of this process left a series. It is so yet while the lock bears ``sign``, as nobody held it since.

    ``changed`` is the folder's time of change: somebody's hand in it, without a lock, shows there.
    """

    sign: Sign
    changed: int
    files: Files
    records: dict[str, Record]
    edit: int
    sequence: int


class Shelf:
    """Reads one series. Nothing is remembered that is not checked against the files' identities, or the folder's.

    Methods take the ``files`` they are to look at. They raise ``FileNotFoundError`` when one of these was merged
    away meanwhile, and ``DamagedError`` when one cannot be used.
    """

    def __init__(self, series: SeriesKey, folder: Path, *, graveyard: Path, disk: Disk, cache: SheetCache) -> None:
        self.series, self.folder, self.graveyard = series, folder, graveyard
        self.disk, self.cache = disk, cache
        # As text: asked for several times a candle, and paths take longer to put together than to look up.
        self._manifest_path = f"{folder}/{MANIFEST}"
        # Damaged files that could not be moved away: they are as good as absent.
        self.shunned: Files = {}
        # Files whose last write may not have reached the disk.
        self.unsure: set[Span] = set()
        self.left: Left | None = None
        self._manifest: tuple[Identity, Manifest] | None = None
        self._coverage: tuple[Files, Coverage | None] | None = None
        # The journals that were there when the folder was listed last.
        self._journals: list[str] = []
        self._version: tuple[int, tuple[int, ...], Version] | None = None

    def version(self, read: Callable[[], Version]) -> Version:
        """Return what ``read`` found when the folder was as it is now, else what it finds.

        Whatever is stored makes a journal longer, or gives the folder a new time of change. That time is coarse, so
        what was read is kept only when the folder had been quiet for a while before.
        """
        try:
            changed = self.changed()
            lengths = _lengths(self._journals)
        except FileNotFoundError:
            return read()
        if self._version is not None and self._version[:2] == (changed, lengths):
            return self._version[2]
        is_quiet = time.time_ns() - changed > _QUIET_NANOSECONDS
        found = read()
        # Journals that were met only now have no length above; the next who asks knows them.
        self._version = (changed, lengths, found) if is_quiet else None
        return found

    def changed(self) -> int:
        """Return when a name in the folder came, went or got another file, in ns."""
        return os.stat(self.folder).st_mtime_ns  # noqa: PTH116  # several times as fast

    def seen(self, span: Span) -> Identity | None:
        """Return which version of one file there is, None when there is none."""
        try:
            journal = os.stat(self.path(journal_name(span))).st_size  # noqa: PTH116
        except FileNotFoundError:
            journal = 0
        try:
            return identity(self.path(span.name), journal)
        except FileNotFoundError:
            return None

    def path(self, name: str) -> Path:
        return _path(self.folder, name)

    def files(self) -> Files:
        """Return the files there are, in time order, each month before its days; the manifest is looked at as well."""
        # Names first, then identities: a day that is merged into its month meanwhile is either still to be seen, or
        # already in the month that is looked at afterwards. So it is with a journal and its file.
        while True:
            try:
                names = os.listdir(self.folder)  # noqa: PTH208  # Path.iterdir is several times slower
            except FileNotFoundError:
                return {}
            spans = sorted((span for name in names if (span := span_named(name)) is not None), key=_in_order)
            journals = [span for name in names if (span := span_of_journal(name)) is not None]
            paths = [f"{self.folder}/{journal_name(span)}" for span in journals]
            try:
                lengths = dict(zip(journals, _lengths(paths), strict=True))
                found = {span: identity(f"{self.folder}/{span.name}", lengths.get(span, 0)) for span in spans}
            except FileNotFoundError:
                continue
            self._journals = paths
            self.look_at_manifest()
            return {span: seen for span, seen in found.items() if self.shunned.get(span) != seen.of_file}

    def has_files(self) -> bool:
        """Say whether there are any files, without a look at each."""
        if self.shunned:
            return bool(self.files())
        try:
            return any(span_named(name) is not None for name in os.listdir(self.folder))  # noqa: PTH208
        except FileNotFoundError:
            return False

    @property
    def manifest(self) -> Manifest:
        """The manifest when files were listed last: what it tells holds for files as they were then, or not at all."""
        return self._manifest[1] if self._manifest is not None else Manifest()

    def note_manifest(self, seen: Identity, manifest: Manifest) -> None:
        """Note the manifest that was just written."""
        self._manifest = (seen, manifest)

    def look_at_manifest(self) -> None:
        """Read the manifest if it is another one; a damaged one counts as one that knows nothing."""
        try:
            seen = identity(self._manifest_path)
            if self._manifest is None or self._manifest[0] != seen:
                data, seen = read(self.folder / MANIFEST)
                self._manifest = (seen, Manifest.from_bytes(data) or Manifest())
        except FileNotFoundError:
            self._manifest = None

    def sheet(self, span: Span, seen: Identity, *, with_flow: bool = False, is_kept: bool = True) -> Sheet:
        """Return the content of a file, checked against its seal whenever it comes from the disk."""
        path = self.path(span.name)
        found = self.cache.get(path, seen, with_flow=with_flow)
        return found if found is not None else self.load(span, with_flow=with_flow, is_kept=is_kept)

    def load(self, span: Span, *, with_flow: bool = False, is_kept: bool = True) -> Sheet:
        """Read a file from the disk, whatever the cache holds, check it, and keep it for the next who asks."""
        path = self.path(span.name)
        journal = read_journal(self.path(journal_name(span)))
        data, seen = read(path)
        is_passing = False
        try:
            found = decode(data, self.series, with_flow=with_flow)
            if journal.size:
                count = len(found.candles)
                found, seen = with_journal(found, journal), seen._replace(journal=journal.size)
                # A journal whose candles the file has is about to be emptied, and the next makes it as long again.
                is_passing = len(found.candles) == count
            _check_place(found, span, self.series)
        except (CorruptFileError, ForeignFileError) as error:
            raise DamagedError(span, seen.of_file, error) from error
        except StoreError as error:
            raise StoreError(f"{path} cannot be used: {error}") from error
        if is_kept and not is_passing:
            self.cache.put(path, seen, found)
        return found

    def stretch(self, span: Span, seen: Identity) -> Stretch:
        """Return what one file covers, from the manifest where that knows this very version of it."""
        record = self.manifest.files.get(span.name)
        if record is not None and record.is_of(seen):
            return record.stretch
        return Stretch.of(self.sheet(span, seen).candles.open_time, self.series.timeframe)

    def numbers(self, files: Files, *, breathe: Callable[[], None] | None = None) -> tuple[int, int]:
        """Return the edit and the sequence: the highest of the manifest's and of files it does not know yet.

        ``breathe`` is called after each file that had to be read: without a manifest it may be many.
        """
        manifest = self.manifest
        edit, sequence = manifest.edit, manifest.sequence
        for span, seen in files.items():
            record = manifest.files.get(span.name)
            if record is None or not record.is_of(seen):
                sheet = self.sheet(span, seen)
                edit, sequence = max(edit, sheet.edit), max(sequence, sheet.sequence)
                if breathe is not None:
                    breathe()
        return edit, sequence

    def last_time(self, files: Files) -> int | None:
        newest = max((span.month for span in files), default=None)
        return max((self.last_of(span, files[span]) for span in files if span.month == newest), default=None)

    def last_of(self, span: Span, seen: Identity) -> int:
        """Return the last open time of one file."""
        record = self.manifest.files.get(span.name)
        if record is not None and record.is_of(seen):
            return record.stretch.last
        return int(self.sheet(span, seen).candles.open_time[-1])

    def coverage(self, files: Files) -> Coverage | None:
        if self._coverage is None or self._coverage[0] != files:
            stretches = sorted((self.stretch(*each) for each in files.items()), key=lambda each: each.first)
            if any(before.last >= after.first for before, after in pairwise(stretches)):
                times = self._collect(files, list(files), with_flow=False).open_time
                stretches = [Stretch.of(times, self.series.timeframe)]
            self._coverage = (files, add_up(stretches, self.series.timeframe))
        return self._coverage[1]

    def read(self, files: Files, *, start: int | None, end: int | None, with_flow: bool) -> Candles:
        wanted = [span for span in files if (end is None or span.start < end) and (start is None or span.end > start)]
        return self._collect(files, wanted, start=start, end=end, with_flow=with_flow)

    def newest(self, files: Files, count: int, *, before: int | None) -> Candles:
        left = [span for span in files if before is None or span.start < before]
        wanted: list[Span] = []
        found = 0
        while left and not (found >= count and self._are_all_older(files, left, min(wanted).start)):
            span = left.pop()
            wanted.append(span)
            found += len(self.sheet(span, files[span]).candles.between(None, before))
        candles = self._collect(files, wanted, end=before, with_flow=False)
        return candles.take(slice(max(0, len(candles) - count), None))

    def _are_all_older(self, files: Files, spans: list[Span], time: int) -> bool:
        return all(span.end <= time or self.last_of(span, files[span]) < time for span in spans)

    def _collect(
        self, files: Files, wanted: list[Span], *, start: int | None = None, end: int | None = None, with_flow: bool
    ) -> Candles:
        # Days before their month: a day that is merged away meanwhile is then seen twice, never not at all.
        days_first = sorted(wanted, key=lambda span: (not span.is_day, span))
        sheets = [self.sheet(span, files[span], with_flow=with_flow) for span in days_first]
        parts = [part for sheet in sheets if len(part := sheet.candles.between(start, end))]
        whole = union(parts)
        if not with_flow:
            whole = whole.with_flow(None)
        # What is cached is shared; a caller's columns are its own.
        return whole.copy() if len(parts) == 1 else whole


@lru_cache(maxsize=16_384)
def _path(folder: Path, name: str) -> Path:
    return folder / name


def _lengths(paths: list[str]) -> tuple[int, ...]:
    return tuple(os.stat(path).st_size for path in paths)  # noqa: PTH116


def _check_place(sheet: Sheet, span: Span, series: SeriesKey) -> None:
    times = sheet.candles.open_time
    if not len(times) or times[0] < span.start or times[-1] >= span.end:
        raise CorruptFileError("its candles are not of the time its name says")
    if (times % series.timeframe.milliseconds).any():
        raise CorruptFileError(f"its times are not multiples of {series.timeframe.value}")


def _in_order(span: Span) -> tuple[int, bool, int]:
    return span.month.start, span.is_day, span.start
