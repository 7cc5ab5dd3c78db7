"""The rules that decide what of a file becomes a candle."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from markets.candles.columns import FLOW_COLUMNS, PRICE_COLUMNS, BoolArray, Candles, Flow, TimeArray, sound_prices
from markets.series import Timeframe


@dataclass(frozen=True, slots=True)
class Intake:
    """How many rows were taken and why the others were not (docs/concepts.md#input-rules)."""

    accepted: int = 0
    duplicate: int = 0
    out_of_order: int = 0
    malformed: int = 0
    unclosed: int = 0

    def __add__(self, other: "Intake") -> "Intake":
        return Intake(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def take_file_rows(
    rows: Mapping[str, NDArray[np.generic]], timeframe: Timeframe, *, has_time: BoolArray | None = None
) -> tuple[Candles, Intake]:
    """Turn the rows of a file into candles: any order, of equal times the last row wins.

    Parameters
    ----------
    rows
        Columns of equal shape (n,): ``open_time`` (int64, UTC ms), prices and ``volume`` (float64, NaN
        where absent), optionally ``closed`` (bool) and the columns of ``Flow``.
    timeframe
        An open time that is not a multiple of it is malformed.
    has_time
        False where the row's time could not be read.

    Returns
    -------
    tuple
        The candles, and the counts. ``out_of_order`` counts accepted rows earlier than the row before
        them; they are kept.
    """
    times = np.asarray(rows["open_time"], np.int64)
    prices = [np.asarray(rows[name], np.float64) for name in PRICE_COLUMNS]
    closed = np.asarray(rows["closed"], np.bool_) if "closed" in rows else np.ones(len(times), np.bool_)
    sound = sound_prices(*prices) & (times % timeframe.milliseconds == 0)
    if has_time is not None:
        sound &= has_time
    kept = np.flatnonzero(closed & sound)

    out_of_order = int((np.diff(times[kept]) < 0).sum())
    by_time = kept[np.argsort(times[kept], kind="stable")]
    sorted_times = times[by_time]
    is_last = np.append(sorted_times[1:] != sorted_times[:-1], True)[: len(by_time)]
    chosen = by_time[is_last]

    volume = np.asarray(rows["volume"], np.float64)[chosen]
    volume = np.where(np.isfinite(volume) & (volume >= 0), volume, 0.0)
    open_, high, low, close = (price[chosen] for price in prices)
    candles = Candles(times[chosen], open_, high, low, close, volume, flow=_flow(rows, chosen))
    counts = Intake(
        accepted=len(chosen),
        duplicate=len(kept) - len(chosen),
        out_of_order=out_of_order,
        malformed=int((closed & ~sound).sum()),
        unclosed=int((~closed).sum()),
    )
    return candles, counts


def _flow(rows: Mapping[str, NDArray[np.generic]], chosen: TimeArray) -> Flow | None:
    if not any(name in rows for name in FLOW_COLUMNS):
        return None
    unknown = np.full(len(chosen), np.nan)
    return Flow(*(np.asarray(rows[name], np.float64)[chosen] if name in rows else unknown for name in FLOW_COLUMNS))
