"""How far a series' signals were published: what lies later in the log is still to be told.

The file is a lower bound, so losing its newest state does no harm: the ledger takes each signal once.
Nothing at or before ``start`` is ever published; it is the history that was there when the log began.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from markets.series import SeriesKey
from markets.store.disk import replace_file
from signals.engine.layout import RecordArray
from signals.log.generations import series_folder
from signals.log.reading import SignalLog

_NAME = "published.json"
_IDENTITY = ["scale", "kind", "direction", "event_time", "ref_time", "confirm_time"]


@dataclass(frozen=True, slots=True)
class Publication:
    """Open times, UTC ms: signals confirmed after ``start`` are published, those up to ``through`` were."""

    start: int
    through: int


def publication(root: Path, series: SeriesKey) -> Publication | None:
    """Return how far publication is; None before its start."""
    try:
        return Publication(**json.loads((series_folder(root, series) / _NAME).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def set_publication(root: Path, series: SeriesKey, published: Publication) -> None:
    replace_file(series_folder(root, series) / _NAME, json.dumps(asdict(published)).encode())


def publish_again_from(root: Path, series: SeriesKey, signals: RecordArray) -> None:
    """Before a rebuilt log takes its place: let what only it holds be published, however long ago it was confirmed."""
    published = publication(root, series)
    if published is None:
        return
    view = SignalLog(root).view(series)
    known = set()
    if view is not None:
        for month in view.signals_after(published.start):
            known.update(month.rows[_IDENTITY].tolist())
    late = signals[(signals["confirm_time"] > published.start) & (signals["confirm_time"] <= published.through)]
    new = [row[-1] for row in late[_IDENTITY].tolist() if row not in known]
    if new:
        set_publication(root, series, Publication(published.start, min(new) - 1))
