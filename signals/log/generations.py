"""Generations of a series' log: what names one, where it lies, and how a new one takes the place of the old."""

import fcntl
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from markets.series import SeriesKey
from signals.engine import DETECTOR_VERSION, Params, scale_params
from signals.log.rows import SCALE_NAMES

logger = logging.getLogger(__name__)

_NAME = re.compile(r"v([0-9]+)-([0-9a-f]{8})-([0-9a-f]{8})-r([0-9]+)", re.ASCII)
_GRAVE = re.compile(r"\.damaged-(.+)-[0-9a-f]{8}", re.ASCII)
_KEPT_REVISIONS = 3
# A writer that was stopped (not killed) keeps its lock. What it holds may be written twice without harm, see journal.
_LOCK_PATIENCE_SECONDS = 10.0
# Longer than file systems take to tell two changes apart.
_QUIET_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Generation:
    """What a log was made with. ``digests`` are the parameters' of each scale; ``revision`` counts rebuilds."""

    version: int
    digests: tuple[str, str]
    revision: int = 0

    @classmethod
    def of(cls, params: tuple[Params, Params], revision: int = 0) -> Self:
        return cls(DETECTOR_VERSION, (params[0].digest, params[1].digest), revision)

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Read a folder's name; None when it is not a generation's."""
        found = _NAME.fullmatch(name)
        return cls(int(found[1]), (found[2], found[3]), int(found[4])) if found else None

    def __str__(self) -> str:
        return f"v{self.version}-{self.digests[0]}-{self.digests[1]}-r{self.revision}"

    def is_made_like(self, other: "Generation") -> bool:
        """Whether detector version and parameters are equal, whatever the revision."""
        return (self.version, self.digests) == (other.version, other.digests)


def live_params() -> tuple[Params, Params]:
    """Return the parameters of the scales that are computed live, in the order of ``SCALE_NAMES``."""
    first, second = (scale_params(name) for name in SCALE_NAMES)
    return first, second


# Every question about a series begins with its folder, and making a path costs more than opening it.
@lru_cache(maxsize=4096)
def series_folder(root: Path, series: SeriesKey) -> Path:
    return root / "signals" / series.symbol / series.timeframe.value


def retired_folder(root: Path, series: SeriesKey) -> Path:
    return root / "signals-retired" / series.symbol / series.timeframe.value


def current_folder(root: Path, series: SeriesKey) -> Path | None:
    """Return the folder of the series' current generation; None before the first."""
    folder = series_folder(root, series)
    names = [found for entry in _entries(folder) if (found := _NAME.fullmatch(entry.name)) is not None]
    return folder / max((int(found[4]), found[0]) for found in names)[1] if names else None


class CurrentFolders:
    """The current folders of the series below ``root``, each looked for anew only when the one around it changed.

    Generations come and go by names in that folder, which gives it a new time of change. That time is coarse, so
    what was found is kept only when the folder had been quiet for a while before.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[SeriesKey, tuple[int, Path | None]] = {}

    def of(self, series: SeriesKey) -> Path | None:
        try:
            changed = os.stat(series_folder(self._root, series)).st_mtime_ns  # noqa: PTH116  # every question asks
        except FileNotFoundError:
            return None
        known = self._known.get(series)
        if known is not None and known[0] == changed:
            return known[1]
        is_quiet = time.time_ns() - changed > _QUIET_NANOSECONDS
        found = current_folder(self._root, series)
        if is_quiet:
            self._known[series] = changed, found
        return found

    def forget(self, series: SeriesKey) -> None:
        self._known.pop(series, None)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextmanager
def series_lock(root: Path, series: SeriesKey) -> Iterator[None]:
    """Hold the series' lock: one writer at a time, of all threads and processes. Readers take none."""
    folder = series_folder(root, series)
    try:
        descriptor = _open_lock(folder)
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _open_lock(folder)
    try:
        deadline = time.monotonic() + _LOCK_PATIENCE_SECONDS
        while not _locked(descriptor):
            if time.monotonic() > deadline:
                logger.warning("the lock of a signal log was not released", extra={"series": str(series)})
                break
            time.sleep(0.002)
        yield
    finally:
        os.close(descriptor)


def _open_lock(folder: Path) -> int:
    return os.open(f"{folder}/.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def new_folder(root: Path) -> Iterator[Path]:
    """Give a folder to build a generation in; what is still there at the end is removed."""
    folder = root / "signals.tmp" / secrets.token_hex(8)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def install(root: Path, series: SeriesKey, built: Path, generation: Generation) -> Path:
    """Retire the current generation and put the built one in its place.

    A crash between the two leaves the series without a log, and the next reader builds it.
    """
    current = current_folder(root, series)
    if current is not None:
        retired = retired_folder(root, series)
        retired.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(retired / current.name, ignore_errors=True)
        current.rename(retired / current.name)
        _prune(retired)
    place = series_folder(root, series) / str(generation)
    place.parent.mkdir(parents=True, exist_ok=True)
    built.rename(place)
    return place


def bury(folder: Path) -> None:
    """Take a damaged generation out of the way; what is left of it lies beside the retired ones, hidden.

    Its name keeps the generation's: the revision was told, so the log that is built anew must not have it again.
    """
    logger.error("a signal log is damaged; it will be built anew", extra={"folder": str(folder)})
    try:
        timeframe, symbol, root = folder.parent, folder.parent.parent, folder.parents[3]
        grave = (
            root / "signals-retired" / symbol.name / timeframe.name / f".damaged-{folder.name}-{secrets.token_hex(4)}"
        )
        grave.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(grave)
    except FileNotFoundError:
        logger.info("the damaged log is gone already", extra={"folder": str(folder)})


def _prune(retired: Path) -> None:
    """Keep of each version and parameters the newest revisions."""
    kept: dict[tuple[int, tuple[str, str]], int] = {}
    found = [(generation, entry.path) for entry in _entries(retired) if (generation := Generation.parse(entry.name))]
    for generation, path in sorted(found, key=lambda each: -each[0].revision):
        made = (generation.version, generation.digests)
        kept[made] = kept.get(made, 0) + 1
        if kept[made] > _KEPT_REVISIONS:
            shutil.rmtree(path, ignore_errors=True)


def next_revision(root: Path, series: SeriesKey, generation: Generation) -> int:
    """Return a revision number that no generation made like this one has had, damaged ones included."""
    had = [
        other.revision
        for folder in (series_folder(root, series), retired_folder(root, series))
        for entry in _entries(folder)
        if (other := Generation.parse(entry.name) or _buried(entry.name)) is not None and other.is_made_like(generation)
    ]
    return max(had, default=-1) + 1


def _buried(name: str) -> Generation | None:
    """Read a grave's name; None when it is not one's."""
    found = _GRAVE.fullmatch(name)
    return Generation.parse(found[1]) if found else None
