"""The circumstances of a signal, against their plain definition."""

import numpy as np

from signals.evidence.conditions import volatility_regime
from signals.evidence.outcomes import average_true_ranges
from tests.factories import nasty_walk


def test_volatility_is_judged_against_the_median_of_the_500_candles_before() -> None:
    candles = nasty_walk(3, 2_000)
    atr = average_true_ranges(candles, 14)
    share = atr / candles.close
    at = np.arange(len(candles))
    told = volatility_regime(at, atr, candles.close)
    plain = ["volatile" if share[t] > np.median(share[max(0, t - 500) : t + 1]) else "calm" for t in at]
    assert told.tolist() == plain
    assert set(plain) == {"volatile", "calm"}
    assert told[1_500:].tolist() == volatility_regime(at[1_500:], atr, candles.close).tolist()
