"""The detector: the engine as Python calls it, over a batch or one candle at a time."""

import json
import struct
import zlib
from copy import copy
from dataclasses import asdict, dataclass
from math import inf
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from markets.candles import Candle, Candles
from markets.errors import InvalidCandlesError, InvalidInputError
from signals.engine import kernel
from signals.engine.kinds import DETECTOR_VERSION
from signals.engine.layout import (
    CONTEXT,
    NO_ROOM_IN_OUTPUT,
    NO_ROOM_IN_STATE,
    OUT_OF_ORDER,
    ROOM,
    SIGNAL,
    RecordArray,
    State,
    grown,
    new_state,
)
from signals.engine.params import Params
from signals.engine.table import SignalTable

_MAGIC = b"SMCSTATE"
_STEP_ROWS = 512


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What a batch found.

    ``table`` holds the signals confirmed in it and the marks made in it. ``trend`` (-1, 0, 1), shape
    (bars,), and ``table.range_pos`` (NaN without a range) are the context after each candle.
    """

    table: SignalTable
    trend: NDArray[np.int64]


class Detector:
    """Finds signals in one series of candles, never looking ahead and never looking back.

    ``run`` and ``step`` go on from where the last call ended; a batch is the step in a loop, so
    ``run(a + b)`` tells exactly what ``run(a)`` and then ``run(b)`` tell.
    """

    def __init__(self, params: Params | None = None) -> None:
        self.params = params if params is not None else Params()
        self._state = new_state(self.params)
        self._step_signals = np.empty(_STEP_ROWS, SIGNAL)
        self._step_marks = np.empty(_STEP_ROWS, np.int64)

    @property
    def bars(self) -> int:
        """How many candles were taken."""
        return int(self._state.core[0]["bar"]) + 1

    @property
    def last_time(self) -> int | None:
        """Open time of the last candle taken, UTC ms."""
        return int(self._state.core[0]["time"]) if self.bars else None

    @property
    def next_number(self) -> int:
        """The number that the next signal will have; numbers count from 0 in emission order."""
        return int(self._state.core[0]["next_number"])

    @property
    def trend(self) -> int:
        """1 bullish, -1 bearish, 0 before the first break."""
        return int(self._state.core[0]["trend"])

    @property
    def range_pos(self) -> float:
        """Where the last close stands in the range: 0 bottom, 1 top, NaN without a range."""
        return float(self._state.core[0]["range_pos"])

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in (*self._state, self._step_signals, self._step_marks))

    def run(self, candles: Candles) -> Run:
        """Take all of ``candles``; raise ``InvalidCandlesError`` when they do not follow the last one."""
        if len(candles) and self.bars and candles.open_time[0] <= self._state.core[0]["time"]:
            raise InvalidCandlesError(
                f"candles must follow {self.last_time}, the last one taken; the first is {candles.open_time[0]}"
            )
        first_number, first_bar = self.next_number, self.bars
        columns = tuple(
            _frozen(column) for column in (candles.open_time, candles.open, candles.high, candles.low, candles.close)
        )
        context = np.empty(len(candles), CONTEXT)
        signal_parts, mark_parts = [], []
        done, rows = 0, len(candles) + _STEP_ROWS
        while True:
            signals, marks = np.empty(rows, SIGNAL), np.empty(3 * rows, np.int64)
            done, room = self._fill(signals, marks, context, columns, done)
            signal_parts.append(signals[: self._take_count("signal_count")])
            mark_parts.append(marks[: self._take_count("mark_count")])
            if room == ROOM:
                break
            rows = max(2 * self._worst_case(), (len(candles) - done) // 2 + _STEP_ROWS)
        rows_found, marks_made = _joined(signal_parts), _joined(mark_parts)
        table = SignalTable(
            rows_found, marks_made, columns[0], context["range_pos"], first_number=first_number, first_bar=first_bar
        )
        return Run(table, context["trend"])

    def _fill(
        self, signals: RecordArray, marks: NDArray[np.int64], context: RecordArray, columns: tuple[Any, ...], start: int
    ) -> tuple[int, int]:
        """Run until the candles end or the output is full, letting the state grow on the way."""
        while True:
            start, room = kernel.run(self._state, signals, marks, context, columns, start)
            if room != NO_ROOM_IN_STATE:
                return start, room
            self._state = grown(self._state)

    def step(self, candle: Candle) -> SignalTable:
        """Take one closed candle; return the signals it confirms and the marks it makes."""
        time, open_, high, low, close, _ = candle
        if not (0 < low <= open_ <= high < inf and low <= close <= high):
            raise InvalidCandlesError(f"no candle has these prices: {candle}")
        while True:
            room, told = kernel.step(self._state, self._step_signals, self._step_marks, candle[:5])
            if room == ROOM:
                break
            if room == OUT_OF_ORDER:
                raise InvalidCandlesError(f"a candle must follow {self.last_time}, the last one taken; it is {time}")
            if room == NO_ROOM_IN_OUTPUT:
                rows = 2 * self._worst_case()
                self._step_signals, self._step_marks = np.empty(rows, SIGNAL), np.empty(3 * rows, np.int64)
            else:
                self._state = grown(self._state)
        first_number, first_bar, signal_count, mark_count, range_pos = told
        return SignalTable(
            _first_rows(self._step_signals, signal_count),
            _first_rows(self._step_marks, mark_count),
            np.array([time]),
            np.array([range_pos]),
            first_number=first_number,
            first_bar=first_bar,
        )

    def _take_count(self, name: str) -> int:
        core: Any = self._state.core
        count = int(core[0][name])
        core[name] = 0
        return count

    def _worst_case(self) -> int:
        """Rows enough for whatever one bar can bring."""
        core, sides = self._state.core[0], self._state.sides
        taken = int(sides["level_count"].sum() + sides["pending_count"].sum() + sides["take_size"].sum())
        return int(core["zone_count"]) * 3 + 2 * taken + 2 * int(core["structure_count"]) + _STEP_ROWS

    def copy(self) -> "Detector":
        """Return an independent detector in the same state, to preview a candle that is still forming."""
        twin = copy(self)
        copies: Any = (array.copy() for array in self._state)
        twin._state = State(*copies)
        twin._step_signals, twin._step_marks = np.empty_like(self._step_signals), np.empty_like(self._step_marks)
        return twin

    def to_bytes(self) -> bytes:
        """Write the state: version and parameters first, then the arrays, then a checksum."""
        head = {
            "version": DETECTOR_VERSION,
            "params": asdict(self.params),
            "arrays": {name: list(getattr(self._state, name).shape) for name in State._fields},
        }
        text = json.dumps(head).encode()
        content = struct.pack("<I", len(text)) + text + b"".join(array.tobytes() for array in self._state)
        return _MAGIC + struct.pack("<I", zlib.crc32(content)) + content

    @classmethod
    def from_bytes(cls, blob: bytes, params: Params | None = None) -> Self:
        """Read what ``to_bytes`` wrote.

        Raises ``InvalidInputError`` for bytes that are damaged, not a detector's state, of another
        detector version, or (with ``params``) of other parameters.
        """
        head, arrays = _parse(blob)
        if head["version"] != DETECTOR_VERSION:
            raise InvalidInputError(
                f"the state is of detector version {head['version']}, this one is {DETECTOR_VERSION}", field="state"
            )
        detector = cls(Params.of(head["params"]))
        if params is not None and detector.params.digest != params.digest:
            raise InvalidInputError(
                f"the state is of parameters {detector.params.digest}, asked for {params.digest}", field="state"
            )
        dtypes = {name: getattr(detector._state, name).dtype for name in State._fields}
        loaded, at = {}, 0
        for name, shape in head["arrays"].items():
            size = int(np.prod(shape)) * dtypes[name].itemsize
            loaded[name] = np.frombuffer(arrays[at : at + size], dtypes[name]).reshape(shape).copy()
            at += size
        detector._state = State(**loaded)
        return detector


def _parse(blob: bytes) -> tuple[dict[str, Any], bytes]:
    if blob[: len(_MAGIC)] != _MAGIC:
        raise InvalidInputError("these bytes are not a detector's state", field="state")
    content = blob[len(_MAGIC) + 4 :]
    if blob[len(_MAGIC) : len(_MAGIC) + 4] != struct.pack("<I", zlib.crc32(content)):
        raise InvalidInputError("the detector's state is damaged: its checksum differs", field="state")
    size = struct.unpack_from("<I", content)[0]
    return json.loads(content[4 : 4 + size]), content[4 + size :]


def _frozen(column: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only contiguous view: one compiled signature for every caller."""
    view = np.ascontiguousarray(column).view()
    view.flags.writeable = False
    return view


def _first_rows(buffer: NDArray[Any], count: int) -> NDArray[Any]:
    """Return a read-only copy of the first rows; by way of bytes, in a sixth of the time that records take."""
    return np.frombuffer(buffer[:count].tobytes(), buffer.dtype)


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
