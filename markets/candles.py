"""Closed candles as validated columns, and the rules that decide what becomes one."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from markets.errors import InvalidCandlesError, InvalidInputError
from markets.series import Timeframe

FloatArray = NDArray[np.float64]
TimeArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

PRICE_COLUMNS = ("open", "high", "low", "close")
COLUMNS = ("open_time", *PRICE_COLUMNS, "volume")
FLOW_COLUMNS = ("quote_volume", "trades", "taker_buy_base", "taker_buy_quote")


class Candle(NamedTuple):
    """One closed candle. Time in UTC ms, prices in quote currency, volume in base currency."""

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


def sound_prices(open_: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray) -> BoolArray:
    """Say of each row whether its prices can be a candle's: finite, above zero, low and high enclosing the rest."""
    # NaN makes each comparison false, so only infinity is left to ask for.
    sound = (low > 0) & (high >= open_) & (high >= close) & (low <= open_) & (low <= close) & (high < np.inf)
    return np.asarray(sound, np.bool_)


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
