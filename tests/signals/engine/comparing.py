"""How the engine's tests compare two tables of signals."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from markets.candles import Candles
from signals.engine import Detector, Params, SignalTable
from signals.engine.table import detect_columns
from tests.signals.engine.definition import Definition

Columns = dict[str, NDArray[Any]]


def assert_same(found: Columns, expected: Columns) -> None:
    """Field for field, exactly; NaN equals NaN."""
    assert list(found) == list(expected)
    for name, column in expected.items():
        np.testing.assert_array_equal(found[name], column, err_msg=name)


def as_of(table: SignalTable, n: int) -> Columns:
    return detect_columns(table.as_of(n - 1))


def assert_never_edits_the_past(candles: Candles, params: Params) -> SignalTable:
    """Law 1, over every prefix: facts from the first n candles are the facts from all of them, cut at n.

    Compared are the bytes that every column is made of. Returns the facts from all candles.
    """
    whole = Detector(params).run(candles).table
    for n in range(len(candles) + 1):
        told, known = Detector(params).run(candles.first(n)).table, whole.as_of(n - 1)
        assert told.rows.tobytes() == known.rows.tobytes(), f"signals of the first {n} candles"
        assert told.packed_marks.tobytes() == known.packed_marks.tobytes(), f"marks of the first {n} candles"
        assert told.range_pos.tobytes() == known.range_pos[:n].tobytes(), f"range of the first {n} candles"
    return whole


def stream(candles: Candles, params: Params) -> Columns:
    """Step through the candles and put the pieces together as a reader of the log would."""
    detector = Detector(params)
    pieces = [detector.step(candle) for candle in candles]
    return together(pieces, candles)


def together(pieces: list[SignalTable], candles: Candles) -> Columns:
    if not pieces:
        return detect_columns(Detector().run(candles).table)
    whole = SignalTable(
        np.concatenate([piece.rows for piece in pieces]),
        np.concatenate([piece.packed_marks for piece in pieces]),
        candles.open_time,
        np.concatenate([piece.range_pos for piece in pieces]),
    )
    return detect_columns(whole)


def definition_columns(candles: Candles, params: Params) -> Columns:
    facts = Definition(list(candles), params).facts
    times = np.append(candles.open_time, -1)  # index -1, unset, has time -1
    columns: dict[str, list[Any]] = {
        "kind": [f.kind for f in facts],
        "direction": [f.direction for f in facts],
        "event_idx": [f.event for f in facts],
        "event_time": [times[f.event] for f in facts],
        "confirm_idx": [f.confirm for f in facts],
        "confirm_time": [times[f.confirm] for f in facts],
        "level": [f.level for f in facts],
        "top": [f.top for f in facts],
        "bottom": [f.bottom for f in facts],
        "ref_idx": [f.ref for f in facts],
        "ref_time": [times[f.ref] for f in facts],
        "strength": [f.strength for f in facts],
        "range_pos": [f.range_pos for f in facts],
        "tag": [f.tag for f in facts],
        "mitigated_idx": [f.mitigated for f in facts],
        "mitigated_time": [times[f.mitigated] for f in facts],
        "filled_idx": [f.filled for f in facts],
        "filled_time": [times[f.filled] for f in facts],
        "invalidated_idx": [f.invalidated for f in facts],
        "invalidated_time": [times[f.invalidated] for f in facts],
        "status": [f.status for f in facts],
    }
    texts = ("kind", "tag", "status")
    return {name: np.array(values, dtype=object if name in texts else None) for name, values in columns.items()}
