"""Metrics against calculations written anew from the formulas, with pandas; and what is undefined."""

import json
import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy  # its parts are imported when they are first used: other processes collect this file and run none of it

from backtests.engine.glossary import REASONS, TERMS, metric_text
from backtests.engine.ledger import Equity, Trades
from backtests.engine.metrics import bootstrap_mean, equity_metrics, exposure, trade_metrics, wilson
from backtests.engine.run import Result, run
from backtests.engine.spec import BacktestSpec
from smcsite.env import BASE_DIR
from tests.backtests.engine.tables import HOUR, START, frame, trade_table
from tests.factories import walk

M15 = 900_000


@pytest.fixture(scope="module")
def result() -> Result:
    spec = BacktestSpec.of({"symbol": "BTCUSDT", "timeframe": "1m", "strategy": "sweep_reversal", "max_leverage": 3})
    return run(walk(3, 60_000), spec)


def daily(equity: Equity) -> "pd.Series[float]":
    series = pd.Series(equity.equity, index=pd.to_datetime(equity.time, unit="ms"))
    closes = series.resample("D").last().ffill()
    return closes.pct_change().fillna(closes.iloc[0] / equity.capital - 1.0)


def by_pandas(result: Result) -> dict[str, Any]:
    """Return the metrics by their formulas, from the tables alone."""
    table = frame(result.trades)
    closed = table[table.exit_reason != "end_of_data"]
    p, r = closed.net_pnl, closed.r_multiple
    wins, losses = p[p > 0], -p[p < 0]
    equity = pd.Series(result.equity.equity)
    curve = pd.concat([pd.Series([result.equity.capital]), equity], ignore_index=True)
    peak = curve.cummax()
    days = daily(result.equity)
    years = (result.equity.time[-1] + 60_000 - result.equity.time[0]) / 1000 / (365 * 86_400)
    growth = 100 * ((equity.iloc[-1] / result.equity.capital) ** (1 / years) - 1)
    deepest = 100 * (1 - curve / peak).max()
    hold = (closed.exit_time - closed.entry_time) / 1000
    low, high = scipy.stats.binomtest(len(wins), len(closed)).proportion_ci(method="wilson")
    return {
        "trades": len(closed),
        "wins": len(wins),
        "losses": len(losses),
        "win_rate": len(wins) / len(closed),
        "win_rate_ci_low": low,
        "win_rate_ci_high": high,
        "gross_profit": wins.sum(),
        "gross_loss": losses.sum(),
        "profit_factor": wins.sum() / losses.sum(),
        "payoff_ratio": wins.mean() / losses.mean(),
        "expectancy": p.mean(),
        "expectancy_r": r.mean(),
        "total_r": r.sum(),
        "median_r": r.median(),
        "std_r": r.std(),
        "sqn": math.sqrt(min(len(r), 100)) * r.mean() / r.std(),
        "sqn_raw": math.sqrt(len(r)) * r.mean() / r.std(),
        "p_value": scipy.stats.ttest_1samp(r, 0).pvalue,
        "net_profit": equity.iloc[-1] - result.equity.capital,
        "return_pct": 100 * (equity.iloc[-1] / result.equity.capital - 1),
        "cagr_pct": growth,
        "max_drawdown_abs": (peak - curve).max(),
        "max_drawdown_pct": deepest,
        "time_underwater": (curve < peak)[1:].mean(),
        "volatility_ann_pct": days.std() * math.sqrt(365) * 100,
        "sharpe": days.mean() / days.std() * math.sqrt(365),
        "sortino": days.mean() / math.sqrt((days.clip(upper=0) ** 2).mean()) * math.sqrt(365),
        "calmar": growth / deepest,
        "recovery_factor": (equity.iloc[-1] - result.equity.capital) / (peak - curve).max(),
        "mae_r_mean": closed.mae_r.mean(),
        "mae_r_p90": closed.mae_r.quantile(0.9),
        "mfe_r_p50": closed.mfe_r.quantile(0.5),
        "edge_ratio": closed.mfe_r.mean() / closed.mae_r.mean(),
        "exit_efficiency": (r / closed.mfe_r)[closed.mfe_r > 0].mean(),
        "avg_hold_s": hold.mean(),
        "median_hold_s": hold.median(),
        "max_hold_s": hold.max(),
        "avg_hold_wins_s": hold[p > 0].mean(),
        "max_consecutive_losses": longest(closed, won=False),
        "max_consecutive_wins": longest(closed, won=True),
        "fees": table.fees.sum(),
        "slippage_cost": table.slippage.sum(),
        "ambiguous_exits": closed.ambiguous.sum(),
        "ambiguous_share": closed.ambiguous.mean(),
    }


def longest(closed: pd.DataFrame, *, won: bool) -> int:
    hit = (closed.sort_values("exit_time", kind="stable").net_pnl > 0) == won
    runs = hit.groupby((hit != hit.shift()).cumsum()).sum()
    return int(runs.max())


def test_metrics_agree_with_their_formulas(result: Result) -> None:
    for name, expected in by_pandas(result).items():
        assert result.metrics[name] == pytest.approx(expected, rel=1e-9, abs=1e-12), name


def test_metrics_agree_with_the_formulas_on_a_falling_account_too() -> None:
    spec = BacktestSpec.of({"symbol": "BTCUSDT", "timeframe": "1m", "stop_atr": 1.5, "risk_pct": 3})
    fallen = run(walk(4, 40_000), spec)
    for name, expected in by_pandas(fallen).items():
        assert fallen.metrics[name] == pytest.approx(expected, rel=1e-9, abs=1e-12), name


def test_drawdown_times_are_those_of_the_curve(result: Result) -> None:
    curve = np.concatenate([[result.equity.capital], result.equity.equity])
    times = np.concatenate([[result.equity.time[0] - 60_000], result.equity.time])
    trough = int((1 - curve / np.maximum.accumulate(curve)).argmax())
    peak = max(k for k in range(trough) if curve[k] == curve[: trough + 1].max())
    told = {name: pd.Timestamp(result.metrics[f"max_dd_{name}_at"]).value // 10**6 for name in ("peak", "trough")}
    assert told == {"peak": times[peak], "trough": times[trough]}

    longest_s, under = 0.0, None
    for k in range(1, len(curve)):
        is_below = curve[k] < curve[: k + 1].max()
        if is_below and under is None:
            under = k - 1
        if under is not None and (not is_below or k == len(curve) - 1):
            longest_s = max(longest_s, (times[k] - times[under]) / 1000)
            under = None if not is_below else under
    assert result.metrics["max_dd_duration_s"] == longest_s


def test_excursions_are_those_of_the_bars(result: Result) -> None:
    candles = walk(3, 60_000)
    for trade in result.trades.rows[:200]:
        side, inside = trade["side"], slice(int(trade["entry_idx"]), int(trade["exit_idx"]))
        worst = [side * (trade["entry"] - trade["exit"]), 0.0]
        best = [side * (trade["exit"] - trade["entry"]), 0.0]
        if trade["exit_idx"] > trade["entry_idx"]:
            against, with_us = (candles.low, candles.high) if side > 0 else (candles.high, candles.low)
            worst.append((side * (trade["entry"] - against[inside])).max())
            best.append((side * (with_us[inside] - trade["entry"])).max())
        unit = abs(trade["entry"] - trade["stop"])
        assert trade["mae"] == pytest.approx(max(worst) / unit, rel=1e-9)
        assert trade["mfe"] == pytest.approx(max(best) / unit, rel=1e-9)


def test_exposure_counts_bars_from_entry_to_before_the_exit(result: Result) -> None:
    held: set[int] = set()
    for trade in result.trades.rows:
        held.update(range(int(trade["entry_idx"]), int(trade["exit_idx"])))
    assert result.metrics["exposure"] == pytest.approx(len(held) / 60_000)


def test_buy_and_hold_pays_a_fee_each_side(result: Result) -> None:
    candles = walk(3, 60_000)
    expected = candles.close[-1] * 0.999 / (candles.open[0] * 1.001) - 1
    assert result.metrics["buy_hold_return_pct"] == pytest.approx(100 * expected)


def test_the_bootstrap_interval_is_the_textbook_one(result: Result) -> None:
    r = result.trades.take(result.trades.is_closed).r
    textbook = scipy.stats.bootstrap(
        (r,), np.mean, n_resamples=9_999, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    ours = bootstrap_mean(r, seed=2)
    assert ours == pytest.approx([textbook.low, textbook.high], abs=0.12 * (textbook.high - textbook.low))
    assert bootstrap_mean(r, seed=2) == ours


def test_wilson_is_scipys() -> None:
    for wins, n in ((0, 1), (1, 1), (3, 10), (500, 1000)):
        expected = scipy.stats.binomtest(wins, n).proportion_ci(method="wilson")
        assert wilson(wins, n) == pytest.approx(tuple(expected), abs=1e-12)


def test_the_optimistic_return_takes_the_target_where_nobody_knows() -> None:
    walked = trade_table([(100, 101, 99, 100), (100, 101, 99, 100), (100, 105, 97, 100)], {})
    # The stop costs 100, the target would have brought 200, all else unchanged.
    assert walked.trades.rows["net"].tolist() == [-100.0]
    assert walked.trades.rows["forgone"].tolist() == [300.0]


def test_breakdowns_hold_every_closed_trade_once(result: Result) -> None:
    closed = frame(result.trades)
    closed = closed[closed.exit_reason != "end_of_data"]
    for name, groups in result.metrics["breakdowns"].items():
        assert sum(group["n"] for group in groups) == len(closed), name
    by_direction = {group["group"]: group for group in result.metrics["breakdowns"]["direction"]}
    for direction, group in closed.groupby("direction"):
        told = by_direction[str(direction)]
        p, r = group.net_pnl, group.r_multiple
        assert told["win_rate"] == pytest.approx((p > 0).mean())
        assert told["expectancy_r"] == pytest.approx(r.mean())
        assert told["pf"] == pytest.approx(p[p > 0].sum() / -p[p < 0].sum())
        assert told["p_value"] == pytest.approx(scipy.stats.ttest_1samp(r, 0).pvalue)
    weekdays = pd.to_datetime(closed.entry_time, unit="ms").dt.day_name().value_counts()
    assert {group["group"]: group["n"] for group in result.metrics["breakdowns"]["weekday"]} == weekdays.to_dict()
    months = pd.to_datetime(closed.entry_time, unit="ms").dt.strftime("%Y-%m").value_counts()
    assert {group["group"]: group["n"] for group in result.metrics["breakdowns"]["month"]} == months.to_dict()


def no_trades() -> Trades:
    return trade_table([(100, 101, 99, 100)], {}).trades


def test_without_trades_everything_undefined_has_a_reason() -> None:
    metrics = trade_metrics(no_trades(), seed=1)
    assert metrics.values["trades"] == 0
    assert metrics.values["win_rate"] is None
    assert metrics.values["p_value"] == 1.0
    assert metrics.values["gross_loss"] == metrics.values["total_r"] == 0.0
    assert {name for name, value in metrics.values.items() if value is None} == set(metrics.undefined)
    assert metrics.undefined["profit_factor"] == "no_trades"


def test_without_losses_the_profit_factor_is_undefined() -> None:
    bars = [(100.0, 101.0, 99.0, 100.0), (100.0, 105.0, 99.0, 104.0)]
    metrics = trade_metrics(trade_table(bars, {}).trades, seed=1)
    assert metrics.values["profit_factor"] is None
    assert metrics.undefined["profit_factor"] == "no_losses"
    assert metrics.undefined["payoff_ratio"] == "no_losses"
    assert metrics.undefined["sqn"] == "zero_variance"
    assert metrics.values["win_rate"] == 1.0


def test_without_wins_the_payoff_is_nothing() -> None:
    bars = [(100.0, 101.0, 99.0, 100.0), (100.0, 101.0, 97.0, 98.0)]
    metrics = trade_metrics(trade_table(bars, {}).trades, seed=1)
    assert metrics.values["payoff_ratio"] == metrics.values["profit_factor"] == 0.0


def test_trades_cut_off_by_the_end_count_in_costs_alone() -> None:
    bars = [(100.0, 101.0, 99.0, 100.0), (100.0, 101.0, 99.0, 100.5)]
    metrics = trade_metrics(trade_table(bars, {}, taker_fee_bps=10).trades, seed=1)
    assert (metrics.values["trades"], metrics.values["open_at_end"]) == (0, 1)
    assert metrics.values["fees"] > 0


def equity_of(values: list[float], *, step: int = HOUR, start: int = START, is_ruined: bool = False) -> Equity:
    curve = np.array(values)
    times = start + np.arange(len(curve), dtype=np.int64) * step
    return Equity(times, curve, curve, 100.0, is_ruined)


def test_a_flat_account_has_no_ratios() -> None:
    metrics = equity_metrics(equity_of([100.0] * 100), bar_ms=HOUR)
    assert metrics.values["max_drawdown_pct"] == metrics.values["max_dd_duration_s"] == 0.0
    assert metrics.undefined["sharpe"] == "zero_variance"
    assert metrics.undefined["sortino"] == "no_downside"
    assert metrics.undefined["calmar"] == metrics.undefined["recovery_factor"] == "no_drawdown"
    assert metrics.values["cagr_pct"] == 0.0
    assert metrics.values["low_sample"] is True


def test_less_than_a_day_has_no_growth_a_year() -> None:
    metrics = equity_metrics(equity_of([101.0] * 23), bar_ms=HOUR)
    assert metrics.undefined["cagr_pct"] == "less_than_a_day"
    assert metrics.undefined["sharpe"] == metrics.undefined["volatility_ann_pct"] == "fewer_than_2_days"


def test_ruin_is_minus_a_hundred_a_year() -> None:
    metrics = equity_metrics(equity_of([50.0, -5.0, *[-5.0] * 98], is_ruined=True), bar_ms=HOUR)
    assert metrics.values["cagr_pct"] == -100.0
    assert metrics.values["max_drawdown_pct"] == metrics.values["max_drawdown_intrabar_pct"] == 100.0


def test_days_without_candles_return_nothing() -> None:
    day = 24 * HOUR
    times = START + np.array([0, 4 * day, 5 * day], np.int64)
    curve = np.array([110.0, 121.0, 121.0])
    metrics = equity_metrics(Equity(times, curve, curve, 100.0), bar_ms=day)
    expected = pd.Series([0.1, 0.0, 0.0, 0.0, 0.1, 0.0])
    assert metrics.values["days"] == 6
    assert metrics.values["sharpe"] == pytest.approx(expected.mean() / expected.std() * math.sqrt(365))


def test_growth_beyond_any_number_is_undefined_and_not_infinite() -> None:
    metrics = equity_metrics(equity_of([1e9] * 25), bar_ms=HOUR)
    assert metrics.values["cagr_pct"] is None
    assert metrics.undefined["cagr_pct"] == "too_large"


def documented() -> dict[str, set[str]]:
    """Return the reasons that docs/metrics.md gives for each metric it names."""
    text = (BASE_DIR / "docs/metrics.md").read_text()
    table = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| `")]
    return {name: set(re.findall("`(.+?)`", row[-1])) for row in table for name in re.findall("`([a-z].*?)`", row[0])}


def test_the_documents_name_the_reasons_there_are() -> None:
    flat = (100.0, 101.0, 99.0, 100.0)
    trades = [no_trades(), *(trade_table([flat, bar], {}).trades for bar in ((100.0, 105.0, 99.0, 104.0), flat))]
    curves = [[100.0] * 100, [101.0] * 23, [99.0] * 23, [1e9] * 25, [90.0, 100.0] * 50, []]
    told = [trade_metrics(each, seed=1) for each in trades]
    told += [equity_metrics(equity_of(curve), bar_ms=HOUR) for curve in curves]
    reasons: dict[str, set[str]] = {name: set() for metrics in told for name in metrics.values}
    reasons["exposure"] = set() if exposure(no_trades(), 0) == 0.0 else {"no_bars"}
    for metrics in told:
        for name, reason in metrics.undefined.items():
            reasons[name].add(reason)
    for name, documents in documented().items():
        assert reasons.get(name, documents) == documents, name


def test_the_documents_name_every_key_of_a_run(result: Result) -> None:
    assert set(result.metrics) - set(documented()) == set()


def test_metrics_are_strict_json(result: Result) -> None:
    text = json.dumps(result.metrics, allow_nan=False)
    assert set(json.loads(text)["undefined"]) == {name for name, value in result.metrics.items() if value is None}


def test_every_number_has_a_term_and_every_reason_words(result: Result) -> None:
    known = {*TERMS, "rejected", "resolution", "breakdowns", "undefined", "provenance", "bars", "days", "ruined"}
    known |= {"low_sample", "without_costs", "annualisation_days"}
    known |= {f"{kind}_hold_{whose}_s" for kind in ("avg", "median", "max") for whose in ("wins", "losses")}
    assert set(result.metrics) <= known
    assert set(TERMS) <= set(result.metrics)
    assert all(metric_text(result.metrics, name) for name in TERMS)
    assert set(result.metrics["undefined"].values()) <= set(REASONS)
