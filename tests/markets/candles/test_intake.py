"""The rules that decide what of a file becomes a candle."""

import numpy as np

from markets.candles import Candle, Intake, take_file_rows
from markets.series import Timeframe

STEP = 60_000


def test_file_rows_are_taken_by_one_rule() -> None:
    good = Candle(STEP, 1.0, 2.0, 0.5, 1.5, 3.0)
    rows = [
        good._replace(open_time=3 * STEP),
        good,
        good._replace(open_time=3 * STEP, close=1.0),
        good._replace(open_time=2 * STEP + 1),
        good._replace(open_time=2 * STEP, high=1.0),
        good._replace(open_time=2 * STEP),
    ]
    columns = dict(zip(Candle._fields, map(np.array, zip(*rows, strict=True)), strict=True))
    candles, intake = take_file_rows(columns | {"closed": np.array([True] * 5 + [False])}, Timeframe.M1)
    assert [*candles] == [good, good._replace(open_time=3 * STEP, close=1.0)]
    assert intake == Intake(accepted=2, duplicate=1, out_of_order=1, malformed=2, unclosed=1)
