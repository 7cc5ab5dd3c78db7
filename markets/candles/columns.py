"""Candles as validated columns: a value that exists is valid."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from markets.errors import InvalidCandlesError

FloatArray = NDArray[np.float64]
TimeArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

PRICE_COLUMNS = ("open", "high", "low", "close")
COLUMNS = ("open_time", *PRICE_COLUMNS, "volume")
FLOW_COLUMNS = ("quote_volume", "trades", "taker_buy_base", "taker_buy_quote")


class Candle(NamedTuple):
    """One candle, closed or forming. Time in UTC ms, prices in quote currency, volume in base currency."""

    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class CandleFlow(NamedTuple):
    """One row of ``Flow``."""

    quote_volume: float
    trades: float
    taker_buy_base: float
    taker_buy_quote: float


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """What the exchange tells beside the prices: shape (n,) each, NaN where it was not told.

    ``quote_volume`` and ``taker_buy_quote`` are in quote currency, ``taker_buy_base`` in base
    currency, ``trades`` is a count.
    """

    quote_volume: FloatArray
    trades: FloatArray
    taker_buy_base: FloatArray
    taker_buy_quote: FloatArray

    @classmethod
    def unknown(cls, n: int) -> Self:
        return cls(*(np.full(n, np.nan) for _ in FLOW_COLUMNS))

    def take(self, where: slice | BoolArray | TimeArray) -> Self:
        return type(self)(*(getattr(self, name)[where] for name in FLOW_COLUMNS))


@dataclass(frozen=True, slots=True, eq=False)
class Candles:
    """Closed candles in time order.

    All columns have shape (n,). Times are UTC milliseconds; prices are in the quote currency, finite
    and above zero; volume is in the base currency, finite and not negative. A value that exists is
    valid: construction raises ``InvalidCandlesError`` otherwise.
    """

    open_time: TimeArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    flow: Flow | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in COLUMNS:
            column = getattr(self, name)
            dtype = np.int64 if name == "open_time" else np.float64
            if column.dtype != dtype or column.ndim != 1 or len(column) != len(self.open_time):
                raise InvalidCandlesError(f"{name} must be {np.dtype(dtype)} of shape ({len(self.open_time)},)")
        if (self.open_time[1:] <= self.open_time[:-1]).any():
            raise InvalidCandlesError("open_time must rise strictly")
        if not sound_prices(self.open, self.high, self.low, self.close).all():
            raise InvalidCandlesError("prices must be finite and above zero, with low and high around open and close")
        if not (np.isfinite(self.volume) & (self.volume >= 0)).all():
            raise InvalidCandlesError("volume must be finite and not negative")

    def __len__(self) -> int:
        return len(self.open_time)

    def __iter__(self) -> Iterator[Candle]:
        return map(Candle._make, zip(*(getattr(self, name).tolist() for name in COLUMNS), strict=True))

    @classmethod
    def empty(cls) -> Self:
        return cls(np.empty(0, np.int64), *(np.empty(0) for _ in COLUMNS[1:]))

    @classmethod
    def of(cls, rows: Iterable[Candle], flow: Iterable[CandleFlow] | None = None) -> Self:
        """Build columns from single candles in time order, with as many rows of ``flow`` where they are known."""
        table = list(rows)
        if not table:
            return cls.empty()
        columns = list(zip(*table, strict=True))
        prices_and_volume = (np.array(column, np.float64) for column in columns[1:])
        flow_columns = Flow(*np.array(list(flow), np.float64).T) if flow is not None else None
        return cls(np.array(columns[0], np.int64), *prices_and_volume, flow=flow_columns)

    def take(self, where: slice | BoolArray | TimeArray) -> Self:
        """Return the candles at ``where``, an index or a mask that keeps time order."""
        flow = self.flow.take(where) if self.flow is not None else None
        columns = [getattr(self, name)[where] for name in COLUMNS]
        if isinstance(where, slice) and (where.step is None or where.step > 0):
            return self.known(columns, flow)
        return type(self)(*columns, flow=flow)

    def copy(self) -> Self:
        """Return the same candles in columns of their own, which may be written to."""
        flow = self.flow
        if flow is not None:
            flow = Flow(*(getattr(flow, name).copy() for name in FLOW_COLUMNS))
        return self.known([getattr(self, name).copy() for name in COLUMNS], flow)

    def with_flow(self, flow: Flow | None) -> Self:
        """Return the same candles with another flow, or none."""
        return self.known([getattr(self, name) for name in COLUMNS], flow)

    def first(self, n: int) -> Self:
        return self.take(slice(0, n))

    def between(self, start: int | None, end: int | None) -> Self:
        """Return the candles with ``start <= open_time < end`` (UTC ms)."""
        low = 0 if start is None else int(np.searchsorted(self.open_time, start))
        high = len(self) if end is None else int(np.searchsorted(self.open_time, end))
        return self.take(slice(low, max(low, high)))

    @classmethod
    def known(cls, columns: Iterable[TimeArray | FloatArray], flow: Flow | None) -> Self:
        """Return columns that were checked already, and in this order: to look again costs more than to take."""
        candles = object.__new__(cls)
        for name, column in zip(COLUMNS, columns, strict=True):
            object.__setattr__(candles, name, column)
        object.__setattr__(candles, "flow", flow)
        return candles

    def candle(self, index: int) -> Candle:
        return Candle(int(self.open_time[index]), *(float(getattr(self, name)[index]) for name in COLUMNS[1:]))


def join(parts: Iterable[Candles]) -> Candles:
    """Return one value that holds the candles of ``parts``, which follow each other in time."""
    kept = [part for part in parts if len(part)]
    if not kept:
        return Candles.empty()
    if len(kept) == 1:
        return kept[0]
    flow = None
    if any(part.flow is not None for part in kept):
        flows = [part.flow if part.flow is not None else Flow.unknown(len(part)) for part in kept]
        flow = Flow(*(np.concatenate([getattr(each, name) for each in flows]) for name in FLOW_COLUMNS))
    if any(before.open_time[-1] >= after.open_time[0] for before, after in pairwise(kept)):
        raise InvalidCandlesError("open_time must rise strictly")
    return Candles.known([np.concatenate([getattr(part, name) for part in kept]) for name in COLUMNS], flow)


def sound_prices(open_: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray) -> BoolArray:
    """Say of each row whether its prices can be a candle's: finite, above zero, low and high enclosing the rest."""
    # NaN makes each comparison false, so only infinity is left to ask for.
    sound = (low > 0) & (high >= open_) & (high >= close) & (low <= open_) & (low <= close) & (high < np.inf)
    return np.asarray(sound, np.bool_)
