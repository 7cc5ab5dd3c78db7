"""Equity as text: what a general writer would write, row by row."""

import numpy as np

from backtests.engine.text import DECIMALS, LARGEST, equity_rows


def test_rows_hold_what_python_writes_for_the_same_numbers() -> None:
    rng = np.random.default_rng(11)
    equity = np.concatenate([
        [0.0, 9.0, 10.0, 9_999.0, 10_000.0, 0.00000001, 1234.5, -3.25, np.nextafter(LARGEST, 0.0)],
        rng.uniform(0.0, 1e5, 2_000), 10.0 ** rng.uniform(-9.0, 9.9, 2_000),
    ])  # fmt: skip
    drawdown = rng.uniform(-0.2, 1.0, len(equity))
    repeated = rng.random(len(equity)) < 0.5
    place = np.maximum.accumulate(np.where(repeated, 0, np.arange(len(equity))))
    equity, drawdown = equity[place], drawdown[place]
    time = np.cumsum(rng.integers(1, 10 ** rng.integers(1, 10, len(equity))))
    assert len(str(time[0])) < len(str(time[-1]))

    rows = bytes(equity_rows(b"time,equity,drawdown\n", time, equity, drawdown)).decode()

    expected = [f"{t},{_text(e)},{_text(d)}" for t, e, d in zip(time.tolist(), equity, drawdown, strict=True)]
    assert rows.splitlines() == ["time,equity,drawdown", *expected]


def _text(value: float) -> str:
    whole, fraction = divmod(int(np.rint(abs(value) * 10.0**DECIMALS)), 10**DECIMALS)
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}.{fraction:0{DECIMALS}}".rstrip("0").rstrip(".")
