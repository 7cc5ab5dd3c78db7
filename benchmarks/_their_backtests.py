"""Times another library on given entries in a process of its own, statistics included (called by ``backtest.py``)."""

import json
import sys
import time
from typing import Any

import numpy as np
import pandas as pd

module, path = sys.argv[1:3]
given = np.load(path)
at, direction, stop, target = (given[name] for name in ("at", "direction", "stop", "target"))
table = pd.DataFrame(
    {name.title(): given[name] for name in ("open", "high", "low", "close", "volume")},
    index=pd.to_datetime(given["open_time"], unit="ms"),
)


def with_backtesting() -> tuple[int, float]:
    from backtesting import Backtest, Strategy  # noqa: PLC0415 - one of two, whichever is asked for

    orders = {bar: each for bar, *each in zip(at.tolist(), direction, stop, target, strict=True)}

    class Given(Strategy):  # type: ignore[misc]  # without the library its type is unknown
        def init(self) -> None:
            """Nothing to prepare: the entries are given."""

        def next(self) -> None:
            order = orders.get(len(self.data) - 1)
            if order is None:
                return
            side, sl, tp = order
            price = self.data.Close[-1]
            if side == 1 and sl < price < tp:
                self.buy(size=0.1, sl=sl, tp=tp)
            elif side == -1 and tp < price < sl:
                self.sell(size=0.1, sl=sl, tp=tp)

    began = time.perf_counter()
    found: Any = Backtest(table, Given, cash=1e9, commission=0.001).run()
    return int(found["# Trades"]), time.perf_counter() - began


def with_vectorbt() -> tuple[int, float]:
    import vectorbt as vbt  # noqa: PLC0415 - one of two, whichever is asked for

    bars = at + 1
    kept = bars < len(table)
    bars, side = bars[kept], direction[kept]
    entries, shorts = np.zeros(len(table), bool), np.zeros(len(table), bool)
    entries[bars[side == 1]] = True
    shorts[bars[side == -1]] = True
    opens = given["open"]
    stops, targets = np.full(len(table), np.nan), np.full(len(table), np.nan)
    stops[bars] = np.abs(stop[kept] / opens[bars] - 1.0)
    targets[bars] = np.abs(target[kept] / opens[bars] - 1.0)

    def traded() -> int:
        portfolio = vbt.Portfolio.from_signals(
            table["Close"], entries=entries, short_entries=shorts, open=table["Open"], high=table["High"],
            low=table["Low"], price=table["Open"], sl_stop=stops, tp_stop=targets, fees=0.001, size=0.1,
            size_type="percent", upon_opposite_entry="ignore", freq="1min",
        )  # fmt: skip
        return int(portfolio.stats()["Total Trades"])

    traded()  # its machine code is made by the first call
    began = time.perf_counter()
    count = traded()
    return count, time.perf_counter() - began


def vectorbt_measures() -> dict[str, float]:
    """Return its measures of our own returns: a year of 365 days, as ours."""
    import vectorbt  # noqa: F401, PLC0415 - gives pandas its accessor

    daily, every_bar = (pd.Series(given[name]) for name in ("daily", "returns"))
    days = daily.vbt.returns(freq="1D", year_freq="365 days")
    drawdown = every_bar.vbt.returns(freq="1min").max_drawdown()
    return {
        "sharpe": float(days.sharpe_ratio()),
        "sortino": float(days.sortino_ratio()),
        "max_drawdown_pct": -100.0 * float(drawdown),
    }


if module == "measures":
    print(json.dumps(vectorbt_measures()))
    raise SystemExit
trades, seconds = {"backtesting": with_backtesting, "vectorbt": with_vectorbt}[module]()
print(json.dumps({"trades": trades, "seconds": seconds}))
