"""What holds on any market: prefixes, mirrors, money, and equal bytes for equal inputs."""

import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from backtests.engine.run import Result, run
from backtests.engine.spec import BacktestSpec
from backtests.reports import report_files
from markets.candles import Candles
from tests.backtests.engine.tables import frame, mirrored
from tests.factories import nasty_walk, real_candles, walk

CALM: dict[str, Any] = {"symbol": "BTCUSDT", "timeframe": "1m"}
FREE = {"taker_fee_bps": 0, "maker_fee_bps": 0, "slippage_bps": 0}
SPECS: dict[str, dict[str, Any]] = {
    "breakout": {},
    "structure": {"stop": "structure", "max_leverage": 5},
    "trailing": {"trail_atr": 2, "break_even_r": 1, "target_r": 0, "max_bars": 40},
    "partial": {"partial_r": 1, "partial_pct": 40, "step_size": 0.001, "tick_size": 0.01},
    "opposite": {"exit_on_opposite": True, "target_r": 0},
    "sweep_reversal": {"strategy": "sweep_reversal", "max_positions": 3, "max_leverage": 4},
    "fvg_retest": {"strategy": "fvg_retest", "max_positions": 2},
    "sweep_choch_retest": {"strategy": "sweep_choch_retest"},
}
MARKETS = {"walk": walk(11, 6_000), "nasty": nasty_walk(12, 6_000)}


def run_on(candles: Candles, **values: Any) -> Result:
    return run(candles, BacktestSpec.of({**CALM, **values}))


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("name", SPECS)
def test_a_prefix_has_the_same_trades_up_to_its_end(name: str, market: str) -> None:
    candles = MARKETS[market]
    whole = frame(run_on(candles, **SPECS[name]).trades)
    assert len(whole) > 5
    for cut in (700, 2_500, 4_999):
        end = int(candles.open_time[cut])
        for part in (run_on(candles.first(cut), **SPECS[name]), run_on(candles, to=end, **SPECS[name])):
            short = frame(part.trades)
            ended = short[short.exit_reason != "end_of_data"].reset_index(drop=True)
            same = whole[whole.exit_time < end].reset_index(drop=True)
            columns = [column for column in whole.columns if column != "trade"]
            assert ended[columns].equals(same[columns])


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("name", ["breakout", "structure", "trailing", "sweep_reversal", "fvg_retest"])
def test_the_short_run_of_a_mirrored_market_is_the_long_run(name: str, market: str) -> None:
    # On a grid of quarters every price of the mirror is exact, so rounding cannot hide a difference of rules.
    base = MARKETS[market]
    open_, high, low, close = (np.round(getattr(base, each) * 4) / 4 for each in ("open", "high", "low", "close"))
    candles = Candles(base.open_time, open_, high, low, close, base.volume)
    around = 2.0 * float(np.round(candles.close.mean()))
    around = max(around, float(candles.high.max()) + 1.0)
    # One unit at risk costs the same on both sides only without a cap that depends on the price itself.
    values = {**SPECS[name], **FREE, "max_leverage": 125, "risk_pct": 0.001}
    long = frame(run_on(candles, direction="long", **values).trades)
    short = frame(run_on(mirrored(candles, around), direction="short", **values).trades)
    assert len(long) > 3
    for column in ("entry_time", "exit_time", "exit_reason", "bars_held", "ambiguous", "resolution"):
        assert long[column].tolist() == short[column].tolist(), column
    for column in ("entry_price", "exit_price", "stop_price"):
        assert np.allclose(long[column], around - short[column], rtol=0, atol=1e-9), column
    for column in ("r_multiple", "mae_r", "mfe_r", "net_pnl"):
        assert np.allclose(long[column], short[column], rtol=1e-9, atol=1e-9), column


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("name", SPECS)
def test_money_is_conserved(name: str, market: str) -> None:
    result = run_on(MARKETS[market], **SPECS[name])
    table = frame(result.trades)
    assert result.equity.final == pytest.approx(10_000.0 + table.net_pnl.sum(), abs=1e-7)
    assert np.allclose(table.net_pnl, table.gross_pnl - table.fees, rtol=0, atol=1e-9)
    assert (table.fees >= 0).all()
    assert (table.slippage >= 0).all()


@pytest.mark.parametrize("name", ["breakout", "trailing", "sweep_reversal"])
def test_without_costs_cash_moves_by_prices_alone(name: str) -> None:
    result = run_on(MARKETS["walk"], **{**SPECS[name], **FREE})
    table = frame(result.trades)
    side = np.where(table.direction == "long", 1, -1)
    moved = (side * table.quantity * (table.exit_price - table.entry_price)).sum()
    assert result.equity.final - 10_000.0 == pytest.approx(moved, abs=1e-9 * 10_000)
    assert (table.fees == 0).all()
    assert (table.slippage == 0).all()


def test_the_stop_bounds_the_loss_where_no_bar_gaps() -> None:
    table = frame(run_on(MARKETS["walk"], **{**SPECS["sweep_reversal"], **FREE, "target_r": 0}).trades)
    stopped = table[table.exit_reason == "stop"]
    assert len(stopped) > 20
    worse = np.where(
        stopped.direction == "long", stopped.stop_price - stopped.exit_price, stopped.exit_price - stopped.stop_price
    )
    assert (worse >= -1e-12).all()


def test_consecutive_windows_share_no_entry_and_lose_none() -> None:
    candles = MARKETS["walk"]
    edges = [int(candles.open_time[k]) for k in (0, 1_500, 3_000, 4_500)] + [int(candles.open_time[-1]) + 60_000]
    # Wide room, so that what one window has open cannot refuse an entry in the next.
    wide = {"max_positions": 100, "max_leverage": 125, "risk_pct": 0.001, "target_r": 1}
    whole = frame(run_on(candles, **wide).trades).entry_time.tolist()
    parts = [
        frame(run_on(candles, **{**wide, "from": start, "to": end}).trades).entry_time.tolist()
        for start, end in pairwise(edges)
    ]
    entered = [time for part in parts for time in part]
    # A signal whose entry bar opens the next window belongs there.
    assert sorted(entered) == sorted(whole)


def test_pairs_on_one_account_are_the_same_in_any_order() -> None:
    markets = {"AAA": walk(1, 3_000), "BBB": walk(2, 3_000), "CCC": nasty_walk(3, 2_000)}
    first, second = (
        run(markets, BacktestSpec.of({**CALM, "symbol": names, "max_leverage": 2}))
        for names in ("AAA,BBB,CCC", "CCC,AAA,BBB")
    )
    assert dict(report_files(first)) == dict(report_files(second))
    assert first.equity.final == pytest.approx(10_000.0 + first.trades.net.sum(), abs=1e-7)
    assert {*first.trades.symbol.texts} == {"AAA", "BBB", "CCC"}


def test_pairs_that_never_meet_are_as_alone() -> None:
    early, late = walk(1, 2_000), walk(2, 2_000, start=1_800_000_000_000)
    both = frame(run({"AAA": early, "BBB": late}, BacktestSpec.of({**CALM, "symbol": "AAA,BBB", **FREE})).trades)
    alone = frame(run(early, BacktestSpec.of({**CALM, "symbol": "AAA", **FREE})).trades)
    ours = both[both.symbol == "AAA"].reset_index(drop=True)
    closed = alone.exit_reason != "end_of_data"
    assert ours[closed][alone.columns].equals(alone[closed])


def digests(result: Result) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in report_files(result)}


SCRIPT = """
import hashlib, json, sys
sys.path.insert(0, sys.argv[1])
from tests.backtests.engine.test_properties import SPECS, digests, run_on
from tests.factories import walk
print(json.dumps({name: digests(run_on(walk(11, 3_000), **SPECS[name])) for name in SPECS}))
"""


def test_equal_inputs_give_equal_bytes_whatever_the_processes(request: pytest.FixtureRequest) -> None:
    root = str(request.config.rootpath)
    ours = {name: digests(run_on(walk(11, 3_000), **SPECS[name])) for name in SPECS}
    with ThreadPoolExecutor(2) as pool:
        outputs = list(
            pool.map(
                lambda _: (
                    subprocess.run(
                        [sys.executable, "-c", SCRIPT, root], capture_output=True, text=True, check=True, cwd=root
                    ).stdout
                ),
                range(2),
            )
        )
    assert [json.loads(output) for output in outputs] == [ours, ours]


@pytest.mark.parametrize(
    ("file", "timeframe", "values", "expected"),
    [
        ("BTCUSDT-15m-2023", "15m", {}, (1_045, -706.805025, 880.424826, 2)),
        ("BTCUSDT-15m-2023", "15m", {"stop": "structure"}, (209, -46.567154, None, None)),
        ("BTCUSDT-15m-2023", "15m", FREE, (1_006, -13.0, 10_178.2886, None)),
        ("BTCUSDT-15m-2023", "15m", {"strategy": "sweep_reversal"}, (1_113, -1_173.801110, None, None)),
        ("BTCUSDT-1h-2017-08_2024-04", "1h", {}, (1_617, -196.014034, 1_813.624260, None)),
    ],
)
def test_real_candles_give_the_reference_figures(
    file: str, timeframe: str, values: dict[str, Any], expected: tuple[int, float, float | None, int | None]
) -> None:
    metrics = run(real_candles(file), BacktestSpec.of({**CALM, "timeframe": timeframe, **values})).metrics
    trades, total_r, final, ambiguous = expected
    assert metrics["trades"] == trades
    assert metrics["total_r"] == pytest.approx(total_r, abs=5e-7)
    assert final is None or metrics["final_equity"] == pytest.approx(final, abs=5e-5)
    assert ambiguous is None or metrics["ambiguous_exits"] == ambiguous


def test_finer_candles_decide_what_a_bar_cannot() -> None:
    candles, detail = real_candles("BTCUSDT-15m-2023"), real_candles("BTCUSDT-5m-2023")
    values = {**CALM, "timeframe": "15m", "strategy": "fvg_retest"}
    coarse = run(candles, BacktestSpec.of(values)).metrics
    fine = run(candles, BacktestSpec.of({**values, "detail_timeframe": "5m"}), detail=detail).metrics
    assert fine["ambiguous_share"] < 0.7 * coarse["ambiguous_share"]
    assert fine["resolution"]["ltf"] > 100


@pytest.mark.parametrize("compared", ["breakout", "sweep_reversal", "fvg_retest"])
def test_random_enters_as_often_and_on_the_same_sides(compared: str) -> None:
    candles = MARKETS["walk"]
    ours = frame(run_on(candles, strategy=compared).trades)
    for seed in (1, 2):
        drawn = frame(run_on(candles, strategy="random", compared=compared, seed=seed).trades)
        assert drawn.direction.value_counts().to_dict() == ours.direction.value_counts().to_dict()
        assert drawn.signal_kind.unique().tolist() == ["RANDOM"]
        again = frame(run_on(candles, strategy="random", compared=compared, seed=seed).trades)
        assert again.equals(drawn)
    other = frame(run_on(candles, strategy="random", compared=compared, seed=3).trades)
    assert not other.entry_time.equals(drawn.entry_time)


def test_random_has_the_stops_of_the_compared_run() -> None:
    candles = MARKETS["walk"]
    compared = run_on(candles, stop_atr=3, **FREE).trades
    drawn = run_on(candles, strategy="random", stop_atr=3, **FREE).trades
    for trades in (compared, drawn):
        distance = np.abs(trades.rows["entry"] - trades.rows["stop"]) / trades.atr
        assert np.allclose(distance, 3.0)
