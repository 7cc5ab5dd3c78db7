"""First passages, excursions and zones, on candles made by hand."""

import numpy as np
import pytest

from markets.candles import Candle, Candles
from signals.engine import Detector, Params
from signals.engine.kinds import ZONE_KINDS
from signals.evidence.nulls import adjusted, wilson
from signals.evidence.outcomes import STOPPED, UNDECIDED, average_true_ranges, first_passages
from signals.evidence.zones import hold_rate
from tests.factories import walk


def trade(
    rows: list[tuple[float, float, float, float]], *, direction: int = 1, stop: float = 98.0
) -> tuple[int, float, float]:
    """Enter at the open of the second candle; return the target reached, MAE and MFE in R."""
    candles = Candles.of(Candle(60_000 * i, *row, 1.0) for i, row in enumerate([(100, 100, 100, 100), *rows]))
    walked = first_passages(candles, np.array([0]), np.array([direction]), np.array([stop]), horizon=len(rows))
    return int(walked.reached[0]), float(walked.mae_r[0]), float(walked.mfe_r[0])


def test_a_trade_that_reaches_two_r_before_its_stop() -> None:
    assert trade([(100, 103, 99, 102), (102, 104.5, 101, 104), (104, 104, 97, 98)])[0] == 2


def test_a_candle_that_holds_stop_and_target_counts_as_stopped() -> None:
    assert trade([(100, 107, 98, 103)])[0] == STOPPED


def test_the_stop_price_itself_stops_and_the_target_price_itself_does_not_fill() -> None:
    assert trade([(100, 102, 99, 101), (101, 101, 98, 99)])[0] == STOPPED


def test_neither_in_time_is_undecided() -> None:
    assert trade([(100, 101, 99, 100)])[0] == UNDECIDED


def test_a_stop_behind_the_entry_is_undecided() -> None:
    assert trade([(100, 110, 90, 100)], stop=101.0)[0] == UNDECIDED


def test_a_short_is_the_mirror_of_a_long() -> None:
    reached, mae, mfe = trade([(100, 101, 97, 98), (98, 99, 95.5, 96)], direction=-1, stop=102.0)
    assert (reached, mae, mfe) == (2, 0.5, 2.25)


def test_excursions_are_the_worst_and_the_best_of_the_horizon() -> None:
    assert trade([(100, 101, 99, 100), (100, 105, 99.5, 104)])[1:] == (0.5, 2.5)


def test_a_horizon_longer_than_a_passage_takes_its_excursions_to_the_end() -> None:
    """What comes after the 500 candles of a passage still counts as an excursion, and no more as a target or stop."""
    rows = [(100.0, 101.0, 99.5, 100.0)] * 700
    rows[600], rows[650] = (100, 109, 99.5, 100), (100, 101, 96, 100)
    assert trade(rows) == (UNDECIDED, 2.0, 4.5)
    assert trade(rows[:600]) == (UNDECIDED, 0.25, 0.5)
    rows[400] = (100, 103, 99.5, 100)
    assert trade(rows) == (1, 2.0, 4.5)


def test_the_average_true_range_is_the_engines_own() -> None:
    candles = walk(5, 60)
    atr = average_true_ranges(candles, 14)
    ranges = [float(candles.high[0] - candles.low[0])]
    for j in range(1, 60):
        before = candles.close[j - 1]
        ranges.append(
            float(max(candles.high[j] - candles.low[j], abs(candles.high[j] - before), abs(candles.low[j] - before)))
        )
    assert atr[59] == sum(ranges[46:60]) / 14
    assert atr[3] == sum(ranges[:4]) / 4


def test_zones_of_a_random_walk_hold_as_often_as_random_ones() -> None:
    candles = walk(21, 60_000)
    table = Detector(Params()).run(candles).table
    rows = table.rows[np.isin(table.rows["kind"], ZONE_KINDS)]
    rate = hold_rate(candles, rows, average_true_ranges(candles, 14), rng=np.random.default_rng(1))
    assert rate.rate is not None
    assert rate.random_rate is not None
    assert rate.touched > 1_000
    assert rate.rate == pytest.approx(rate.random_rate, abs=0.05)


def test_wilson_agrees_with_a_published_value() -> None:
    # 15 of 50, 95 %: 0.1910 to 0.4375 (Wilson 1927 as tabulated by Newcombe 1998, method 3).
    low, high = wilson(15, 50) or (0.0, 0.0)
    assert (round(low, 4), round(high, 4)) == (0.1910, 0.4375)
    assert wilson(0, 0) is None


def test_q_values_of_benjamini_and_hochbergs_own_example() -> None:
    p_values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240,
                0.4262, 0.5719, 0.6528, 0.7590, 1.0]  # fmt: skip
    q_values = adjusted([None, *p_values])
    assert q_values[0] is None
    # Their procedure at 5 % rejects the first four (Benjamini and Hochberg 1995, section 4).
    assert sum(q <= 0.05 for q in q_values if q is not None) == 4
