"""The analyses: each against what it is to find, on markets where that is known."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from backtests.engine.bands import Resampling, bands
from backtests.engine.bench import Bench
from backtests.engine.methods import METHODS
from backtests.engine.methods.look_ahead import differences, ended_before, rows_of
from backtests.engine.methods.null import against
from backtests.engine.methods.sweep import MOST_SETTINGS, grid_of, smoothed
from backtests.engine.run import run
from backtests.engine.spec import BacktestSpec
from markets.candles import Candles
from markets.errors import InvalidInputError, TooLargeError
from tests.factories import walk

CANDLES = walk(21, 6_000)
START, END = int(CANDLES.open_time[0]), int(CANDLES.open_time[-1]) + 60_000


def spec_of(**values: Any) -> BacktestSpec:
    return BacktestSpec.of({"symbol": "BTCUSDT", "timeframe": "1m", **values}).within(START, END)


def bench_of(candles: Candles = CANDLES) -> Bench:
    return Bench({"BTCUSDT": candles})


def analyse(name: str, spec: BacktestSpec, options: dict[str, Any], *, bench: Bench | None = None) -> dict[str, Any]:
    method, bench = METHODS[name], bench or bench_of()
    read = method.read(spec, options)
    pieces = method.plan(spec, read)
    return method.combine(spec, read, pieces, [method.work(bench, spec, piece) for piece in pieces])


def test_a_cell_of_a_sweep_is_the_run_of_its_setting() -> None:
    axes: dict[str, list[Any]] = {"stop_atr": [1.0, 2.5], "swing_length": [3, 5, 8]}
    found = analyse("sweep", spec_of(), {"axes": axes, "metric": "net_profit"})
    for row, stop in enumerate(axes["stop_atr"]):
        for column, length in enumerate(axes["swing_length"]):
            alone = run(CANDLES, spec_of(stop_atr=stop, swing_length=length)).metrics
            cell = found["grid"][row][column]
            assert cell["net_profit"] == alone["net_profit"]
            assert cell["trades"] == alone["trades"]
            assert cell["sharpe"] == alone["sharpe"]
    values = np.array([[cell["net_profit"] for cell in row] for row in found["grid"]])
    best = found["best"]
    assert values[best["row"], best["column"]] == values.max() == best["value"]


def test_a_half_done_sweep_shows_what_is_done() -> None:
    method, spec = METHODS["sweep"], spec_of()
    read = method.read(spec, {"axes": {"stop_atr": [1.0, 2.0], "target_r": [1.0, 2.0]}})
    pieces = method.plan(spec, read)
    told = method.combine(spec, read, pieces, [None, method.work(bench_of(), spec, pieces[1])])
    assert told["grid"][0] == [None, None]
    assert told["best"]["row"] == 1
    assert method.combine(spec, read, pieces, [None, None])["best"] is None


def test_the_robust_best_is_a_plateau_and_not_a_spike() -> None:
    values = np.zeros((7, 7))
    values[1, 1] = 10.0
    values[4:7, 4:7] = 4.0
    judged = smoothed(values)
    assert [int(each) for each in np.unravel_index(values.argmax(), values.shape)] == [1, 1]
    assert all(int(each) in {4, 5, 6} for each in np.unravel_index(judged.argmax(), judged.shape))
    assert (judged[1, 1], judged[5, 5]) == (0.0, 4.0)
    values[5, 5] = np.nan
    assert np.isnan(smoothed(values)[5, 5])
    assert smoothed(values)[6, 6] == 4.0


def test_where_all_neighbourhoods_are_alike_the_robust_best_is_the_best() -> None:
    """In a grid of two by two each cell has all as neighbours."""
    options = {"metric": "net_profit"}
    pieces = [{"others": [1, 2]}, {"others": [1, 2]}]
    cells = [{"net_profit": value} for value in (-3.0, 1.0, 2.0, 0.5)]
    found = grid_of(options, pieces, [{"cells": cells[:2]}, {"cells": cells[2:]}])
    assert (found["robust_best"]["row"], found["robust_best"]["column"]) == (1, 0)
    assert found["robust_best"]["judged"] == 0.75


@pytest.mark.parametrize(
    ("axes", "hint"),
    [
        (None, "one or two parameters"),
        ({}, "one or two parameters"),
        ({"stop_atr": [1], "target_r": [1], "max_bars": [1]}, "one or two parameters"),
        ({"stop_art": [1, 2]}, "did you mean stop_atr"),
        ({"ttl_bars": [1, 2]}, "unknown parameter"),
        ({"detail_timeframe": ["1m", "5m"]}, "the same for all runs"),
        ({"stop_atr": []}, "list of values"),
        ({"stop_atr": "1,2"}, "list of values"),
        ({"stop_atr": [1, 1000]}, "from 0.01 to 100"),
        ({"stop_atr": [2, 2.0]}, "a value twice"),
        ({"partial_r": [1, 3]}, "below target_r"),
    ],
)
def test_bad_axes_are_refused_before_anything_runs(axes: Any, hint: str) -> None:
    with pytest.raises(InvalidInputError, match=hint):
        METHODS["sweep"].read(spec_of(), {"axes": axes})


def test_axes_that_explode_name_the_cap_and_the_time() -> None:
    axes = {"stop_atr": [1 + k / 100 for k in range(100)], "target_r": [1 + k / 100 for k in range(100)]}
    with pytest.raises(TooLargeError, match=f"10,000 settings, more than the {MOST_SETTINGS:,}.*about [0-9,]+ s"):
        METHODS["sweep"].read(spec_of(), {"axes": axes})


def test_a_walk_forward_judges_on_what_comes_after() -> None:
    axes = {"stop_atr": [1.0, 2.0, 4.0], "target_r": [1.0, 3.0]}
    found = analyse("walk_forward", spec_of(), {"axes": axes, "windows": 4, "in_sample": 2, "min_trades": 3})
    windows = found["windows"]
    assert len(windows) == 4
    for before, after in pairwise(windows):
        assert before["end"] == after["split"]
    assert windows[0]["start"] == START
    assert windows[-1]["end"] == END
    bench = bench_of()
    trades, growth = 0, 1.0
    for window in windows:
        assert window["start"] < window["split"] < window["end"]
        scores: dict[tuple[float, float], float] = {}
        for stop in axes["stop_atr"]:
            for target in axes["target_r"]:
                tried = bench.trial(spec_of(stop_atr=stop, target_r=target).within(window["start"], window["split"]))
                if (tried["trades"] or 0) >= 3:
                    scores[stop, target] = tried["expectancy_r"] or 0.0
        assert (window["setting"]["stop_atr"], window["setting"]["target_r"]) == max(
            scores, key=lambda key: scores[key]
        )
        judged = run(CANDLES, spec_of(**window["setting"]).within(window["split"], window["end"])).metrics
        assert window["out_of_sample"]["net_profit"] == judged["net_profit"]
        trades += judged["trades"]
        growth *= 1 + judged["return_pct"] / 100
    assert found["out_of_sample"]["trades"] == trades
    assert found["out_of_sample"]["return_pct"] == pytest.approx(100 * (growth - 1))


def test_a_walk_forward_of_too_short_a_range_is_refused() -> None:
    spec = spec_of().within(START, START + 5 * 60_000)
    read = METHODS["walk_forward"].read(spec, {"axes": {"stop_atr": [1, 2]}})
    with pytest.raises(InvalidInputError, match="too short"):
        METHODS["walk_forward"].plan(spec, read)


def test_chance_is_not_significant_on_a_random_walk_and_an_edge_is() -> None:
    free = {"taker_fee_bps": 0, "maker_fee_bps": 0, "slippage_bps": 0}
    found = analyse("null", spec_of(**free), {"draws": 60})
    assert found["draws"] == 60
    told = found["metrics"]["expectancy_r"]
    assert told["actual"] == run(CANDLES, spec_of(**free)).metrics["expectancy_r"]
    assert 0.02 < told["p_value"] < 0.98
    assert sum(told["histogram"]["counts"]) == 60


def test_p_counts_the_run_among_the_draws() -> None:
    drawn = np.arange(99.0)
    assert against(drawn, 98.5)["p_value"] == 0.01
    assert against(drawn, -1.0)["p_value"] == 1.0
    assert against(drawn, -1.0)["p_value_two_sided"] == 0.02


def test_random_cannot_be_compared_with_itself() -> None:
    with pytest.raises(InvalidInputError, match="benchmark itself"):
        METHODS["null"].read(spec_of(strategy="random"), {})


def test_costs_only_cost() -> None:
    found = analyse("costs", spec_of(), {"metric": "total_r"})
    grid = [[cell["total_r"] for cell in row] for row in found["grid"]]
    assert grid[2][2] == run(CANDLES, spec_of()).metrics["total_r"]
    assert grid[0][0] == run(CANDLES, spec_of(taker_fee_bps=0, maker_fee_bps=0, slippage_bps=0)).metrics["total_r"]
    assert grid[0][0] > grid[2][2] > grid[4][4]


@pytest.mark.parametrize("strategy", ["breakout", "sweep_reversal", "fvg_retest", "sweep_choch_retest"])
def test_no_strategy_looks_ahead(strategy: str) -> None:
    found = analyse("look_ahead", spec_of(strategy=strategy), {"cuts": 12})
    assert found["identical"] is True
    assert found["prefixes"] == 12


def test_a_look_ahead_would_be_found() -> None:
    honest = rows_of(bench_of().trade(spec_of()).trades)
    cut = int(CANDLES.open_time[3_000])
    known = ended_before(honest, cut)
    # A cheat skips the trade that it knows will lose.
    cheat = [row for row in known if row != known[3]]
    assert differences(known, cheat) == [{"symbol": "BTCUSDT", "entry_time": known[3][1], "only_in": "whole"}]


@pytest.mark.parametrize("resampling", list(Resampling))
def test_bands_hold_what_the_trades_can_bring(resampling: Resampling) -> None:
    trades = run(CANDLES, spec_of()).trades
    times, net = trades.rows["exit_time"], trades.net
    drawn = bands(times, net, 10_000.0, draws=400, seed=1, resampling=resampling)
    assert drawn is not None
    assert (drawn.at[0], drawn.at[-1]) == (0, len(net))
    assert (np.diff(drawn.quantiles, axis=0) >= 0).all()
    assert (drawn.quantiles[:, 0] == 10_000.0).all()
    final = 10_000.0 + net.sum()
    if resampling is Resampling.SHUFFLE:
        # The order cannot change where compounding ends.
        assert np.allclose(drawn.final, final)
    else:
        assert drawn.final.min() < final < drawn.final.max()
    again = bands(times, net, 10_000.0, draws=400, seed=1, resampling=resampling)
    assert again is not None
    assert np.array_equal(again.quantiles, drawn.quantiles)


def test_without_trades_there_are_no_bands() -> None:
    assert bands(np.empty(0, np.int64), np.empty(0), 100.0, draws=100, seed=0, resampling=Resampling.SHUFFLE) is None
