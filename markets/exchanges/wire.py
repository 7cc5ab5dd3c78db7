"""Numbers, times and candles as Binance writes them, read strictly."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from markets.candles import Candle, CandleFlow, TimeArray
from markets.series import Timeframe

# Signs, exponents, separators and other scripts' digits are not on Binance's wire, and float() takes them all.
_DECIMAL = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?", re.ASCII)

# The archives went from milliseconds to microseconds on 2025-01-01; any sensible time tells by its size.
_FIRST_MICROSECOND = 10**14
_TIME_LIMIT = 10**17


class MalformedError(ValueError):
    """What came is not of the shape that the protocol says: a field is missing or has another type."""


class ImpossibleCandleError(ValueError):
    """The shape is right but no candle can have these values; the text is the reason's short name."""


@overload
def to_milliseconds(time: int) -> int: ...
@overload
def to_milliseconds(time: TimeArray) -> TimeArray: ...
def to_milliseconds(time: int | TimeArray) -> int | TimeArray:
    """Return UTC ms for a time in ms or µs, whichever it is."""
    if isinstance(time, int):
        return time // 1000 if time >= _FIRST_MICROSECOND else time
    return np.where(time >= _FIRST_MICROSECOND, time // 1000, time)


def read_time(value: object) -> int:
    """Return the UTC ms that a field holds. Raises ``MalformedError``."""
    if type(value) is not int or not 0 <= value < _TIME_LIMIT:
        raise MalformedError(f"not a time: {value!r:.40}")
    return to_milliseconds(value)


def read_decimal(value: object) -> float:
    """Return the number a field holds as text: ASCII digits with at most one point.

    Raises ``MalformedError`` for what is not text and ``ImpossibleCandleError`` for what is not a number.
    """
    if type(value) is not str:
        raise MalformedError(f"not a decimal: {value!r:.40}")
    if _DECIMAL.fullmatch(value) is None:
        raise ImpossibleCandleError("number")
    return float(value)


def read_count(value: object) -> int:
    """Return a whole number that is not negative. Raises ``MalformedError``."""
    if type(value) is not int or not 0 <= value < _TIME_LIMIT:
        raise MalformedError(f"not a count: {value!r:.40}")
    return value


@dataclass(frozen=True, slots=True)
class Names:
    """Where the parts of a candle are in a message: keys of an object, or places in a list."""

    open_time: Any
    open: Any
    high: Any
    low: Any
    close: Any
    volume: Any
    quote_volume: Any
    trades: Any
    taker_buy_base: Any
    taker_buy_quote: Any


REST_NAMES = Names(0, 1, 2, 3, 4, 5, 7, 8, 9, 10)
STREAM_NAMES = Names("t", "o", "h", "l", "c", "v", "q", "n", "V", "Q")


def read_candle(fields: Mapping[Any, Any] | list[Any], names: Names, timeframe: Timeframe) -> tuple[Candle, CandleFlow]:
    """Read one candle and check that it can be one.

    Raises
    ------
    MalformedError
        A field is missing or has the wrong type.
    ImpossibleCandleError
        ``number``, ``ohlc`` or ``off_grid``.
    """
    try:
        open_time = read_time(fields[names.open_time])
        prices = [read_decimal(fields[name]) for name in (names.open, names.high, names.low, names.close)]
        volume = read_decimal(fields[names.volume])
        flow = CandleFlow(
            read_decimal(fields[names.quote_volume]),
            read_count(fields[names.trades]),
            read_decimal(fields[names.taker_buy_base]),
            read_decimal(fields[names.taker_buy_quote]),
        )
    except (KeyError, IndexError) as error:
        raise MalformedError(f"no field {error}") from None
    open_, high, low, close = prices
    if not (0 < low <= min(open_, close) and max(open_, close) <= high):
        raise ImpossibleCandleError("ohlc")
    if open_time % timeframe.milliseconds:
        raise ImpossibleCandleError("off_grid")
    return Candle(open_time, open_, high, low, close, volume), flow
