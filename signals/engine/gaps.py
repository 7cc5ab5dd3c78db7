"""FVG: the fair value gap between the first and the third of three candles."""

from typing import Any

from signals.engine.compiled import part
from signals.engine.facts import average_true_range, body, ratio, tell_signal
from signals.engine.kinds import HIGH, LOW, Kind
from signals.engine.layout import State
from signals.engine.zones import arm_zone

_FVG = int(Kind.FVG)


@part
def find_gap(state: State, signals: Any) -> None:
    """Emit FVG when the current candle leaves a gap to the candle two back.

    Bullish: low above the high two back, with a rising candle between; bearish mirrored. Touching wicks
    and a doji between leave none. The gap is at least ``fvg_min_atr`` ATR and ``fvg_min_pct`` percent of
    the middle close (docs/concepts.md#fair-value-gap).
    """
    core = state.core[0]
    if core.bar < 2:
        return
    if core.low > core.earlier_high and core.previous_close > core.previous_open:
        side, top, bottom = HIGH, core.low, core.earlier_high
    elif core.high < core.earlier_low and core.previous_close < core.previous_open:
        side, top, bottom = LOW, core.earlier_low, core.high
    else:
        return
    gap = top - bottom
    atr = average_true_range(state)
    if gap < core.fvg_min_atr * atr or gap < core.fvg_min_pct / 100.0 * core.previous_close:
        return
    middle_body = body(core.previous_open, core.previous_high, core.previous_low, core.previous_close)
    strength = 70.0 * ratio(gap, atr) + 30.0 * middle_body
    number = tell_signal(
        state,
        signals,
        (_FVG, 1 if side == HIGH else -1, 0),
        (core.bar - 1, core.previous_time, core.bar - 2, core.earlier_time),
        ((top + bottom) / 2.0, top, bottom, strength),
    )
    arm_zone(state, side, _FVG, number, (core.bar - 1, core.previous_time), (top, bottom, strength))
