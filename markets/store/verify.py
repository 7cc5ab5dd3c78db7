"""The store looked through from end to end, with nothing changed and nothing taken on trust."""

from dataclasses import dataclass

import numpy as np

from markets.candles import Gap, TimeArray, find_gaps
from markets.errors import StoreError
from markets.series import SeriesKey
from markets.store.layout import DAMAGED, Span, span_named
from markets.store.manifest import Record
from markets.store.shelf import DamagedError, Shelf


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, with one file of a series."""

    series: SeriesKey
    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked through and what was found. Gaps are no fault of the store, and told beside."""

    files: int = 0
    candles: int = 0
    problems: tuple[Problem, ...] = ()
    gaps: tuple[tuple[SeriesKey, Gap], ...] = ()

    def __add__(self, other: "Verified") -> "Verified":
        return Verified(
            self.files + other.files,
            self.candles + other.candles,
            self.problems + other.problems,
            self.gaps + other.gaps,
        )


def verify(shelf: Shelf) -> Verified:
    """Read every file of a series from the disk: readable, sealed, sorted, unique, on the grid, and as listed."""
    files, records = shelf.files(), shelf.manifest.files
    times: list[TimeArray] = [np.empty(0, np.int64)]
    faults: list[tuple[str, str]] = []
    for span in files:
        found, fault = _look_at(shelf, span, records.get(span.name))
        times.append(found)
        faults += [(span.name, fault)] if fault else []
    rows = np.sort(np.concatenate(times))
    stored = np.unique(rows)
    gaps = find_gaps(stored, shelf.series.timeframe)
    faults += [(name, "it is missing") for name in sorted(set(records) - {span.name for span in files})]
    faults += _strange(shelf) + _lost(shelf, stored, gaps)
    if len(stored) < len(rows):
        faults.append(("*", f"{len(rows) - len(stored)} candles stand in two files"))
    problems = tuple(Problem(shelf.series, name, fault) for name, fault in faults)
    return Verified(len(files), len(stored), problems, tuple((shelf.series, gap) for gap in gaps))


def _look_at(shelf: Shelf, span: Span, record: Record | None) -> tuple[TimeArray, str]:
    """Return the open times a file holds, and what is wrong with it."""
    none = np.empty(0, np.int64)
    try:
        sheet = shelf.load(span)
    except FileNotFoundError:
        return none, "it went away while it was to be read"
    except (DamagedError, StoreError) as error:
        return none, str(error)
    # A file newer than its line in the manifest is what a crash between the two leaves, and as good as any.
    if record is not None and record.sha256 != sheet.seal and sheet.sequence <= record.sequence:
        return sheet.candles.open_time, "it is not the version that was written last"
    if not sheet.is_sound:
        return sheet.candles.open_time, "the journal beside it ends in what is no candle"
    return sheet.candles.open_time, ""


def _strange(shelf: Shelf) -> list[tuple[str, str]]:
    names = sorted(path.name for path in shelf.folder.glob("[!.]*"))
    return [(name, "it does not belong here") for name in names if span_named(name) is None]


def _lost(shelf: Shelf, stored: TimeArray, gaps: list[Gap]) -> list[tuple[str, str]]:
    """Tell of damaged files in the quarantine whose candles were not all fetched again."""
    faults = []
    for path in sorted(shelf.graveyard.glob(DAMAGED)):
        month_or_day, kind, _, rows, _ = path.name.split(".")
        span = span_named(f"{month_or_day}.{kind}")
        if span is None:
            continue
        inside = int(((stored >= span.start) & (stored < span.end)).sum())
        if rows != "0":
            is_back = inside >= int(rows)
        else:
            is_back = inside > 0 and not any(gap.start < span.end and gap.end > span.start for gap in gaps)
        if not is_back:
            faults.append((path.name, "it is in the quarantine, and not all of its candles were fetched again"))
    return faults
