"""Following one series: candles in, facts out, the log written on the way."""

from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

from markets.candles import Candle, Candles
from markets.selectors import candle_store
from markets.series import SeriesKey
from markets.store import CandleStore
from signals.engine.kinds import KIND_TEXT, MARK_TEXT
from signals.engine.layout import RecordArray
from signals.log import LogView, MarkRow, SeriesLog, SignalLog, SignalRow
from signals.log.journal import Frame
from signals.log.rows import told_new
from signals.log.told import ToldMark, set_told_mark, told_mark
from signals.selectors.logs import reads_again
from signals.services.naming import Names


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
        self._names = Names(series)
        self._has_caught_up = False
        self._quiet_since: int | None = None

    @property
    def through(self) -> int | None:
        """Open time of the last candle judged."""
        return self._log.through

    @property
    def first(self) -> int | None:
        """Open time of the first candle judged."""
        return self._log.first

    @property
    def edit(self) -> int:
        """The store's number of changes that the log knows of."""
        return self._log.edit

    def through_in_log(self) -> int | None:
        """Return how far the series was judged by whoever did it last; None where it has no log."""
        view = SignalLog(self._root).view(self.series)
        return view.through if view is not None else None

    @property
    def revision(self) -> int:
        """How often the log was rebuilt because candles it had judged changed."""
        return self._log.generation.revision

    @reads_again
    def catch_up(self, *, before: int | None = None) -> Facts:
        """Judge every stored candle (that opens ``before``), and return what is in the log and not yet told.

        The first log of a series is history: nothing of it is told as new.
        """
        self._log.catch_up(before=before)
        self._names, self._quiet_since, self._has_caught_up = Names(self.series), None, True
        return self._untold()

    @reads_again
    def advance(self, candles: Candles, *, edit: int) -> Facts:
        """Judge candles that were just stored; return their facts. ``edit`` is the store's number after that.

        When candles that were judged earlier have changed, or none were judged yet, this is ``catch_up``.
        """
        frame = self._log.advance(candles, edit=edit)
        if frame is None or not self._has_caught_up:
            return self.catch_up()
        signals = list(told_new(self.series, frame.signals, self._version))
        self._names.keep(frame.signals)
        # Candles without a signal are counted as told along with the next that has one: nothing is lost when that
        # count stays behind, and most candles need not write it.
        since = frame.since if self._quiet_since is None else self._quiet_since
        self._quiet_since = None if signals else since
        facts = self._facts(signals, frame.marks, since=since, through=frame.through)
        self._names.forget(frame.marks)
        return facts

    @reads_again
    def prepare(self) -> None:
        """Do what the next candles would have to wait for: tidy the log, and read what their marks will need of it."""
        self._log.merge_when_due()
        # A pair that the exchange does not know, or lists without a candle yet, has no log to read.
        if self._has_caught_up and self.through is not None and not self._names.knows_newest:
            self._names.learn_newest(self._view())

    def preview(self, candle: Candle) -> Facts:
        """Return what a candle that is still forming would tell if it closed now. Nothing is kept."""
        frame: Frame = self._log.preview(candle)
        signals = list(told_new(self.series, frame.signals, self._version))
        try:
            marks = self._mark_rows(frame.marks)
        except FileNotFoundError:
            # The log is just being replaced; the next preview has names again.
            marks = []
        return Facts(self.series, signals, marks)

    def has_news(self, candle: Candle) -> bool:
        """Say whether a candle would tell a signal to be published if it closed now. Nothing is kept."""
        kinds = self._log.preview(candle).signals["kind"]
        return any(KIND_TEXT[kind] in settings.ENV.indicators for kind in kinds)

    def close(self) -> None:
        """Merge the journal into the Parquet files, so that readers without our code see all."""
        self._log.merge()

    @property
    def _version(self) -> int:
        return self._log.generation.version

    def _untold(self) -> Facts:
        through = self._log.through
        if through is None:
            return Facts(self.series)
        told = told_mark(self._root, self.series)
        if told is None:
            told = ToldMark(through, through)
            set_told_mark(self._root, self.series, told)
        signals: list[SignalRow] = []
        marks = None
        if through > told.through:
            view = self._view()
            through = view.through
            for month in view.signals_after(told.through):
                signals += view.told(month, slice(None))
            marks = view.marks_after(told.through)
        facts = self._facts(signals, marks, since=told.through, through=through)
        if not signals:
            move_told_mark(facts, told)
        return facts

    def _view(self) -> LogView:
        # Read anew and let go: what is asked for is rare and old, and hundreds of series would keep months of it.
        view = SignalLog(self._root).view(self.series)
        if view is None:
            raise FileNotFoundError(f"the signal log of {self.series} is gone")
        return view

    def _facts(self, signals: list[SignalRow], marks: RecordArray | None, *, since: int, through: int) -> Facts:
        rows = self._mark_rows(marks) if marks is not None else []
        generation = self._log.generation
        return Facts(self.series, signals, rows, since, through, generation.revision, generation.digests, self._root)

    def _mark_rows(self, marks: RecordArray) -> list[MarkRow]:
        names = self._names.of(marks, self._view)
        return [
            MarkRow(str(name), MARK_TEXT[mark["mark"]], int(mark["time"]), name.kind.name)
            for name, mark in zip(names, marks, strict=True)
        ]


def move_told_mark(facts: Facts, told: ToldMark) -> None:
    """Move the mark on, when ``facts`` follow what was told before."""
    if facts.root is None or facts.since is None or facts.through is None:
        return
    if facts.since <= told.through < facts.through:
        set_told_mark(facts.root, facts.series, ToldMark(told.start, facts.through))


def catch_up_series(series: SeriesKey) -> Facts:
    """Bring one series' log up to its stored candles; return what is in it and not yet told."""
    return Tracker(series, store=candle_store(), root=settings.DATA_ROOT).catch_up()
