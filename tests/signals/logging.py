"""What the tests of the log share: stores of walks, and what a log must say, found without one."""

import os
from pathlib import Path

import numpy as np

from markets.candles import Candles
from markets.series import SeriesKey
from markets.store import CandleStore, Source
from signals.engine.layout import RecordArray
from signals.engine.table import UNSET
from signals.log import LogView, SeriesLog, SignalLog
from signals.log.generations import live_params
from signals.log.journal import no_facts
from signals.log.states import Detectors

# The long variants of the tests, for a machine with time.
FULL = os.environ.get("SMC_FULL") == "1"

SERIES = SeriesKey.of("BTCUSDT", "1m")


def stored(root: Path, candles: Candles, *, series: SeriesKey = SERIES) -> CandleStore:
    store = CandleStore(root, cache_seconds=0.0)
    store.merge(series, candles, source=Source.FILE)
    return store


def writer(root: Path, store: CandleStore | None = None) -> SeriesLog:
    return SeriesLog(SERIES, store=store if store is not None else CandleStore(root, cache_seconds=0.0), root=root)


def view_of(root: Path) -> LogView:
    view = SignalLog(root).view(SERIES)
    assert view is not None
    return view


def expected(candles: Candles) -> tuple[RecordArray, RecordArray]:
    """Return the signals and marks of candles in the log's order."""
    frame = Detectors(live_params()).take(candles)
    return frame.signals, frame.marks


def logged(view: LogView) -> tuple[RecordArray, RecordArray]:
    signals = np.concatenate([no_facts()[0], *(month.rows for month in view.signals_after(UNSET))])
    return signals, view.marks_after(UNSET)


def assert_tells(view: LogView, candles: Candles) -> None:
    """The log says of candles exactly what the engine says, and has judged them all."""
    assert view.through == (int(candles.open_time[-1]) if len(candles) else UNSET)
    for found, wanted in zip(logged(view), expected(candles), strict=True):
        assert len(found) == len(wanted)
        assert found.tobytes() == wanted.tobytes()
    assert_folded(view)


def assert_folded(view: LogView) -> None:
    """The months' life cycles are their marks, folded one by one."""
    found = []
    for number in view.months():
        month = view.month(number)
        for mark, times in enumerate(month.life):
            for row, time in zip(month.rows[times != UNSET].tolist(), times[times != UNSET].tolist(), strict=True):
                found.append((row[12], row[0], mark, time))
    marks = view.marks_after(UNSET)
    assert sorted(found) == sorted(marks[["scale", "number", "mark", "time"]].tolist())
