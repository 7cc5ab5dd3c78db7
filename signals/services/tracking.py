"""Following one series: candles in, facts out, the log written on the way."""

from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

from markets.candles import Candle, Candles
from markets.selectors import candle_store
from markets.series import SeriesKey
from markets.store import CandleStore
from signals.engine.layout import RecordArray
from signals.log import LogView, MarkRow, SeriesLog, SignalRow
from signals.log.journal import Frame
from signals.log.publication import Publication, publication, set_publication
from signals.log.rows import SCALE_NAMES, mark_name, told_id, told_new
from signals.selectors.logs import mends, signal_log


@dataclass(frozen=True, slots=True)
class Facts:
    """What candles told: the signals they confirmed and the marks they made on earlier ones.

    They are the facts of the candles after ``since`` up to ``through`` (open times, UTC ms).
    """

    series: SeriesKey
    signals: list[SignalRow] = field(default_factory=list)
    marks: list[MarkRow] = field(default_factory=list)
    since: int | None = None
    through: int | None = None
    revision: int = 0
    digests: tuple[str, str] = ("", "")
    root: Path | None = None

    def __bool__(self) -> bool:
        return bool(self.signals or self.marks)


class Tracker:
    """Follows one series. Any process may have one; what another wrote in between is seen and taken over."""

    def __init__(self, series: SeriesKey, *, store: CandleStore, root: Path) -> None:
        self.series = series
        self._root = root
        self._log = SeriesLog(series, store=store, root=root)
        self._reader = signal_log(root)

    @property
    def through(self) -> int | None:
        """Open time of the last candle judged."""
        return self._log.through

    @property
    def revision(self) -> int:
        """How often the log was rebuilt because candles it had judged changed."""
        return self._log.generation.revision

    @mends
    def catch_up(self) -> Facts:
        """Judge every stored candle, and return what is in the log and not yet published.

        The first log of a series is history: nothing of it is told as new.
        """
        self._log.catch_up()
        return self._unpublished()

    @mends
    def advance(self, candles: Candles) -> Facts:
        """Judge candles that were just stored; return their facts.

        When candles that were judged earlier have changed, or none were judged yet, this is ``catch_up``.
        """
        frame = self._log.advance(candles)
        published = publication(self._root, self.series)
        if frame is None or published is None:
            return self.catch_up()
        signals = list(told_new(self.series, frame.signals, self._version))
        facts = self._facts(signals, frame.marks, since=frame.since, through=frame.through)
        self._pass_by(facts, published)
        return facts

    def preview(self, candle: Candle) -> Facts:
        """Return what a candle that is still forming would tell if it closed now. Nothing is kept."""
        frame: Frame = self._log.preview(candle)
        signals = list(told_new(self.series, frame.signals, self._version))
        marks = self._mark_rows(frame.marks) if self._reader.view(self.series) is not None else []
        return Facts(self.series, signals, marks)

    def close(self) -> None:
        """Merge the journal into the Parquet files, so that readers without our code see all."""
        self._log.merge()

    @property
    def _version(self) -> int:
        return self._log.generation.version

    def _unpublished(self) -> Facts:
        through = self._log.through
        if through is None:
            return Facts(self.series)
        published = publication(self._root, self.series)
        if published is None:
            published = Publication(through, through)
            set_publication(self._root, self.series, published)
        signals: list[SignalRow] = []
        marks = None
        if through > published.through:
            view = self._view()
            through = view.through
            for month in view.signals_after(published.through):
                signals += view.told(month, slice(None))
            marks = view.marks_after(published.through)
        facts = self._facts(signals, marks, since=published.through, through=through)
        self._pass_by(facts, published)
        return facts

    def _view(self) -> LogView:
        view = self._reader.view(self.series)
        if view is None:
            raise FileNotFoundError(f"the signal log of {self.series} is gone")
        return view

    def _facts(self, signals: list[SignalRow], marks: RecordArray | None, *, since: int, through: int) -> Facts:
        rows = self._mark_rows(marks) if marks is not None else []
        generation = self._log.generation
        return Facts(self.series, signals, rows, since, through, generation.revision, generation.digests, self._root)

    def _pass_by(self, facts: Facts, published: Publication) -> None:
        """Count facts without a signal as published: there is nothing to publish."""
        if not facts.signals:
            note_published(facts, published)

    def _mark_rows(self, marks: RecordArray) -> list[MarkRow]:
        if not len(marks):
            return []
        named = self._view().named(marks["scale"], marks["number"])
        return [
            MarkRow(
                told_id(self.series, row),
                mark_name(mark["mark"]),
                int(mark["time"]),
                self.series,
                SCALE_NAMES[mark["scale"]],
            )
            for row, mark in zip(named, marks, strict=True)
        ]


def note_published(facts: Facts, published: Publication) -> None:
    """Move the series' publication on, when ``facts`` follow what was published before."""
    if facts.root is None or facts.since is None or facts.through is None:
        return
    if facts.since <= published.through < facts.through:
        set_publication(facts.root, facts.series, Publication(published.start, facts.through))


def catch_up_series(series: SeriesKey) -> Facts:
    """Bring one series' log up to its stored candles; return what is in it and not yet published."""
    return Tracker(series, store=candle_store(), root=settings.DATA_ROOT).catch_up()
