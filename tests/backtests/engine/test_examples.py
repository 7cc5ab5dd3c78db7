"""The worked examples of the rules (docs/assumptions.md#worked-examples), to the digits that they print."""

from typing import Any

import numpy as np
import pytest

from backtests.engine.account import Walked, trade_orders
from backtests.engine.spec import BacktestSpec
from signals.engine import Detector, Params
from tests.backtests.engine.tables import Bar, candles_of, frame, market_of, orders_at, spec_of, trade_table

COSTS: dict[str, Any] = {"taker_fee_bps": 4, "maker_fee_bps": 4, "slippage_bps": 5}
SIGNAL: Bar = (99.5, 100.2, 99.0, 100.0)
ENTRY: Bar = (100.10, 100.6, 99.9, 100.5)


def run(*bars: Bar, **values: Any) -> Walked:
    return trade_table([SIGNAL, ENTRY, *bars], {}, **{**COSTS, **values})


def only_trade(walked: Walked) -> Any:
    table = frame(walked.trades)
    assert len(table) == 1
    return table.iloc[0]


def test_example_a_the_entry_pays_slippage_and_is_sized_by_the_stop_with_fees() -> None:
    trade = only_trade(run())
    assert trade.entry_price == pytest.approx(100.15005, abs=1e-9)
    assert trade.target_price == pytest.approx(104.45015, abs=1e-9)
    assert trade.quantity == pytest.approx(44.8569, abs=5e-5)
    assert trade.quantity * trade.entry_price == pytest.approx(4492.42, abs=5e-3)


def test_example_b_the_stop_wins_when_one_candle_touches_both() -> None:
    walked = run((100.5, 104.8, 97.9, 101.0))
    trade = only_trade(walked)
    assert trade.exit_price == pytest.approx(97.951, abs=1e-9)
    risk = trade.quantity * 2.15005
    assert trade.gross_pnl / risk == pytest.approx(-1.0228, abs=5e-5)
    assert trade.fees / risk == pytest.approx(0.0369, abs=5e-5)
    assert trade.r_multiple == pytest.approx(-1.0596, abs=5e-5)
    assert trade.net_pnl == pytest.approx(-102.20, abs=5e-3)
    assert (trade.ambiguous, trade.resolution, trade.exit_reason) == (True, "fallback", "stop")
    optimistic = trade.net_pnl + walked.trades.rows["forgone"][0]
    assert optimistic / risk - trade.r_multiple == pytest.approx(3.02, abs=5e-3)


def test_example_c_finer_candles_tell_that_the_target_came_first() -> None:
    bar: Bar = (100.5, 104.8, 97.9, 98.5)
    quiet: Bar = (98.5, 98.6, 98.4, 98.5)
    children: list[Bar] = [(100.5, 101.0, 100.2, 101.0), (101.0, 104.8, 101.0, 104.0), (104.0, 104.0, 97.9, 98.5)]
    walked = trade_table([SIGNAL, ENTRY, bar], {}, children={2: [*children, *[quiet] * 9]}, **COSTS)
    trade = only_trade(walked)
    assert trade.exit_price == pytest.approx(104.45015, abs=1e-9)
    assert trade.r_multiple == pytest.approx(1.9619, abs=5e-5)
    assert trade.net_pnl == pytest.approx(189.22, abs=5e-3)
    assert (trade.resolution, trade.ambiguous, trade.exit_reason) == ("ltf", False, "target")
    assert trade.exit_time - trade.entry_time == 3_600_000 + 300_000


def test_example_d_a_gap_through_the_stop_fills_at_the_open() -> None:
    trade = only_trade(run((96.50, 98.5, 96.0, 98.2)))
    assert trade.exit_price == pytest.approx(96.45175, abs=1e-9)
    assert trade.gross_pnl / (trade.quantity * 2.15005) == pytest.approx(-1.7201, abs=5e-5)
    assert trade.r_multiple == pytest.approx(-1.7567, abs=5e-5)
    assert trade.net_pnl == pytest.approx(-169.42, abs=5e-3)


def test_example_e_a_favourable_gap_still_fills_at_the_target() -> None:
    trade = only_trade(run((105.0, 106.0, 104.9, 105.5)))
    assert trade.exit_price == pytest.approx(104.45015, abs=1e-9)
    assert trade.exit_reason == "target"


@pytest.mark.parametrize(
    ("rest", "gross", "net"),
    [
        # The rest comes back to the entry.
        ([(102.2, 102.4, 99.9, 100.0)], 0.5, 0.4598),
        # The rest is trailed out at 103.
        ([(102.2, 105.0, 102.1, 103.5)], 1.25, 1.2095),
    ],
)
def test_example_f_a_partial_target_and_then_break_even(rest: list[Bar], gross: float, net: float) -> None:
    entry: Bar = (100.0, 101.0, 99.5, 100.9)
    up: Bar = (100.9, 102.2, 100.8, 102.2)
    walked = trade_table(
        [SIGNAL, entry, up, *rest],
        {},
        taker_fee_bps=4, maker_fee_bps=4, target_r=0, partial_r=1, partial_pct=50, break_even_r=1,
        break_even_costs=False, trail_atr=2 if gross > 1 else 0,
    )  # fmt: skip
    trade = only_trade(walked)
    assert trade.gross_pnl / (trade.quantity * 2.0) == pytest.approx(gross, abs=1e-9)
    assert trade.r_multiple == pytest.approx(net, abs=5e-5)


def test_example_g_the_trailed_stop_is_looked_at_again_in_the_same_bar() -> None:
    walked = trade_table([SIGNAL, (100.0, 104.0, 100.0, 103.0)], {}, target_r=0, trail_atr=2)
    assert only_trade(walked).exit_price == 102.0
    bars: list[Bar] = [SIGNAL, (100.0, 100.0, 100.0, 100.0), (100.0, 104.0, 100.0, 103.0)]
    assert only_trade(trade_table(bars, {}, target_r=0, trail_atr=2)).exit_price == 102.0


def test_example_h_the_entry_bar_can_be_stopped() -> None:
    trade = only_trade(trade_table([SIGNAL, (100.10, 100.6, 97.8, 98.0)], {}, **COSTS))
    assert trade.r_multiple == pytest.approx(-1.06, abs=5e-3)
    assert (trade.bars_held, trade.entry_time) == (0, trade.exit_time)


def test_example_i_a_time_stop_counts_from_the_entry_bar() -> None:
    bars: list[Bar] = [(100.0, 100.5, 99.5, 100.0)] * 30
    trade = only_trade(trade_table(bars, {"bar": 10}, max_bars=12))
    start = candles_of(bars).open_time[0]
    assert (trade.entry_time - start, trade.exit_time - start) == (11 * 3_600_000, 23 * 3_600_000)
    assert (trade.exit_reason, trade.bars_held) == ("time_stop", 12)


def test_example_j_a_slot_freed_inside_a_bar_is_free_at_the_next_open() -> None:
    bars: list[Bar] = [(100.0, 100.5, 99.5, 100.0)] * 35
    bars[30] = (100.0, 100.5, 98.9, 99.5)
    orders: list[dict[str, Any]] = [{"bar": 10, "stop": 98.0}, {"bar": 11, "stop": 99.0}, {"bar": 29}, {"bar": 30}]
    walked = trade_table(bars, *orders, max_positions=2)
    table = frame(walked.trades)
    start = candles_of(bars).open_time[0]
    assert ((table.entry_time - start) // 3_600_000).tolist() == [11, 12, 31]
    assert walked.rejected == {"max_concurrent": 1}


def test_example_k_spot_positions_pay_no_funding() -> None:
    # The rule for futures (a long pays 0.4508 on 44.8569 at a mark of 100.5 and 0.01 %) has nothing to act on here.
    trade = only_trade(run((100.5, 101.0, 100.4, 100.5)))
    assert trade.net_pnl == pytest.approx(trade.gross_pnl - trade.fees, abs=1e-12)


def test_example_l_a_break_is_traded_after_its_pivot_and_its_close_are_known() -> None:
    closes = np.full(70, 100.0)
    closes[46:51] = [101, 102, 103, 104, 105]
    closes[51:60] = [104, 103, 102, 101, 100, 100, 100, 100, 100]
    closes[60:70] = [102, 104, 106, 107, 108, 109, 110, 111, 112, 113]
    bars = [(float(c), float(c) + 0.25, float(c) - 0.25, float(c)) for c in closes]
    candles = candles_of(bars)
    table = Detector(Params(swing_length=3)).run(candles).table
    pivot = table.rows[(table.column("kind") == "SWING") & (table.rows["event_idx"] == 50)]
    assert pivot["confirm_idx"].tolist() == [53]
    spec = BacktestSpec.of({"symbol": "BTCUSDT", "timeframe": "1h", "swing_length": 3})
    market = market_of(candles)
    market = type(market)("BTCUSDT", market.timeframe, candles, table, 14)
    trades = trade_orders([market], [spec.strategy.orders(market)], spec).trades
    assert len(trades) >= 1
    broken = np.flatnonzero(table.column("kind") == "BOS")
    assert table.rows["confirm_idx"][broken].min() == 62
    assert trades.rows["entry_idx"].min() >= 62


def test_orders_may_be_none() -> None:
    walked = trade_orders(
        [market_of(candles_of([SIGNAL, ENTRY]))], [orders_at({}).take(np.empty(0, np.int64))], spec_of()
    )
    assert len(walked.trades) == 0
