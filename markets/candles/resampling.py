"""Longer candles made of shorter ones."""

import numpy as np

from markets.candles.columns import FLOW_COLUMNS, Candles, FloatArray, Flow
from markets.errors import InvalidInputError
from markets.series import Timeframe


def resample(candles: Candles, timeframe: Timeframe, *, to: Timeframe) -> Candles:
    """Put candles of ``timeframe`` together to candles of ``to``.

    Only where every one of them is there: a candle with a part missing would have a high, a low and a volume that never
    were. So a gap of one minute leaves a gap of one hour, and the hour that is not over yet is left out.

    Notes
    -----
    Prices are exact, they are compared and copied. Volumes are sums, exact to the rounding of float64.

    Raises
    ------
    InvalidInputError
        ``to`` is no multiple of ``timeframe``.
    """
    if to.milliseconds % timeframe.milliseconds:
        raise InvalidInputError(f"{to.value} candles cannot be made of {timeframe.value} candles", field="timeframe")
    parts = to.milliseconds // timeframe.milliseconds
    opens = candles.open_time - candles.open_time % to.milliseconds
    times, first, counts = np.unique(opens, return_index=True, return_counts=True)
    complete = counts == parts
    starts = first[complete]
    if not len(starts):
        return Candles.empty()
    inside = (starts[:, None] + np.arange(parts)).ravel()
    shape = (len(starts), parts)

    def folded(column: FloatArray) -> FloatArray:
        values: FloatArray = column[inside].reshape(shape)
        return values

    flow = candles.flow
    return Candles(
        times[complete],
        folded(candles.open)[:, 0],
        folded(candles.high).max(axis=1),
        folded(candles.low).min(axis=1),
        folded(candles.close)[:, -1],
        folded(candles.volume).sum(axis=1),
        flow=Flow(*(folded(getattr(flow, name)).sum(axis=1) for name in FLOW_COLUMNS)) if flow is not None else None,
    )
