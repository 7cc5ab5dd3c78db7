"""Candles written by hand, one row a bar, and orders put on them without a detector."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from backtests.engine.account import Walked, trade_orders
from backtests.engine.labels import Labels
from backtests.engine.ledger import Trades
from backtests.engine.market import Filters, Market, detect
from backtests.engine.orders import Orders
from backtests.engine.spec import BacktestSpec
from markets.candles import Candle, Candles
from markets.series import Timeframe
from signals.engine import Params

START = 1_704_067_200_000  # 2024-01-01T00:00:00Z, a Monday
HOUR = 3_600_000

Bar = tuple[float, float, float, float]

# No costs, a hundred at risk, room for any quantity: prices of the tables are prices of the trades.
PLAIN: dict[str, Any] = {
    "taker_fee_bps": 0,
    "maker_fee_bps": 0,
    "slippage_bps": 0,
    "max_leverage": 100,
    "step_size": 0,
    "tick_size": 0,
    "min_notional": 0,
}


def candles_of(bars: Sequence[Bar | None], *, timeframe: Timeframe = Timeframe.H1, start: int = START) -> Candles:
    """Return candles with the given prices (open, high, low, close); None leaves a hole."""
    rows = [Candle(start + k * timeframe.milliseconds, *bar, 1.0) for k, bar in enumerate(bars) if bar is not None]
    return Candles.of(rows)


def mirrored(candles: Candles, around: float) -> Candles:
    """Return the market seen upside down, so that a long there is a short here."""
    flipped = [around - getattr(candles, name) for name in ("open", "low", "high", "close")]
    open_, high, low, close = flipped
    return Candles(candles.open_time, open_, high, low, close, candles.volume)


def spec_of(**values: Any) -> BacktestSpec:
    return BacktestSpec.of({"symbol": "BTCUSDT", "timeframe": "1h", **PLAIN, **values})


def market_of(
    candles: Candles, *, symbol: str = "BTCUSDT", filters: Filters | None = None, detail: Candles | None = None,
    detail_timeframe: Timeframe | None = None,
) -> Market:  # fmt: skip
    return Market(
        symbol=symbol,
        timeframe=Timeframe.H1,
        candles=candles,
        table=detect(candles, Params()),
        atr_period=14,
        filters=filters or Filters(),
        detail=detail,
        detail_timeframe=detail_timeframe,
    )


def orders_at(*orders: dict[str, Any]) -> Orders:
    """Return orders by hand: ``bar`` is the confirm bar; what is not said is a long at the market with stop 98."""
    plain = {
        "bar": 0, "side": 1, "signal": -1, "score": 0.0, "limit": np.nan, "stop": 98.0, "distance": np.nan,
        "last_bar": 10**6, "atr": 1.0,
    }  # fmt: skip
    rows = [{**plain, **order} for order in orders]
    whole = ("bar", "side", "signal", "last_bar")
    columns: dict[str, Any] = {
        name: np.array([row[name] for row in rows], np.int64 if name in whole else np.float64) for name in plain
    }
    return Orders(**columns)


def trade_table(
    bars: Sequence[Bar | None], *orders: dict[str, Any], children: dict[int, Sequence[Bar]] | None = None,
    filters: Filters | None = None, **values: Any,
) -> Walked:  # fmt: skip
    """Walk a table of candles. ``children`` are the 5m candles of single bars."""
    detail = None
    if children is not None:
        values["detail_timeframe"] = "5m"
        parts = [
            Candle(START + bar * HOUR + k * 300_000, *child, 1.0)
            for bar, rows in sorted(children.items())
            for k, child in enumerate(rows)
        ]
        detail = Candles.of(parts)
    market = market_of(candles_of(bars), filters=filters, detail=detail)
    return trade_orders([market], [orders_at(*orders)], spec_of(**values))


def frame(trades: Trades) -> pd.DataFrame:
    columns = trades.columns()
    return pd.DataFrame({name: each.texts if isinstance(each, Labels) else each for name, each in columns.items()})
