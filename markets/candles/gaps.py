"""Candles that lack between others."""

from typing import NamedTuple

import numpy as np

from markets.candles.columns import TimeArray
from markets.series import Timeframe


class Gap(NamedTuple):
    """A run of missing candles: ``start <= open_time < end`` (UTC ms)."""

    start: int
    end: int

    def count(self, timeframe: Timeframe) -> int:
        return (self.end - self.start) // timeframe.milliseconds


def find_gaps(open_time: TimeArray, timeframe: Timeframe) -> list[Gap]:
    """Return the runs of candles missing between the first and the last of ``open_time``."""
    step = timeframe.milliseconds
    before = np.flatnonzero(np.diff(open_time) > step)
    return [Gap(int(open_time[i]) + step, int(open_time[i + 1])) for i in before]
