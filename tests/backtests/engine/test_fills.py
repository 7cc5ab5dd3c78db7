"""The fill rules on tables of candles, each told for a long and seen in the mirror for a short."""

import numpy as np
import pytest

from backtests.engine.account import Walked, trade_orders
from markets.candles import Candle, Candles
from tests.backtests.engine.cases import CASES, FLAT, Case
from tests.backtests.engine.tables import HOUR, START, Bar, candles_of, frame, market_of, mirrored, orders_at, spec_of

AROUND = 200.0


def walk_case(case: Case, *, side: int) -> Walked:
    """Walk a case as it stands, or in the mirror."""
    candles, detail = candles_of(case.bars), None
    values = dict(case.spec)
    if case.children is not None:
        values["detail_timeframe"] = "5m"
        detail = Candles.of(
            Candle(START + bar * HOUR + k * 300_000, *child, 1.0)
            for bar, rows in sorted(case.children.items())
            for k, child in enumerate(rows)
        )
    orders = [dict(order) for order in case.orders]
    if side < 0:
        candles = mirrored(candles, AROUND)
        detail = mirrored(detail, AROUND) if detail is not None else None
        for order in orders:
            order["side"] = -order.get("side", 1)
            order["stop"] = AROUND - order.get("stop", 98.0)
            if "limit" in order:
                order["limit"] = AROUND - order["limit"]
    market = market_of(candles, filters=case.filters, detail=detail)
    return trade_orders([market], [orders_at(*orders)], spec_of(**values))


@pytest.mark.parametrize("side", [1, -1], ids=["long", "short"])
@pytest.mark.parametrize("name", CASES)
def test_the_rules_say_what_a_table_of_candles_brings(name: str, side: int) -> None:
    case = CASES[name]
    walked = walk_case(case, side=side)
    table = frame(walked.trades)

    def price(value: float) -> float:
        return value if side > 0 else AROUND - value

    found = [
        (int(row.entry_idx), price(row.entry), int(row.exit_idx), price(row.exit), reason)
        for row, reason in zip(walked.trades.rows.view(np.recarray), table.exit_reason, strict=True)
    ]
    holes = [k for k, bar in enumerate(case.bars) if bar is None]
    expected = [
        (entry - sum(hole < entry for hole in holes), at, leave - sum(hole < leave for hole in holes), out, reason)
        for entry, at, leave, out, reason in case.trades
    ]
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    assert [row[4] for row in found] == [row[4] for row in expected]
    assert [row[3] for row in found] == pytest.approx([row[3] for row in expected], abs=1e-12)
    assert walked.rejected == case.rejected
    assert int(table.ambiguous.sum()) == case.ambiguous
    if case.resolution != "bar":
        assert table.resolution.tolist()[-1] == case.resolution
    closed = walked.trades.rows["net"].sum()
    assert walked.equity.final == pytest.approx(10_000.0 + closed, abs=1e-9)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 60


def test_a_close_below_nothing_ends_the_run() -> None:
    # A short at 125 times the equity sees its price double at an open that is its stop's too late.
    still: Bar = (100.0, 100.1, 99.9, 100.0)
    bars: list[Bar] = [still, still, (200.0, 200.0, 200.0, 200.0), still, still]
    orders = orders_at({"stop": 100.25, "side": -1}, {"bar": 3})
    spec = spec_of(risk_pct=100, max_leverage=125)
    walked = trade_orders([market_of(candles_of(bars))], [orders], spec)
    assert walked.equity.is_ruined
    assert len(walked.trades) == 1
    assert (walked.equity.equity[2:] < 0).all()
    assert len(set(walked.equity.equity[2:])) == 1
    assert len(walked.equity) == 5


def test_a_stop_without_a_pivot_is_refused() -> None:
    walked = trade_orders([market_of(candles_of([FLAT, FLAT]))], [orders_at({"stop": np.inf})], spec_of())
    assert walked.rejected == {"invalid_sl": 1}
