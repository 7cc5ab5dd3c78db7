"""A backtest as one pure function: candles and a specification in, a result out, always the same for the same."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backtests.engine.account import Walked, trade_orders, window_of
from backtests.engine.breakdowns import breakdowns
from backtests.engine.ledger import Equity, Trades
from backtests.engine.market import Filters, Market, detect
from backtests.engine.metrics import Metrics, equity_metrics, exposure, trade_metrics
from backtests.engine.null import trade_at_random
from backtests.engine.spec import ENGINE_VERSION, BacktestSpec
from backtests.engine.strategies import Random
from markets.candles import Candles, Gap, find_gaps
from markets.errors import NoCandlesError
from signals.engine import DETECTOR_VERSION, SignalTable

# Seeds the bootstrap; part of the provenance.
BOOTSTRAP_SEED = 20_240_131

Report = Callable[[float, str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a run brought. ``holes`` are the missing candles of the window, by symbol."""

    spec: BacktestSpec
    trades: Trades
    equity: Equity
    metrics: dict[str, Any]
    holes: dict[str, list[Gap]]


def run(
    candles: Candles | Mapping[str, Candles],
    spec: BacktestSpec,
    *,
    detail: Candles | Mapping[str, Candles] | None = None,
    signals: SignalTable | Mapping[str, SignalTable] | None = None,
) -> Result:
    """Run ``spec`` over ``candles``.

    Parameters
    ----------
    candles
        The stored candles from the first on, or one such value a symbol; those before ``spec.start`` warm the
        detector up.
    spec
        What to run. Sizes left empty in it are taken as 0, no rounding.
    detail
        Candles of ``spec.detail_timeframe``, likewise.
    signals
        What the detector found in ``candles``, where that is known already.

    Raises
    ------
    NoCandlesError
        The window of a symbol holds no candle.
    """
    markets = [
        open_market(
            spec,
            symbol,
            _of(candles, symbol),
            detail=None if detail is None else _of(detail, symbol),
            signals=None if signals is None else _of(signals, symbol),
        )
        for symbol in spec.symbols
    ]
    return run_markets(markets, spec)


def _of(values: Any, symbol: str) -> Any:
    if not isinstance(values, Mapping):
        return values
    if symbol not in values:
        raise NoCandlesError(f"no candles of {symbol}", field="symbol")
    return values[symbol]


def open_market(
    spec: BacktestSpec,
    symbol: str,
    candles: Candles,
    *,
    detail: Candles | None = None,
    signals: SignalTable | None = None,
    filters: Filters | None = None,
) -> Market:
    """Make one pair ready: find its signals up to the window's end, and settle its order sizes.

    What the specification says about sizes counts; where it says nothing, ``filters`` do.
    """
    known = filters or Filters()
    sizes = {name: getattr(spec, name) for name in ("tick_size", "step_size", "min_notional")}
    settled = Filters(**{name: getattr(known, name) if size is None else size for name, size in sizes.items()})
    within = candles.between(None, spec.end)
    return Market(
        symbol=symbol,
        timeframe=spec.timeframe,
        candles=within,
        table=detect(within, spec.detector) if signals is None else signals,
        atr_period=spec.detector.atr_period,
        filters=settled,
        detail=detail,
        detail_timeframe=spec.detail,
    )


def open_markets(
    spec: BacktestSpec,
    candles: Mapping[str, Candles],
    *,
    detail: Mapping[str, Candles],
    filters: Mapping[str, Filters],
) -> list[Market]:
    """Make the pairs of a specification ready, each with what there is of it; ``candles`` hold them all."""
    return [
        open_market(spec, symbol, candles[symbol], detail=detail.get(symbol), filters=filters.get(symbol))
        for symbol in spec.symbols
    ]


def run_markets(
    markets: Sequence[Market],
    spec: BacktestSpec,
    *,
    origin: Mapping[str, Any] | None = None,
    report: Report = lambda fraction, stage: None,
) -> Result:
    """Run ``spec`` over pairs that are ready.

    ``origin`` is what the caller knows of where the candles came from, for the provenance. ``report`` is told the
    fraction done and may raise to stop.
    """
    for market in markets:
        window = window_of(market.candles, spec)
        if window.first >= window.end:
            raise NoCandlesError(f"no candles of {market.symbol} {spec.timeframe.value} in the window", field="from")
    report(0.2, "trading")
    walked = trade(markets, spec)
    report(0.6, "measuring")
    holes = {market.symbol: _holes(market, spec) for market in markets}
    metrics = _metrics(markets, walked, spec)
    metrics["provenance"] = {**_provenance(spec, walked.equity, holes), **(origin or {})}
    return Result(spec, walked.trades, walked.equity, metrics, holes)


def trade(markets: Sequence[Market], spec: BacktestSpec) -> Walked:
    """Turn signals into orders and orders into trades."""
    if isinstance(spec.strategy, Random):
        compared = trade_orders(markets, [spec.strategy.orders(market) for market in markets], spec)
        return trade_at_random(markets, compared, spec, seed=spec.strategy.seed)
    return trade_orders(markets, [spec.strategy.orders(market) for market in markets], spec)


def _holes(market: Market, spec: BacktestSpec) -> list[Gap]:
    window = window_of(market.candles, spec)
    return find_gaps(market.candles.open_time[window.first : window.end], market.timeframe)


def _metrics(markets: Sequence[Market], walked: Walked, spec: BacktestSpec) -> dict[str, Any]:
    trades, equity = walked.trades, walked.equity
    of_trades = trade_metrics(trades, seed=BOOTSTRAP_SEED)
    of_equity = equity_metrics(equity, bar_ms=spec.timeframe.milliseconds)
    both = Metrics({**of_trades.values, **of_equity.values}, {**of_trades.undefined, **of_equity.undefined})
    forgone = float(trades.rows["forgone"].sum())
    both.values |= {
        "return_pct_optimistic": 100.0 * ((equity.final + forgone) / equity.capital - 1.0),
        "return_pct_pessimistic": both.values["return_pct"],
        "exposure": exposure(trades, len(equity)),
        "rejected": walked.rejected,
        "without_costs": spec.is_free_of_costs,
        "breakdowns": breakdowns(trades, spec.timeframe.value),
    }
    both.tell("buy_hold_return_pct", _buy_and_hold(markets, spec), "no_bars")
    return {**both.values, "undefined": both.undefined}


def _buy_and_hold(markets: Sequence[Market], spec: BacktestSpec) -> float:
    """Return what holding the pairs in equal parts brought, percent, one taker fee each side."""
    fee, shares = spec.taker_fee_bps / 10_000.0, []
    for market in markets:
        window = window_of(market.candles, spec)
        first, last = market.candles.open[window.first], market.candles.close[window.end - 1]
        shares.append(last * (1.0 - fee) / (first * (1.0 + fee)) - 1.0)
    return 100.0 * float(np.mean(shares))


def _provenance(spec: BacktestSpec, equity: Equity, holes: Mapping[str, list[Gap]]) -> dict[str, Any]:
    return {
        "engine_version": ENGINE_VERSION,
        "detector_version": DETECTOR_VERSION,
        "spec": spec.as_dict(),
        "spec_digest": spec.digest,
        "detector_digest": spec.detector.digest,
        "seed": BOOTSTRAP_SEED,
        "bars": len(equity),
        "first_time": int(equity.time[0]),
        "last_time": int(equity.time[-1]),
        "holes": [[symbol, gap.start, gap.end] for symbol, gaps in holes.items() for gap in gaps],
    }
