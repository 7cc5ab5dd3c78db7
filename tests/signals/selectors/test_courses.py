"""Courses and biases: the same whether they were followed, remembered, or let go and found again."""

from pathlib import Path

import numpy as np
import pytest

from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.store import Source
from signals import selectors
from signals.engine import Detector, scale_params
from signals.selectors.courses import Bias, Following
from tests.factories import walk

pytestmark = pytest.mark.django_db

STEP = Timeframe.M15.milliseconds
START = 1_700_006_400_000


def stored(count: int, candles: int) -> list[SeriesKey]:
    """Return new series, each with candles of its own."""
    made = [SeriesKey.of(f"S{number}USDT", "15m") for number in range(count)]
    for number, series in enumerate(made):
        candle_store().merge(series, walk(number, candles, timeframe=Timeframe.M15, start=START), source=Source.ARCHIVE)
    return made


def add(series: SeriesKey, seed: int, candles: int) -> None:
    last = candle_store().last_time(series)
    assert last is not None
    more = walk(seed, candles, timeframe=Timeframe.M15, start=last + STEP)
    candle_store().merge(series, more, source=Source.STREAM)


def judged(series: SeriesKey) -> Bias:
    """Return the bias after all candles of a series, found from these alone."""
    candles = candle_store().read(series, start=None, end=None)
    detector = Detector(scale_params("internal"))
    detector.run(candles)
    place = detector.range_pos
    return Bias(int(candles.open_time[-1]), detector.trend, None if np.isnan(place) else place)


def test_biases_of_more_series_than_memory_has_room_for_are_those_of_all_their_candles(data_root: Path) -> None:
    made = stored(6, 400)
    room = 2 * Detector(scale_params("internal")).nbytes
    following = Following(room, keeps_course=False)
    for round_ in range(3):
        for number, series in enumerate(made):
            told, _ = following.now(series)
            assert told == judged(series)
            assert following.bytes <= room
            add(series, 10 * round_ + number, 7)


def test_courses_stay_as_long_as_there_is_room_and_are_found_again_after_that(data_root: Path) -> None:
    made = stored(3, 300)
    following = Following(2**20, keeps_course=True)
    first = [following.now(series)[1] for series in made]
    assert [following.now(series)[1] for series in made] == first  # the very same
    narrow = Following(following.bytes - 1, keeps_course=True)
    former = [narrow.now(series)[1] for series in made]
    again = [narrow.now(series)[1] for series in made]
    for one, other in zip(former, again, strict=True):
        assert one is not other
        assert one.trend.tolist() == other.trend.tolist()
        assert one.at(299) == other.at(299)


def test_a_bias_that_was_told_is_remembered_however_many_series_there_are(data_root: Path) -> None:
    made = stored(140, 40)
    told = [selectors.bias(series) for series in made]
    assert all(selectors.bias(series) is each for series, each in zip(made, told, strict=True))
    add(made[0], 7, 30)
    assert selectors.bias(made[0]) == judged(made[0])
    assert selectors.bias(made[0]) != told[0]


def test_a_bias_follows_a_candle_that_was_changed(data_root: Path) -> None:
    (series,) = stored(1, 300)
    selectors.bias(series)
    candles = candle_store().read(series, start=None, end=None)
    for place in (40, 299):
        bar = candles.candle(place)
        changed = bar._replace(high=bar.high * 1.2, close=bar.high * 1.1)
        candle_store().merge(series, type(candles).of([changed]), source=Source.REST)
        assert selectors.bias(series) == judged(series)
