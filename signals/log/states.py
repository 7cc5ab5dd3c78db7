"""The detectors of a series, one a scale, as one machine: candles in, frames of the log out."""

import zlib
from typing import Self

import numpy as np

from markets.candles import Candle, Candles
from signals.engine import Detector, Params, SignalTable
from signals.engine.layout import RecordArray
from signals.engine.table import UNSET
from signals.log.journal import Frame, no_facts
from signals.log.rows import in_order, logged_rows, marked_rows


class Detectors:
    """Detectors of both scales, fed alike. ``through`` is the open time of the last candle taken."""

    def __init__(self, params: tuple[Params, Params]) -> None:
        self.scales = tuple(Detector(each) for each in params)
        self.through = UNSET
        self.first = UNSET
        self.checksum = 0

    @classmethod
    def from_bytes(
        cls, states: tuple[bytes, bytes], params: tuple[Params, Params], *, first: int, checksum: int
    ) -> Self:
        """Read what ``to_bytes`` wrote; raise ``InvalidInputError`` when it is damaged or was made otherwise."""
        detectors = cls(params)
        detectors.scales = tuple(Detector.from_bytes(blob, each) for blob, each in zip(states, params, strict=True))
        last = detectors.scales[0].last_time
        detectors.through = UNSET if last is None else last
        detectors.first, detectors.checksum = first, checksum
        return detectors

    @property
    def bars(self) -> int:
        return self.scales[0].bars

    def to_bytes(self) -> tuple[bytes, bytes]:
        first, second = (each.to_bytes() for each in self.scales)
        return first, second

    def take(self, candles: Candles, *, edit: int = 0) -> Frame:
        """Take candles later than ``through``; return their facts."""
        since = self.through
        signals, marks = facts_of([_run(each, candles) for each in self.scales])
        if len(candles):
            if self.first == UNSET:
                self.first = int(candles.open_time[0])
            self.through = int(candles.open_time[-1])
            self.checksum = candles_checksum(candles, self.checksum)
        return Frame(since, self.through, edit, self.checksum, signals, marks)

    def preview(self, candle: Candle) -> Frame:
        """Return what a candle that is still forming would tell if it closed now; nothing is kept."""
        signals, marks = facts_of([each.copy().step(candle) for each in self.scales])
        return Frame(self.through, candle.open_time, 0, 0, signals, marks)


def _run(detector: Detector, candles: Candles) -> SignalTable:
    if len(candles) == 1:
        return detector.step(candles.candle(0))
    return detector.run(candles).table


def facts_of(tables: list[SignalTable]) -> tuple[RecordArray, RecordArray]:
    """Return the signals and the marks of both scales' tables in the log's order."""
    if not any(len(table) or len(table.packed_marks) for table in tables):
        return no_facts()
    signals = np.concatenate([logged_rows(table, scale) for scale, table in enumerate(tables)])
    marks = np.concatenate([marked_rows(table, scale) for scale, table in enumerate(tables)])
    if len(tables[0].open_time) == 1:
        # Of one candle, scale by scale is that order.
        return signals, marks
    return in_order(signals, "confirm_time"), in_order(marks, "time")


def candles_checksum(candles: Candles, start: int = 0) -> int:
    """Return the checksum of what detectors see of candles; ``start`` is that of the candles before them."""
    seen = np.empty((len(candles), 5))
    seen[:, 0] = candles.open_time
    for place, name in enumerate(("open", "high", "low", "close"), start=1):
        seen[:, place] = getattr(candles, name)
    return zlib.crc32(seen.tobytes(), start)
