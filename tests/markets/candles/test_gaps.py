"""Which candles lack between others."""

import numpy as np

from markets.candles import Gap, find_gaps
from markets.series import Timeframe

STEP = 60_000


def test_gaps_are_the_runs_that_lack() -> None:
    times = np.array([0, 1, 4, 5, 6, 10], np.int64) * STEP
    gaps = find_gaps(times, Timeframe.M1)
    assert gaps == [Gap(2 * STEP, 4 * STEP), Gap(7 * STEP, 10 * STEP)]
    assert [gap.count(Timeframe.M1) for gap in gaps] == [2, 3]
    assert find_gaps(times[:0], Timeframe.M1) == find_gaps(times[:1], Timeframe.M1) == []
