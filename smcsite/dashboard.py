"""What the dashboard shows: each part is read for itself, so that one that fails leaves the others standing."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from markets.errors import SmcError
from markets.models import Pair
from markets.selectors import newest_candles, pairs, timeframes_of
from markets.series import SeriesKey, Timeframe
from scanner.engine.volatility import change_over_a_day, day_of
from signals import selectors
from signals.engine import Kind

logger = logging.getLogger(__name__)

# Gaps do not depend on the swing length: both scales tell the same ones.
_GAPS = frozenset({"FVG", "IFVG"})
_OTHERS = frozenset(kind.name for kind in Kind) - _GAPS


@dataclass(frozen=True, slots=True)
class Bias:
    """Which way a series' structure points; 0 undecided."""

    timeframe: Timeframe
    direction: int


@dataclass(frozen=True, slots=True)
class MarketRow:
    """A pair in the overview. ``error`` says why the rest is missing."""

    symbol: str
    is_active: bool
    last_close: float | None = None
    last_time: int | None = None
    change_pct: float | None = None
    bias: tuple[Bias, ...] = ()
    error: str = ""

    @property
    def chart_timeframe(self) -> str:
        middle = [each.timeframe for each in self.bias if each.timeframe.minutes >= Timeframe.M15.minutes]
        return middle[0].value if middle else Timeframe.M15.value


def market() -> list[MarketRow]:
    """Return every pair with its price, its change over a day and its bias per timeframe."""
    return list(_rows())


def _rows() -> Iterator[MarketRow]:
    for pair in pairs():
        try:
            yield _row(pair)
        except SmcError as error:
            yield MarketRow(pair.symbol, pair.is_active, error=str(error))
        except Exception as error:
            logger.exception("a pair of the dashboard could not be read", extra={"symbol": pair.symbol})
            yield MarketRow(pair.symbol, pair.is_active, error=f"internal error: {type(error).__name__}")


def _row(pair: Pair) -> MarketRow:
    timeframes = timeframes_of(pair)
    if not timeframes:
        return MarketRow(pair.symbol, pair.is_active)
    # Price and past are of one series, the fastest: the change is against just what is shown.
    series = SeriesKey(pair.symbol, timeframes[0])
    candles = newest_candles(series, day_of(series.timeframe))
    bias = tuple(_bias(SeriesKey(pair.symbol, each)) for each in timeframes)
    if not len(candles):
        return MarketRow(pair.symbol, pair.is_active, bias=bias)
    close, time = float(candles.close[-1]), int(candles.open_time[-1])
    return MarketRow(pair.symbol, pair.is_active, close, time, change_over_a_day(candles), bias)


def _bias(series: SeriesKey) -> Bias:
    known = selectors.bias(series)
    return Bias(series.timeframe, known.trend if known is not None else 0)


@dataclass(frozen=True, slots=True)
class Tallies:
    """The dashboard's figures: series that point up and down, and signals of the market's last day."""

    up: int
    down: int
    signals: int


def tallies(rows: list[MarketRow]) -> Tallies:
    """Count the biases, and the signals of the last day before the newest candle, each gap once."""
    directions = [each.direction for row in rows for each in row.bias]
    newest = max((row.last_time for row in rows if row.last_time is not None), default=None)
    count = 0
    if newest is not None:
        since = newest - Timeframe.D1.milliseconds
        count = _count(selectors.SignalFilter(start=since, kinds=_OTHERS))
        count += _count(selectors.SignalFilter(start=since, kinds=_GAPS, scale="swing"))
    return Tallies(sum(each > 0 for each in directions), sum(each < 0 for each in directions), count)


def _count(filter_: selectors.SignalFilter) -> int:
    try:
        return selectors.total(filter_)
    except SmcError:
        return 0


def near_zones(rows: list[MarketRow]) -> list[selectors.NearZone]:
    """Return the open zones closest to the prices of all pairs, on the timeframes people trade from."""
    found: list[selectors.NearZone] = []
    for row in rows:
        for bias in row.bias:
            if Timeframe.M15.minutes <= bias.timeframe.minutes <= Timeframe.H4.minutes:
                found += selectors.once_each(selectors.zones_near(SeriesKey(row.symbol, bias.timeframe), limit=8))[:3]
    return sorted(found, key=lambda each: (each.distance, -each.signal.timeframe.minutes))[:10]


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """What a newcomer has done: pairs chosen, history stored."""

    has_pairs: bool
    has_candles: bool


def first_steps(rows: list[MarketRow], *, has_seen: bool) -> FirstSteps | None:
    """Return the steps to show on first runs; None once they are done and dismissed."""
    has_candles = any(row.last_close is not None for row in rows)
    if has_candles and has_seen:
        return None
    return FirstSteps(bool(rows), has_candles)
