"""Which series are mute, with clocks in the test's hand."""

from markets.exchanges.series_watch import SeriesWatch
from markets.exchanges.stream_timing import StreamTiming
from markets.series import SeriesKey

HOUR, DAY = 3_600_000, 86_400_000
DAILY, MINUTES = SeriesKey.of("BTCUSDT", "1d"), SeriesKey.of("BTCUSDT", "1m")
TIMING = StreamTiming()


def watch(*series: SeriesKey) -> SeriesWatch:
    found = SeriesWatch(TIMING)
    found.follow(series)
    assert found.mute(0, now=0.0) == set()
    return found


def test_a_series_whose_closing_frame_was_missed_is_not_mute_while_it_speaks() -> None:
    """Or a drop at midnight would make every daily series stale for a day, and ask REST for it all the while."""
    series = watch(DAILY)
    series.heard(DAILY, DAY - 2_000)
    for hour in range(24):
        series.heard(DAILY, DAY + 5_000 + hour * HOUR)
        assert series.mute(DAY + 30_000 + hour * HOUR, now=60.0 * hour) == set()


def test_a_thin_market_is_mute_only_after_its_timeframe() -> None:
    series = watch(DAILY, MINUTES)
    late = 60_000 + TIMING.overdue_ms
    assert series.mute(late - 1, now=10.0) == set()
    assert series.mute(late, now=10.0) == set()
    assert series.mute(late, now=10.0 + TIMING.overdue_seconds) == {MINUTES}
    assert series.mute(DAY, now=20.0) == {MINUTES}
    assert series.mute(DAY + TIMING.overdue_ms, now=30.0) == {MINUTES}
    assert series.mute(DAY + TIMING.overdue_ms, now=30.0 + TIMING.overdue_seconds) == {DAILY, MINUTES}


def test_one_frame_of_any_kind_ends_it() -> None:
    series = watch(MINUTES)
    series.mute(HOUR, now=10.0)
    assert series.mute(HOUR, now=20.0) == {MINUTES}
    series.heard(MINUTES, HOUR)
    assert series.mute(HOUR, now=30.0) == set()


def test_who_is_not_followed_any_more_is_not_mute_and_who_stays_keeps_its_time() -> None:
    series = watch(MINUTES)
    series.mute(HOUR, now=10.0)
    series.follow([MINUTES, DAILY])
    assert series.mute(HOUR, now=20.0) == {MINUTES}
    series.follow([DAILY])
    assert series.mute(HOUR, now=20.0) == set()
