"""The store looked through from end to end, with nothing changed and nothing taken on trust."""

from dataclasses import dataclass

from markets.candles import Candles, Gap
from markets.errors import StoreError
from markets.series import SeriesKey
from markets.store.combining import union
from markets.store.coverage import Stretch
from markets.store.layout import Span, span_named
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
    files, records = shelf.files(), shelf.manifest().files
    parts: list[Candles] = []
    faults: list[tuple[str, str]] = []
    for span in files:
        candles, fault = _look_at(shelf, span, records.get(span.name))
        parts += [candles] if candles is not None else []
        faults += [(span.name, fault)] if fault else []
    lost = sorted(set(records) - {span.name for span in files})
    faults += [(name, "it is missing: lost, or moved to the quarantine, and not fetched again yet") for name in lost]
    strange = sorted(path.name for path in shelf.folder.glob("[!.]*") if span_named(path.name) is None)
    faults += [(name, "it does not belong here") for name in strange]
    whole, rows = union(parts), sum(map(len, parts))
    if len(whole) < rows:
        faults.append(("", f"{rows - len(whole)} candles stand in two files"))
    gaps = Stretch.of(whole.open_time, shelf.series.timeframe).gaps if len(whole) else ()
    problems = tuple(Problem(shelf.series, name, fault) for name, fault in faults)
    return Verified(len(files), rows, problems, tuple((shelf.series, gap) for gap in gaps))


def _look_at(shelf: Shelf, span: Span, record: Record | None) -> tuple[Candles | None, str]:
    """Return what the file holds, and what is wrong with it."""
    try:
        sheet = shelf.load(span)
    except FileNotFoundError:
        return None, "it went away while it was to be read"
    except DamagedError as damage:
        return None, str(damage)
    except (StoreError, OSError) as error:
        return None, f"it cannot be read: {error}"
    # A file newer than its line in the manifest is what a crash between the two leaves, and as good as any.
    if record is not None and record.sha256 != sheet.seal and sheet.sequence <= record.sequence:
        return sheet.candles, "it is not the version that was written last"
    return sheet.candles, ""
