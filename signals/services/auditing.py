"""The audit: what the log and the ledger say against what the candles say."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from django.conf import settings

from markets.errors import NoCandlesError, StoreError
from markets.selectors import candle_store
from markets.series import SeriesKey
from signals.engine.kinds import MARK_TEXT
from signals.engine.layout import RecordArray
from signals.engine.table import UNSET
from signals.log import LogView, SignalLog
from signals.log.generations import live_params
from signals.log.journal import Frame
from signals.log.rows import LOGGED, SCALE_NAMES, SignalId, told_new
from signals.log.states import Detectors
from signals.models import PublishedSignal
from signals.selectors.ledger import as_published, ledger
from signals.selectors.logs import fresh_view, mends

Report = Callable[[float, str], None]

_TRIES = 10


@dataclass(frozen=True, slots=True)
class Audit:
    """What was compared, and each difference as a sentence."""

    candles: int
    signals: int
    marks: int
    published: int
    revised: int
    differences: list[str]


@mends
def audit(series: SeriesKey, report: Report = lambda fraction, stage: None) -> Audit:
    """Find a series' signals anew from its stored candles; compare log and ledger with them.

    ``report`` is told the fraction done and the stage.
    Works while the service runs: the comparison ends at the last candle the log has judged. Raises
    ``NoCandlesError`` when nothing is stored of the series.
    """
    report(0.0, "finding signals")
    view, found, candles = _one_moment(series)
    signals, marks = _logged(view)
    report(0.3, "comparing signals")
    differences = list(_differing(series, "signal", signals, found.signals))
    report(0.5, "comparing marks")
    differences += _differing(series, "mark", marks, found.marks)
    report(0.8, "comparing what was published")
    rows = ledger(series).filter(detector_version=view.version, params_digest__in=view.generation.digests)
    published = list(rows.filter(revised_at=None))
    differences += _unfounded(series, published, found, view)
    revised = rows.exclude(revised_at=None).count()
    return Audit(candles, len(signals), len(marks), len(published), revised, differences)


def _one_moment(series: SeriesKey) -> tuple[LogView, Frame, int]:
    """Return the log, and the facts of the candles it has judged: both of one edit of the store."""
    store = candle_store()
    for _ in range(_TRIES):
        if fresh_view(series) is None:
            raise NoCandlesError(f"nothing is stored of {series}")
        # What this process remembers of the log proves nothing about the files.
        view = SignalLog(settings.DATA_ROOT).view(series)
        if view is None:
            continue
        candles = store.read(series, start=None, end=view.through + 1)
        if store.edit(series) == view.edit:
            return view, Detectors(live_params()).take(candles), len(candles)
    raise StoreError(f"the candles of {series} change faster than their signals can be compared")


def _logged(view: LogView) -> tuple[RecordArray, RecordArray]:
    signals = np.concatenate([np.empty(0, LOGGED), *(month.rows for month in view.signals_after(UNSET))])
    return signals, view.marks_after(UNSET)


def _differing(series: SeriesKey, what: str, logged: RecordArray, found: RecordArray) -> Iterator[str]:
    """Yield a sentence for each record that is in one and not, or not the same, in the other."""
    key = ["scale", "number"] if what == "signal" else ["scale", "number", "mark"]
    ours, theirs = _by_key(logged, key), _by_key(found, key)
    for name in sorted(ours.keys() | theirs.keys()):
        one, other = ours.get(name), theirs.get(name)
        if one is None or other is None:
            where = "not in the log" if one is None else "in the log, but the candles do not tell it"
            yield f"{what} {_named(series, what, one if one is not None else other)}: {where}"
        elif one.tobytes() != other.tobytes():
            unlike = [field for field in one.dtype.names or () if one[field].tobytes() != other[field].tobytes()]
            told = ", ".join(f"{field} is {one[field]} for {other[field]}" for field in unlike)
            yield f"{what} {_named(series, what, other)}: {told}"


def _by_key(rows: RecordArray, key: list[str]) -> dict[tuple[int, ...], np.void]:
    return dict(zip(rows[key].tolist(), rows, strict=True))


def _named(series: SeriesKey, what: str, row: np.void | None) -> str:
    if row is None:
        return str(series)
    if what == "signal":
        return str(SignalId.of(series, row))
    return f"{MARK_TEXT[row['mark']]} at {row['time']} of {SCALE_NAMES[row['scale']]} signal {row['number']}"


def _unfounded(series: SeriesKey, published: list[PublishedSignal], found: Frame, view: LogView) -> Iterator[str]:
    """Yield a sentence for each published signal that the candles do not tell as it was published."""
    known = {as_published(row) for row in told_new(series, found.signals, view.version)}
    for row in published:
        if row.confirm_time <= view.through and as_published(row) not in known:
            yield f"published {row} (id {row.pk}): the candles do not tell it so, and it is not marked as revised"
