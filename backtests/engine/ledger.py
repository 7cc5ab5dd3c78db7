"""What a walk leaves behind, as columns: the trades, and the equity at every close."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtests.engine.labels import Labels
from backtests.engine.layout import Reason, RecordArray, Resolution
from markets.candles import BoolArray, FloatArray, TimeArray
from signals.engine.compiled import entry

_REASONS = tuple(reason.name.lower() for reason in Reason)
_RESOLUTIONS = tuple(resolution.name.lower() for resolution in Resolution)
_SIDES = ("short", "long")

TRADE_COLUMNS = (
    "trade", "direction", "signal_kind", "signal_time", "entry_time", "entry_price", "stop_price", "target_price",
    "quantity", "exit_time", "exit_price", "exit_reason", "gross_pnl", "fees", "slippage", "net_pnl", "r_multiple",
    "mae_r", "mfe_r", "bars_held", "ambiguous", "resolution",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Trades:
    """Trades in order of entry. ``rows`` are records of ``TRADE``, shape (n,), prices in quote currency.

    ``signal_kind``, ``signal_time`` (open time of the confirm bar, UTC ms) and ``atr`` (at that bar) belong to the
    signal behind each trade, ``symbol`` to its pair.
    """

    rows: RecordArray
    signal_kind: Labels
    signal_time: TimeArray
    atr: FloatArray
    symbol: Labels

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, where: BoolArray | NDArray[np.int64]) -> "Trades":
        index = np.flatnonzero(where) if where.dtype == bool else where
        # Indexing copies records field by field, which takes forty times as long.
        return Trades(*(getattr(self, name).take(index) for name in self.__slots__))

    @property
    def is_closed(self) -> BoolArray:
        """Which trades ended by a rule, and not because the data did."""
        closed: BoolArray = self.rows["reason"] != Reason.END_OF_DATA
        return closed

    @property
    def net(self) -> FloatArray:
        return np.ascontiguousarray(self.rows["net"])

    @property
    def r(self) -> FloatArray:
        """Net result in units of the risk taken at the fill."""
        multiple: FloatArray = self.rows["net"] / self.rows["risk"]
        return multiple

    @property
    def direction(self) -> Labels:
        return Labels.of(self.rows["side"] > 0, _SIDES)

    @property
    def exit_reason(self) -> Labels:
        return Labels.of(self.rows["reason"], _REASONS)

    @property
    def resolution(self) -> Labels:
        return Labels.of(self.rows["resolution"], _RESOLUTIONS)

    def columns(self) -> dict[str, NDArray[Any] | Labels]:
        """Return the columns of trades.csv (docs/metrics.md#trades); NaN is an undefined value."""
        rows = self.rows
        columns: dict[str, NDArray[Any] | Labels] = {
            "trade": np.arange(1, len(rows) + 1),
            "direction": self.direction,
            "signal_kind": self.signal_kind,
            "signal_time": self.signal_time,
            "entry_time": rows["entry_time"],
            "entry_price": rows["entry"],
            "stop_price": rows["stop"],
            "target_price": np.where(rows["target"] == 0.0, np.nan, rows["target"]),
            "quantity": rows["quantity"],
            "exit_time": rows["exit_time"],
            "exit_price": rows["exit"],
            "exit_reason": self.exit_reason,
            "gross_pnl": rows["gross"],
            "fees": rows["fees"],
            "slippage": rows["slippage"],
            "net_pnl": rows["net"],
            "r_multiple": self.r,
            "mae_r": rows["mae"],
            "mfe_r": rows["mfe"],
            "bars_held": rows["exit_idx"] - rows["entry_idx"],
            "ambiguous": rows["is_ambiguous"] != 0,
            "resolution": self.resolution,
        }
        # Even where one of several pairs alone traded: nothing else in the file says which.
        if len(self.symbol.names) > 1:
            columns["symbol"] = self.symbol
        return columns


@dataclass(frozen=True, slots=True, eq=False)
class Equity:
    """The account at every close, shape (n,): open time of the bar (UTC ms), equity, and equity at the bar's worst.

    ``capital`` stands one bar before the first; ``peak`` is the highest equity so far, the capital included, and
    ``drawdown`` how far below it the equity stands, a fraction.
    """

    time: TimeArray
    equity: FloatArray
    adverse: FloatArray
    capital: float
    is_ruined: bool = False
    peak: FloatArray = field(init=False)
    drawdown: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        peak, drawdown = np.empty(len(self)), np.empty(len(self))
        _follow_peak(self.equity, self.capital, peak, drawdown)
        object.__setattr__(self, "peak", peak)
        object.__setattr__(self, "drawdown", drawdown)

    def __len__(self) -> int:
        return len(self.time)

    @property
    def final(self) -> float:
        return float(self.equity[-1]) if len(self.equity) else self.capital

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns of equity.csv."""
        return {"time": self.time, "equity": self.equity, "drawdown": self.drawdown}


@entry
def _follow_peak(equity: Any, capital: float, peak: Any, drawdown: Any) -> None:
    highest = capital
    for i in range(len(equity)):
        highest = max(highest, equity[i])
        peak[i] = highest
        drawdown[i] = 1.0 - equity[i] / highest
