"""How far a series' signals were told: what lies later in the log is still to be.

The file is a lower bound, so losing its newest state does no harm: the ledger takes each signal once.
Nothing at or before ``start`` is ever told; it is the history that was there when the log began.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from markets.series import SeriesKey
from markets.store.disk import replace_file
from signals.engine.layout import RecordArray
from signals.log.generations import series_folder
from signals.log.reading import SignalLog

# Its name in data folders that are in use; what the ledger calls published is another thing.
_NAME = "published.json"
_IDENTITY = ["scale", "kind", "direction", "event_time", "ref_time", "confirm_time"]


@dataclass(frozen=True, slots=True)
class ToldMark:
    """Open times, UTC ms: signals confirmed after ``start`` are to be told, those up to ``through`` were."""

    start: int
    through: int


def told_mark(root: Path, series: SeriesKey) -> ToldMark | None:
    """Return how far was told; None before the first log."""
    try:
        return ToldMark(**json.loads((series_folder(root, series) / _NAME).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def set_told_mark(root: Path, series: SeriesKey, told: ToldMark) -> None:
    replace_file(series_folder(root, series) / _NAME, json.dumps(asdict(told)).encode())


def tell_again_from(root: Path, series: SeriesKey, signals: RecordArray) -> None:
    """Before a rebuilt log takes its place: let what only it holds be told, however long ago it was confirmed."""
    told = told_mark(root, series)
    if told is None:
        return
    view = SignalLog(root).view(series)
    known = set()
    if view is not None:
        for month in view.signals_after(told.start):
            known.update(month.rows[_IDENTITY].tolist())
    late = signals[(signals["confirm_time"] > told.start) & (signals["confirm_time"] <= told.through)]
    new = [row[-1] for row in late[_IDENTITY].tolist() if row not in known]
    if new:
        set_told_mark(root, series, ToldMark(told.start, min(new) - 1))
