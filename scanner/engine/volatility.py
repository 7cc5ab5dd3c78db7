"""How volatile one series is now, by several measures, each against its own past."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from markets.candles import Candles, FloatArray
from markets.errors import NoCandlesError
from markets.series import Timeframe
from signals.engine import Detector, Params

# How many candles the measures look back over, and how many are asked for their own past.
LOOKBACK = 14
HISTORY = 1_000
# Below this the median of a measure says nothing.
ENOUGH = 3 * LOOKBACK

# Raised by a release that measures otherwise or tells other fields: what the one before kept is not carried on.
MEASURE_VERSION = 1

_YEAR_MINUTES = 365 * 24 * 60
_DAY_MINUTES = 24 * 60
_SPARK_POINTS = 48


class Metric(StrEnum):
    """What a ranking is ordered by."""

    ATR = "atr_pct"
    REALIZED = "realized"
    RANGE = "range"


@dataclass(frozen=True, slots=True)
class Volatility:
    """The measures of one series at its last candle. Everything ending in ``_pct`` is in percent.

    ``atr_pct`` is the mean true range of the last 14 candles against the close; ``realized_vol`` the
    standard deviation of their log returns, annualised on 365 days, in percent; ``range_pct`` their whole
    range from lowest low to highest high against the close. ``vs_median`` holds each of these against its
    own median over the history (1.0: as usual). ``relative_volume`` is the mean volume of the last 14
    candles against the median; None where the market tells no volume. ``change_24h_pct`` is None with less
    than a day of history. ``bias`` is 1 bullish, -1 bearish, 0 undecided.
    """

    open_time: int
    atr_pct: float
    realized_vol: float
    range_pct: float
    vs_median: dict[Metric, float | None]
    relative_volume: float | None
    last_close: float
    change_24h_pct: float | None
    bias: int
    sparkline: tuple[float, ...]

    def value(self, metric: Metric) -> float:
        """Return the measure that ``metric`` names."""
        return {Metric.ATR: self.atr_pct, Metric.REALIZED: self.realized_vol, Metric.RANGE: self.range_pct}[metric]


def needed(timeframe: Timeframe) -> int:
    """Return how many of the newest candles ``measure`` can use: a day of minutes is more than the measures look at."""
    return max(HISTORY, day_of(timeframe))


def day_of(timeframe: Timeframe) -> int:
    """Return how many of the newest candles ``change_over_a_day`` needs: those of a day, and the one before them."""
    return _DAY_MINUTES // timeframe.minutes + 1


def measure(candles: Candles, timeframe: Timeframe) -> Volatility:
    """Measure the volatility at the last of ``candles``.

    Parameters
    ----------
    candles
        The newest closed candles of a series, oldest first, ``needed`` of them at best. The last ``HISTORY`` give
        stable medians; those before only tell the price of a day ago.
    timeframe
        Their length.

    Raises
    ------
    NoCandlesError
        Fewer than ``ENOUGH`` candles.

    Notes
    -----
    Formulas: docs/concepts.md#volatility. Each measure is a rolling window over ``candles``, so its past
    values, of which the median is taken, are computed exactly as today's.
    """
    if len(candles) < ENOUGH:
        raise NoCandlesError(f"{len(candles)} candles are too few to measure volatility, {ENOUGH} are needed")
    change_24h_pct = change_over_a_day(candles)
    candles = candles.take(slice(-HISTORY, None))
    close = candles.close[LOOKBACK:]
    atr_pct = 100 * _windows(_true_ranges(candles)).mean(axis=1) / close
    realized = _realized(candles.close, timeframe)
    highest, lowest = _windows(candles.high[1:]).max(axis=1), _windows(candles.low[1:]).min(axis=1)
    range_pct = 100 * (highest - lowest) / close
    trend = Detector(Params()).run(candles).trend
    return Volatility(
        open_time=int(candles.open_time[-1]),
        atr_pct=float(atr_pct[-1]),
        realized_vol=float(realized[-1]),
        range_pct=float(range_pct[-1]),
        vs_median={
            Metric.ATR: _against_median(atr_pct),
            Metric.REALIZED: _against_median(realized),
            Metric.RANGE: _against_median(range_pct),
        },
        relative_volume=_against_median(_windows(candles.volume).mean(axis=1)),
        last_close=float(candles.close[-1]),
        change_24h_pct=change_24h_pct,
        bias=int(trend[-1]),
        sparkline=tuple(candles.close[-_SPARK_POINTS:].tolist()),
    )


def _windows(values: FloatArray) -> FloatArray:
    """Return every run of ``LOOKBACK`` values, shape (n - LOOKBACK + 1, LOOKBACK)."""
    return np.lib.stride_tricks.sliding_window_view(values, LOOKBACK)


def _true_ranges(candles: Candles) -> FloatArray:
    """Return the true range of each candle but the first, quote currency."""
    before = candles.close[:-1]
    high, low = candles.high[1:], candles.low[1:]
    return np.maximum(high - low, np.maximum(np.abs(high - before), np.abs(low - before)))


def _realized(close: FloatArray, timeframe: Timeframe) -> FloatArray:
    returns = np.diff(np.log(close))
    a_year = _YEAR_MINUTES / timeframe.minutes
    deviation: FloatArray = _windows(returns).std(axis=1, ddof=1)
    return 100 * deviation * np.sqrt(a_year)


def _against_median(values: FloatArray) -> float | None:
    median = float(np.median(values))
    return float(values[-1]) / median if median > 0 else None


def change_over_a_day(candles: Candles) -> float | None:
    """Return the change from the last close at least 24 hours before the end of the last candle, percent."""
    day_before = int(candles.open_time[-1]) - _DAY_MINUTES * 60_000
    index = int(np.searchsorted(candles.open_time, day_before, side="right")) - 1
    if index < 0:
        return None
    return 100 * (float(candles.close[-1]) / float(candles.close[index]) - 1)
