"""The metrics of a run (docs/metrics.md): null with a reason where undefined, never NaN and never infinity."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backtests.engine.drawdown import drawdown_metrics
from backtests.engine.ledger import Equity, Trades
from backtests.engine.student import two_sided_p
from markets.candles import FloatArray

DAYS_A_YEAR = 365
YEAR_SECONDS = DAYS_A_YEAR * 86_400
Z_95 = 1.959963984540054
RESAMPLES = 2_000
_DRAWN_TOGETHER = 100

# A result nearer to zero than this is a break-even (R for counting, quote currency for sums).
TOLERANCE = 1e-9
# Under this many days ratios over time are noise.
LOW_SAMPLE_DAYS = 30
# A resample of more trades than this draws this many and scales its deviation by the root of the ratio.
_RESAMPLE_SIZE = 1_000
_DAY = 86_400_000


@dataclass(slots=True)
class Metrics:
    """Collects fields; what is undefined becomes None, with its reason in ``undefined``."""

    values: dict[str, Any] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)

    def tell(self, name: str, value: float | None, reason: str = "") -> None:
        if value is not None and not math.isfinite(value):
            value, reason = None, reason or "not_finite"
        self.values[name] = value if value is None or isinstance(value, int) else float(value)
        if value is None:
            self.undefined[name] = reason

    def tell_all(self, names: tuple[str, ...], reason: str) -> None:
        for name in names:
            self.tell(name, None, reason)


def trade_metrics(trades: Trades, *, seed: int | None) -> Metrics:
    """Measure the trades that a rule closed; those cut off by the end of the data count in the costs alone.

    Without a ``seed`` the interval that takes resampling is left out.
    """
    metrics, closed = Metrics(), trades.take(trades.is_closed)
    r, net = closed.r, closed.net
    _counts(metrics, net, r)
    _money(metrics, net)
    _in_r(metrics, r, seed=seed)
    _excursions(metrics, closed)
    _holding(metrics, closed)
    _streaks(metrics, closed)
    metrics.values |= {
        "fees": float(trades.rows["fees"].sum()),
        "slippage_cost": float(trades.rows["slippage"].sum()),
        "funding": 0.0,
        "open_at_end": len(trades) - len(closed),
        "ambiguous_exits": int(closed.rows["is_ambiguous"].sum()),
    }
    metrics.tell("ambiguous_share", closed.rows["is_ambiguous"].mean() if len(closed) else None, "no_trades")
    resolution = closed.resolution
    decided = np.bincount(resolution.codes, minlength=len(resolution.names))
    metrics.values["resolution"] = {
        name: int(count) for name, count in zip(resolution.names, decided, strict=True) if count
    }
    return metrics


def _counts(metrics: Metrics, net: FloatArray, r: FloatArray) -> None:
    n = len(net)
    wins, losses = int((r > TOLERANCE).sum()), int((r < -TOLERANCE).sum())
    metrics.values |= {"trades": n, "wins": wins, "losses": losses, "breakevens": n - wins - losses}
    metrics.tell("win_rate", wins / n if n else None, "no_trades")
    low, high = wilson(wins, n)
    metrics.tell("win_rate_ci_low", low, "no_trades")
    metrics.tell("win_rate_ci_high", high, "no_trades")


def wilson(wins: int, n: int) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a share by Wilson's score; None without observations."""
    if n == 0:
        return None, None
    share, z2 = wins / n, Z_95 * Z_95
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _money(metrics: Metrics, net: FloatArray) -> None:
    gains, losses = net[net > 0], -net[net < 0]
    gross_profit, gross_loss = float(gains.sum()), float(losses.sum())
    metrics.values |= {"gross_profit": gross_profit, "gross_loss": gross_loss}
    without = "no_losses" if len(net) else "no_trades"
    metrics.tell("profit_factor", gross_profit / gross_loss if gross_loss > 0 else None, without)
    average_win = float(gains.mean()) if len(gains) else 0.0
    metrics.tell("payoff_ratio", average_win / float(losses.mean()) if len(losses) else None, without)
    metrics.tell("expectancy", net.mean() if len(net) else None, "no_trades")


def _in_r(metrics: Metrics, r: FloatArray, *, seed: int | None) -> None:
    n = len(r)
    metrics.values["total_r"] = float(r.sum())
    metrics.tell("expectancy_r", r.mean() if n else None, "no_trades")
    metrics.tell("median_r", np.median(r) if n else None, "no_trades")
    deviation = _deviation(r)
    metrics.tell("std_r", r.std(ddof=1) if n > 1 else None, "fewer_than_2_trades")
    ratio = float(r.mean()) / deviation if deviation else None
    metrics.tell("sqn", None if ratio is None else math.sqrt(min(n, 100)) * ratio, "zero_variance")
    metrics.tell("sqn_raw", None if ratio is None else math.sqrt(n) * ratio, "zero_variance")
    metrics.values["p_value"] = p_value(r)
    if seed is None:
        return
    metrics.values["expectancy_r_ci"] = bootstrap_mean(r, seed=seed) if n >= 10 else None
    if n < 10:
        metrics.undefined["expectancy_r_ci"] = "fewer_than_10_trades"


def _deviation(values: FloatArray) -> float | None:
    """Return the sample standard deviation, None when it is zero or cannot be told."""
    if len(values) < 2 or np.ptp(values) == 0.0:
        return None
    return float(values.std(ddof=1))


def p_value(r: FloatArray) -> float:
    """Return the two-sided p of a one-sample t test of ``r`` against 0; 1 when there is no variance to test."""
    deviation = _deviation(r)
    if deviation is None:
        return 1.0
    t = float(r.mean()) / (deviation / math.sqrt(len(r)))
    return float(two_sided_p(t, len(r) - 1))


def bootstrap_mean(values: FloatArray, *, seed: int) -> list[float]:
    """Return the 95 % percentile interval of the mean over seeded resamples, as a pair."""
    n = len(values)
    size = min(n, _RESAMPLE_SIZE)
    rng = np.random.default_rng(seed)
    resampled = np.empty(RESAMPLES)
    # Some at a time, because those stay in the processor's cache.
    for part in np.split(resampled, RESAMPLES // _DRAWN_TOGETHER):
        part[:] = values.take(rng.integers(0, n, (len(part), size), dtype=np.int32)).mean(axis=1)
    mean = float(values.mean())
    means = mean + (resampled - mean) * math.sqrt(size / n)
    return [float(bound) for bound in np.quantile(means, (0.025, 0.975))]


def _excursions(metrics: Metrics, closed: Trades) -> None:
    mae, mfe, r = closed.rows["mae"], closed.rows["mfe"], closed.r
    for name, values in (("mae_r", mae), ("mfe_r", mfe)):
        quantiles = np.quantile(values, (0.5, 0.9)) if len(values) else (None, None)
        metrics.tell(f"{name}_mean", values.mean() if len(values) else None, "no_trades")
        metrics.tell(f"{name}_p50", quantiles[0], "no_trades")
        metrics.tell(f"{name}_p90", quantiles[1], "no_trades")
    has_adverse = len(mae) > 0 and mae.mean() > 0
    metrics.tell("edge_ratio", mfe.mean() / mae.mean() if has_adverse else None, "no_adverse_excursion")
    gained = mfe > 0
    metrics.tell("exit_efficiency", (r[gained] / mfe[gained]).mean() if gained.any() else None, "no_excursion")


def _holding(metrics: Metrics, closed: Trades) -> None:
    seconds = (closed.rows["exit_time"] - closed.rows["entry_time"]) / 1000.0
    r = closed.r
    for suffix, chosen in (("", seconds), ("_wins", seconds[r > TOLERANCE]), ("_losses", seconds[r < -TOLERANCE])):
        known = len(chosen) > 0
        metrics.tell(f"avg_hold{suffix}_s", chosen.mean() if known else None, "no_trades")
        metrics.tell(f"median_hold{suffix}_s", np.median(chosen) if known else None, "no_trades")
        metrics.tell(f"max_hold{suffix}_s", chosen.max() if known else None, "no_trades")


def _streaks(metrics: Metrics, closed: Trades) -> None:
    r = closed.r[np.argsort(closed.rows["exit_time"], kind="stable")]
    metrics.values["max_consecutive_wins"] = longest_run(r > TOLERANCE)
    metrics.values["max_consecutive_losses"] = longest_run(r < -TOLERANCE)


def longest_run(flags: Any) -> int:
    """Return the length of the longest run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0


def equity_metrics(equity: Equity, *, bar_ms: int) -> Metrics:
    """Measure the account's curve, marked at every close."""
    metrics, capital = Metrics(), equity.capital
    final = equity.final
    metrics.values |= {
        "initial_capital": capital,
        "final_equity": final,
        "net_profit": final - capital,
        "return_pct": 100.0 * (final / capital - 1.0),
        "ruined": equity.is_ruined,
        "bars": len(equity),
        "annualisation_days": DAYS_A_YEAR,
    }
    span_ms = int(equity.time[-1]) + bar_ms - int(equity.time[0]) if len(equity) else 0
    metrics.values["low_sample"] = span_ms < LOW_SAMPLE_DAYS * _DAY
    _growth(metrics, equity, span_ms)
    drawdown_metrics(metrics.values, metrics.undefined, equity, bar_ms=bar_ms)
    _over_days(metrics, equity)
    _ratios(metrics)
    return metrics


def _growth(metrics: Metrics, equity: Equity, span_ms: int) -> None:
    if equity.is_ruined or equity.final <= 0:
        metrics.tell("cagr_pct", -100.0)
    elif span_ms < _DAY:
        metrics.tell("cagr_pct", None, "less_than_a_day")
    else:
        # Logarithms, because a good day annualised leaves the range of a double.
        growth = math.log(equity.final / equity.capital) * YEAR_SECONDS * 1000 / span_ms
        metrics.tell("cagr_pct", 100.0 * math.expm1(growth) if growth < 700 else None, "too_large")


def daily_returns(equity: Equity) -> FloatArray:
    """Return simple returns by UTC date, the first against the capital; a date without bars returns 0."""
    if not len(equity):
        return np.empty(0)
    first, last = int(equity.time[0]) // _DAY, int(equity.time[-1]) // _DAY
    bars = np.searchsorted(equity.time, np.arange(first, last + 2) * _DAY)
    is_there = np.diff(bars) > 0
    closes = equity.equity[bars[1:][is_there] - 1]
    before = np.concatenate([[equity.capital], closes[:-1]])
    returns = np.zeros(last - first + 1)
    # After ruin there is nothing left to return.
    returns[is_there] = np.where(before > 0, closes / np.where(before > 0, before, 1.0) - 1.0, 0.0)
    return returns


def _over_days(metrics: Metrics, equity: Equity) -> None:
    daily = daily_returns(equity)
    year = math.sqrt(DAYS_A_YEAR)
    metrics.values["days"] = len(daily)
    spread = float(daily.std(ddof=1)) if len(daily) > 1 else None
    metrics.tell("volatility_ann_pct", None if spread is None else spread * year * 100.0, "fewer_than_2_days")
    deviation = _deviation(daily)
    reason = "fewer_than_2_days" if spread is None else "zero_variance"
    metrics.tell("sharpe", None if deviation is None else float(daily.mean()) / deviation * year, reason)
    downside = math.sqrt(float((np.minimum(daily, 0.0) ** 2).mean())) if len(daily) else 0.0
    metrics.tell("sortino", float(daily.mean()) / downside * year if downside > 0 else None, "no_downside")


def _ratios(metrics: Metrics) -> None:
    values = metrics.values
    drawdown, growth = values["max_drawdown_pct"], values["cagr_pct"]
    reason = "no_drawdown" if drawdown == 0 else "no_cagr"
    metrics.tell("calmar", growth / drawdown if drawdown > 0 and growth is not None else None, reason)
    largest = values["max_drawdown_abs"]
    metrics.tell("recovery_factor", values["net_profit"] / largest if largest > 0 else None, "no_drawdown")


def exposure(trades: Trades, bars: int) -> float:
    """Return the share of the account's bars with a position; a trade covers its entry bar up to before its exit."""
    if bars == 0:
        return 0.0
    change = np.zeros(bars + 1, np.int64)
    np.add.at(change, trades.rows["entry_step"], 1)
    np.add.at(change, trades.rows["exit_step"], -1)
    return float((np.cumsum(change[:-1]) > 0).mean())
