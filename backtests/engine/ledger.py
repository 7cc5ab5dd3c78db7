"""What a walk leaves behind, as columns: the trades, and the equity at every close."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtests.engine.layout import Reason, RecordArray, Resolution
from markets.candles import BoolArray, FloatArray, TimeArray
from signals.engine.table import TextArray

REASON_TEXT = np.array([reason.name.lower() for reason in Reason], dtype=object)
RESOLUTION_TEXT = np.array([resolution.name.lower() for resolution in Resolution], dtype=object)
_SIDE_TEXT = np.array(["short", "long"], dtype=object)

TRADE_COLUMNS = (
    "trade", "direction", "signal_kind", "signal_time", "entry_time", "entry_price", "stop_price", "target_price",
    "quantity", "exit_time", "exit_price", "exit_reason", "gross_pnl", "fees", "slippage", "net_pnl", "r_multiple",
    "mae_r", "mfe_r", "bars_held", "ambiguous", "resolution",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Trades:
    """Trades in order of entry. ``rows`` are records of ``TRADE``, shape (n,), prices in quote currency.

    ``signal_kind`` (text), ``signal_time`` (open time of the confirm bar, UTC ms) and ``atr`` (at that bar) belong
    to the signal behind each trade, ``symbol`` to its pair.
    """

    rows: RecordArray
    signal_kind: TextArray
    signal_time: TimeArray
    atr: FloatArray
    symbol: TextArray

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
    def direction(self) -> TextArray:
        text: TextArray = _SIDE_TEXT[(self.rows["side"] > 0).astype(np.int64)]
        return text

    @property
    def exit_reason(self) -> TextArray:
        text: TextArray = REASON_TEXT[self.rows["reason"]]
        return text

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns of trades.csv (docs/metrics.md#trades); NaN is an undefined value."""
        rows = self.rows
        columns = {
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
            "resolution": RESOLUTION_TEXT[rows["resolution"]],
        }
        if len(set(self.symbol.tolist())) > 1:
            columns["symbol"] = self.symbol
        return {name: np.ascontiguousarray(column) for name, column in columns.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Equity:
    """The account at every close, shape (n,): open time of the bar (UTC ms), equity, and equity at the bar's worst.

    ``capital`` stands one bar before the first; ``peak`` is the highest equity so far, the capital included.
    """

    time: TimeArray
    equity: FloatArray
    adverse: FloatArray
    capital: float
    is_ruined: bool = False
    peak: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        peak = np.maximum.accumulate(self.equity) if len(self.equity) else self.equity
        object.__setattr__(self, "peak", np.maximum(peak, self.capital))

    def __len__(self) -> int:
        return len(self.time)

    @property
    def final(self) -> float:
        return float(self.equity[-1]) if len(self.equity) else self.capital

    @property
    def drawdown(self) -> FloatArray:
        """How far below its peak the equity stands, a fraction, shape (n,)."""
        return 1.0 - self.equity / self.peak

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns of equity.csv."""
        return {"time": self.time, "equity": self.equity, "drawdown": self.drawdown}
