"""Lists that begin with each log's newest signals: the same as from whole months, of which hardly any is held."""

from pathlib import Path

import pytest

from markets.candles import Candles
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.store import Source
from signals import selectors
from signals.log import SignalRow, reading, views
from signals.selectors import SignalFilter
from signals.services import catch_up_series
from tests.factories import walk

# Who brings a log up asks whether the stream waits for a candle.
pytestmark = pytest.mark.django_db

MINUTES, HOURS = SeriesKey.of("BTCUSDT", "1m"), SeriesKey.of("ETHUSDT", "1h")
# What a log's newest signals take, at most, when they were cut from its months.
_LIMIT = 40_000
DECEMBER = 1_701_388_800_000
FILTERS = (
    SignalFilter(), SignalFilter(status="active"), SignalFilter(status="filled", direction=1),
    SignalFilter(kinds=frozenset({"BOS"})), SignalFilter(start=DECEMBER), SignalFilter(end=DECEMBER),
    SignalFilter(start=DECEMBER - 3_600_000, end=DECEMBER + 3_600_000), SignalFilter(scale="swing"),
)  # fmt: skip


def store(series: SeriesKey, candles: Candles) -> None:
    candle_store().merge(series, candles, source=Source.STREAM)
    catch_up_series(series)


def pages(filter_: SignalFilter, *, limit: int, newest_first: bool = True) -> list[SignalRow]:
    rows, page = [], selectors.signals(filter_, limit=limit, newest_first=newest_first)
    rows += page.rows
    while page.next_cursor is not None:
        page = selectors.signals(filter_, limit=limit, cursor=page.next_cursor, newest_first=newest_first)
        rows += page.rows
    return rows


def two_logs() -> tuple[Candles, Candles]:
    """Return candles of two series, from November into December."""
    minutes = walk(8, 2_400, start=DECEMBER - 1_500 * 60_000)
    return minutes, walk(9, 1_000, timeframe=Timeframe.H1, start=DECEMBER - 985 * 3_600_000)


@pytest.mark.parametrize("recent", [1, 20, 100_000])
def test_a_list_is_the_same_however_many_signals_count_as_new(
    data_root: Path, monkeypatch: pytest.MonkeyPatch, recent: int
) -> None:
    monkeypatch.setattr(views, "_RECENT", recent)
    monkeypatch.setattr(views, "_RECENT_MILLISECONDS", 0)
    minutes, hours = two_logs()
    store(MINUTES, minutes.first(1_600))
    store(HOURS, hours)
    for count in (1_601, 1_607, 1_900, 2_400):
        for filter_ in FILTERS:
            assert selectors.signals(filter_, limit=4).rows
        store(MINUTES, minutes.first(count))
    for filter_ in FILTERS:
        followed = pages(filter_, limit=150)
        assert followed[:150] == selectors.signals(filter_, limit=150).rows
        selectors.signal_log.cache_clear()
        assert pages(filter_, limit=1_000, newest_first=False)[::-1] == followed
        selectors.signal_log.cache_clear()
        assert pages(filter_, limit=150) == followed


def test_a_list_of_every_log_holds_no_month(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "_RECENT_MILLISECONDS", 0)
    minutes, hours = two_logs()
    store(MINUTES, minutes)
    store(HOURS, hours)
    log = selectors.signal_log(data_root)
    page = selectors.signals(SignalFilter(), limit=100)
    assert {row.series for row in page.rows} == {MINUTES, HOURS}
    held = log.nbytes
    assert held < 2 * _LIMIT
    store(MINUTES, walk(10, 900, start=int(minutes.open_time[-1]) + 60_000))
    assert selectors.signals(SignalFilter(), limit=100).rows != page.rows
    assert log.nbytes < 4 * _LIMIT  # the newest have become more, but not as many as came
    selectors.signals(SignalFilter(), limit=1_000)
    assert log.nbytes > 8 * _LIMIT  # this many are not new any more: months were loaded


def test_a_total_of_the_last_day_loads_no_month(data_root: Path) -> None:
    minutes, hours = two_logs()
    store(MINUTES, minutes)
    store(HOURS, hours)
    log = selectors.signal_log(data_root)
    selectors.signals(SignalFilter(), limit=100)
    held = log.nbytes
    day_ago = int(minutes.open_time[-1]) - 86_400_000
    for filter_ in (SignalFilter(start=day_ago), SignalFilter(start=day_ago, status="filled", direction=-1)):
        counted = selectors.total(filter_)
        assert log.nbytes == held
        assert counted == len(pages(filter_, limit=1_000, newest_first=False)) > 30
        selectors.signal_log.cache_clear()
        log = selectors.signal_log(data_root)
    week_ago = SignalFilter(start=day_ago - 6 * 86_400_000)
    assert selectors.total(week_ago) == len(pages(week_ago, limit=1_000, newest_first=False))


def test_months_that_are_too_many_are_let_go_when_the_reader_is_done(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "_RECENT_MILLISECONDS", 0)
    monkeypatch.setattr(reading, "_TRIM_SECONDS", 0.0)
    for series, candles in zip((MINUTES, HOURS), two_logs(), strict=True):
        store(series, candles)
    log = selectors.signal_log(data_root)
    before = selectors.summary(SignalFilter())
    first = selectors.signals(SignalFilter(), limit=1).rows
    both = log.nbytes
    monkeypatch.setattr(reading, "_MEMORY", both - 1)
    assert selectors.signals(SignalFilter(), limit=1).rows == first
    assert log.nbytes < both
    monkeypatch.setattr(reading, "_MEMORY", 1)
    assert selectors.summary(SignalFilter()) == before
    last = log.view(HOURS)
    assert last is not None
    assert log.nbytes < last.nbytes + _LIMIT  # of the other the newest signals are left
    assert selectors.signals(SignalFilter(), limit=1).rows == first
