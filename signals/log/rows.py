"""Rows of the log: as fixed records for files and filters, and as values for everyone else."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from markets.errors import InvalidInputError, NotFoundError
from markets.series import SeriesKey, Timeframe
from signals.engine import SCALES, Kind, SignalTable
from signals.engine.kinds import KIND_TEXT, STATUS_TEXT, TAG_TEXT, Mark
from signals.engine.layout import RecordArray
from signals.engine.table import UNSET, status_codes

SCALE_NAMES = tuple(SCALES)

# One signal. ``number`` counts from 0 within its scale, in the order of emission.
LOGGED = np.dtype(
    [
        ("number", np.int64), ("confirm_time", np.int64), ("event_time", np.int64), ("ref_time", np.int64),
        ("level", np.float64), ("top", np.float64), ("bottom", np.float64), ("strength", np.float64),
        ("range_pos", np.float64), ("tag", np.int32), ("kind", np.int8), ("direction", np.int8), ("scale", np.int8),
        ("spare", np.int8),
    ]
)  # fmt: skip
# One mark on the life of signal ``number`` of ``scale``, made by the candle that opened at ``time``.
MARKED = np.dtype([("number", np.int64), ("time", np.int64), ("scale", np.int8), ("mark", np.int8), ("spare", "V6")])

_DIRECTIONS = {1: "up", -1: "down"}
_SIDES = {word: side for side, word in _DIRECTIONS.items()}


class SignalRow(NamedTuple):
    """A signal as it is told; API and socket tell these fields, in this order.

    Times are UTC ms: open times of candles, except ``confirmed_at``, a close time.
    What a kind does not define, or what has not happened, is None.
    """

    id: str
    symbol: str
    timeframe: Timeframe
    scale: str
    kind: str
    direction: int
    event_time: int
    confirm_time: int
    confirmed_at: int
    level: float
    top: float | None
    bottom: float | None
    ref_time: int
    strength: float
    range_pos: float | None
    tag: str
    status: str
    mitigated_time: int | None
    filled_time: int | None
    invalidated_time: int | None
    detector_version: int

    @property
    def series(self) -> SeriesKey:
        return SeriesKey(self.symbol, self.timeframe)


class MarkRow(NamedTuple):
    """A life-cycle fact: ``mark`` is mitigated, filled or invalidated, by the candle that opened at ``time``.

    ``kind`` is that of the signal.
    """

    signal_id: str
    mark: str
    time: int
    kind: str


class SignalId(NamedTuple):
    """The parts of a signal's id, such as ``BTCUSDT.15m.internal.FVG.up.1700000100000.1699999200000``."""

    series: SeriesKey
    scale: str
    kind: Kind
    direction: int
    event_time: int
    ref_time: int

    @classmethod
    def parse(cls, text: str) -> "SignalId":
        """Read an id; raise ``NotFoundError`` for what cannot be one."""
        try:
            symbol, timeframe, scale, kind, direction, event, ref = text.split(".")
            parsed = cls(
                SeriesKey.of(symbol, timeframe),
                SCALE_NAMES[SCALE_NAMES.index(scale)],
                Kind[kind],
                _SIDES[direction],
                int(event),
                int(ref),
            )
        except (ValueError, KeyError, InvalidInputError):
            raise NotFoundError(f"no signal has the id {text[:100]!r}") from None
        return parsed

    @classmethod
    def of(cls, series: SeriesKey, row: Any) -> "SignalId":
        """Return the id of a signal from its record."""
        return cls(
            series,
            SCALE_NAMES[row["scale"]],
            Kind(row["kind"]),
            int(row["direction"]),
            int(row["event_time"]),
            int(row["ref_time"]),
        )

    def __str__(self) -> str:
        series, direction = self.series, _DIRECTIONS[self.direction]
        return (
            f"{series.symbol}.{series.timeframe.value}.{self.scale}.{self.kind.name}.{direction}"
            f".{self.event_time}.{self.ref_time}"
        )


def logged_rows(table: SignalTable, scale: int) -> RecordArray:
    """Return the table's signals as ``LOGGED`` records."""
    rows: RecordArray = np.zeros(len(table), LOGGED)
    rows["number"] = table.first_number + np.arange(len(table))
    for name in ("confirm_time", "range_pos"):
        rows[name] = table.column(name)
    for name in ("event_time", "ref_time", "level", "top", "bottom", "strength", "tag", "kind", "direction"):
        rows[name] = table.rows[name]
    rows["scale"] = scale
    return rows


def marked_rows(table: SignalTable, scale: int) -> RecordArray:
    """Return the table's marks as ``MARKED`` records."""
    marks = table.marks()
    rows: RecordArray = np.zeros(len(marks.number), MARKED)
    rows["number"], rows["time"], rows["mark"] = marks.number, marks.time, marks.mark
    rows["scale"] = scale
    return rows


def in_order(rows: RecordArray, time: str) -> RecordArray:
    """Return rows of all scales in the log's order: by time, then scale, then order of emission."""
    if len(rows) < 2:
        return rows
    # Each scale is already in order, so a stable sort by time and scale keeps what else there is.
    ordered: RecordArray = rows[np.lexsort((rows["scale"], rows[time]))]
    return ordered


def told(
    series: SeriesKey, rows: RecordArray, life: NDArray[np.int64], *, detector_version: int
) -> Iterable[SignalRow]:
    """Yield records as values.

    Parameters
    ----------
    rows
        Records of ``LOGGED``, shape (n,).
    life
        Shape (3, n): the times of the marks, ``UNSET`` where there are none.
    """
    symbol, timeframe = series.symbol, series.timeframe
    # Lists tell thousands at once: the ids are written here as ``SignalId`` writes them, at a fraction of the time.
    head, step = f"{symbol}.{timeframe.value}.", timeframe.milliseconds
    statuses = status_codes(life).tolist()
    for row, status, mitigated, filled, invalidated in zip(rows.tolist(), statuses, *life.tolist(), strict=True):
        _, confirm, event, ref, level, top, bottom, strength, range_pos, tag, kind, direction, scale, _ = row
        yield SignalRow(
            f"{head}{SCALE_NAMES[scale]}.{KIND_TEXT[kind]}.{_DIRECTIONS[direction]}.{event}.{ref}",
            symbol,
            timeframe,
            SCALE_NAMES[scale],
            KIND_TEXT[kind],
            direction,
            event,
            confirm,
            confirm + step,
            level,
            top if top == top else None,  # noqa: PLR0124  # NaN is the one value that differs from itself
            bottom if bottom == bottom else None,  # noqa: PLR0124
            ref,
            strength,
            range_pos if range_pos == range_pos else None,  # noqa: PLR0124
            str(tag) if kind == Kind.EQ else TAG_TEXT[tag],
            STATUS_TEXT[status],
            None if mitigated == UNSET else mitigated,
            None if filled == UNSET else filled,
            None if invalidated == UNSET else invalidated,
            detector_version,
        )


def told_new(series: SeriesKey, rows: RecordArray, detector_version: int) -> Iterable[SignalRow]:
    """Yield signals as they are at their confirm candle: no mark yet."""
    life = np.full((len(Mark), len(rows)), UNSET, np.int64)
    return told(series, rows, life, detector_version=detector_version)
