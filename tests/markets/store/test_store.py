"""What the store gives back is what it was given: each candle once, in order, whatever the way it came."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from markets.candles import Candle, Candles, Flow, Gap, join
from markets.errors import InvalidCandlesError
from markets.series import SeriesKey, Timeframe
from markets.store import CandleStore, Source
from markets.store.shelf import Shelf
from tests.factories import nasty_walk, walk
from tests.markets.store.disks import MINUTE, folder, oracle, same

STEP = 60_000
FULL = os.environ.get("SMC_FULL") == "1"


def stored(store: CandleStore, series: SeriesKey = MINUTE) -> Candles:
    return store.read(series, start=None, end=None)


def with_close(candles: Candles, index: int, close: float) -> Candles:
    closes, highs, lows = candles.close.copy(), candles.high.copy(), candles.low.copy()
    closes[index] = close
    highs[index], lows[index] = max(highs[index], close), min(lows[index], close)
    return replace(candles, close=closes, high=highs, low=lows)


def test_an_empty_store_has_nothing_and_makes_no_folder(tmp_path: Path) -> None:
    store = CandleStore(tmp_path / "data")
    assert store.series() == []
    assert len(stored(store)) == 0
    assert store.newest(MINUTE, 5).open_time.tolist() == []
    assert store.last_time(MINUTE) is None
    assert store.coverage(MINUTE) is None
    assert store.edit(MINUTE) == 0
    assert store.verify().problems == ()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("timeframe", list(Timeframe))
def test_candles_come_back_as_they_were_stored(tmp_path: Path, timeframe: Timeframe) -> None:
    series = SeriesKey("ETHUSDT", timeframe)
    candles = walk(1, 900, timeframe=timeframe)
    store = CandleStore(tmp_path)
    merged = store.merge(series, candles, source=Source.ARCHIVE)
    assert (merged.added, merged.unchanged, merged.revised, merged.is_append) == (900, 0, (), True)
    for reader in (store, CandleStore(tmp_path)):
        assert same(stored(reader, series), candles)
        assert reader.last_time(series) == candles.open_time[-1]
        assert reader.series() == [series]
        assert reader.verify().problems == ()


@pytest.mark.parametrize("timeframe", [Timeframe.M1, Timeframe.M15, Timeframe.H1])
@pytest.mark.parametrize("seed", range(20 if FULL else 2))
def test_any_sequence_of_merges_does_what_a_table_would(tmp_path: Path, seed: int, timeframe: Timeframe) -> None:
    rng = np.random.default_rng(seed)
    series = SeriesKey("BTCUSDT", timeframe)
    whole = walk(seed, 4000, timeframe=timeframe)
    whole = whole.take(np.sort(rng.choice(4000, 3500, replace=False)))
    store, table, edit = CandleStore(tmp_path), dict[int, Candle](), 0
    for turn in range(40 if FULL else 14):
        low = int(rng.integers(0, 3500))
        piece = whole.take(slice(low, low + int(rng.choice([1, 5, 400, 2000]))))
        if rng.random() < 0.4:
            piece = with_close(piece, int(rng.integers(len(piece))), float(rng.integers(90, 110)))
        source = list(Source)[rng.integers(4)]

        last = max(table, default=None)
        new = [each for each in piece if each.open_time not in table]
        revised = [each for each in piece if table.get(each.open_time, each) != each and source.corrects]
        is_append = last is None or (not revised and all(each.open_time > last for each in new))
        told = [(each.open_time, table[each.open_time], each) for each in revised]
        table.update((each.open_time, each) for each in [*new, *revised])

        merged = store.merge(series, piece, source=source)
        assert (merged.added, merged.unchanged) == (len(new), len(piece) - len(new) - len(revised))
        assert list(merged.revised) == told
        assert merged.is_append == is_append
        edit += not is_append
        assert store.edit(series) == edit
        if turn % 6 == 5:
            store.clear_up()
            store = CandleStore(tmp_path)
            assert store.edit(series) == edit
        assert [*stored(store, series)] == [table[time] for time in sorted(table)]
    assert store.verify().problems == ()


def test_ranges_are_half_open_and_may_be_open(tmp_path: Path) -> None:
    candles = oracle(4000)
    store = CandleStore(tmp_path)
    store.merge(MINUTE, candles, source=Source.REST)
    times = candles.open_time
    for low, high in ((0, 10), (100, 2900), (2879, 2881), (3999, 4000), (5, 5)):
        found = store.read(MINUTE, start=int(times[low]), end=int(times[high]) if high < 4000 else None)
        assert same(found, candles.take(slice(low, high)))
    assert len(store.read(MINUTE, start=int(times[10]), end=int(times[3]))) == 0
    assert len(store.read(MINUTE, start=int(times[-1]) + 1, end=None)) == 0


@pytest.mark.parametrize("count", [0, 1, 7, 1439, 1441, 2879, 50_000])
def test_newest_is_the_end_of_what_is_stored(tmp_path: Path, count: int) -> None:
    candles = nasty_walk(3, 5000)
    store = CandleStore(tmp_path)
    for low in range(0, 5000, 1000):
        store.merge(MINUTE, candles.take(slice(low, low + 1000)), source=Source.STREAM)
    assert same(store.newest(MINUTE, count), candles.take(slice(max(0, 5000 - count), None)))
    before = int(candles.open_time[3210])
    assert same(store.newest(MINUTE, count, before=before), candles.take(slice(max(0, 3210 - count), 3210)))


def test_newest_sees_a_gap_filled_between_two_day_files(tmp_path: Path) -> None:
    # The day between has no file of its own when it is filled: it goes to the month, which then ends after a day file.
    days = oracle(5 * 1440, start=Timeframe.D1.ceil(1_700_000_000_000))
    store = CandleStore(tmp_path)
    for day in (0, 1, 3):
        for low in range(day * 1440, day * 1440 + 60, 20):
            store.merge(MINUTE, days.take(slice(low, low + 20)), source=Source.STREAM)
    assert len(list(folder(store).glob("*-*-*.parquet"))) >= 2
    store.merge(MINUTE, days.take(slice(2 * 1440, 2 * 1440 + 60)), source=Source.REST)
    expected = join([days.take(slice(day * 1440, day * 1440 + 60)) for day in range(4)])
    for count in (1, 59, 60, 61, 119, 121, 181, 240):
        assert same(store.newest(MINUTE, count), expected.take(slice(240 - count, None)))
    assert same(stored(store), expected)


def test_what_is_read_may_be_written_to(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.merge(MINUTE, oracle(3000), source=Source.REST)
    for _ in range(2):
        for found in (stored(store), store.newest(MINUTE, 5), store.read(MINUTE, start=None, end=None, with_flow=True)):
            found.close[:] = 1.0
    assert same(stored(store), oracle(3000))


def test_what_was_stored_is_not_changed_by_its_caller_afterwards(tmp_path: Path) -> None:
    store, mine = CandleStore(tmp_path), oracle(3000)
    store.merge(MINUTE, mine, source=Source.REST)
    mine.close[:] = 1.0
    assert same(stored(store), oracle(3000))


@pytest.mark.parametrize(
    ("source", "believed"), [("rest", True), ("archive", True), ("stream", False), ("file", False)]
)
def test_only_the_exchange_s_final_word_corrects_a_stored_candle(
    tmp_path: Path, source: str, *, believed: bool
) -> None:
    candles, store = oracle(100), CandleStore(tmp_path)
    store.merge(MINUTE, candles, source=Source.STREAM)
    other = with_close(candles, 40, 55.5)
    merged = store.merge(MINUTE, other.take(slice(30, 50)), source=Source(source))
    assert merged.added == 0
    if not believed:
        assert (merged.unchanged, merged.revised, merged.is_append) == (20, (), True)
        assert store.edit(MINUTE) == 0
        assert same(stored(store), candles)
        return
    assert merged.unchanged == 19
    assert not merged.is_append
    (revised,) = merged.revised
    assert revised == (int(candles.open_time[40]), candles.candle(40), other.candle(40))
    assert isinstance(revised.before, Candle)
    assert store.edit(MINUTE) == CandleStore(tmp_path).edit(MINUTE) == 1
    assert same(stored(store), other)


def test_edit_rises_with_the_past_and_not_with_the_present(tmp_path: Path) -> None:
    candles, store = oracle(5000), CandleStore(tmp_path)
    parts = {name: candles.take(where) for name, where in _parts().items()}
    edits = []
    for name in ("middle", "after", "same", "hole", "before"):
        merged = store.merge(MINUTE, parts[name], source=Source.REST)
        edits.append(store.edit(MINUTE))
        assert CandleStore(tmp_path).edit(MINUTE) == edits[-1]
        assert merged.is_append == (name in {"middle", "after", "same"})
    assert edits == [0, 0, 0, 1, 2]
    assert same(stored(store), candles)


def test_version_is_last_time_and_edit_however_soon_one_asks(tmp_path: Path) -> None:
    candles, store, other = oracle(60), CandleStore(tmp_path), CandleStore(tmp_path)
    assert store.version(MINUTE) == (None, 0)
    seen = set()
    for count in range(1, 61):
        writer = store if count % 2 else other
        writer.merge(MINUTE, candles.take(slice(count - 1, count)), source=Source.STREAM)
        if count % 3 == 0:
            # As if nothing had been written for long: only now is what was read worth keeping.
            os.utime(folder(store), (count, count))
        assert store.version(MINUTE) == (store.last_time(MINUTE), store.edit(MINUTE))
        seen.add(store.version(MINUTE))
    assert len(seen) == 60
    before = store.version(MINUTE)
    other.merge(MINUTE, with_close(candles, 5, candles.close[5] + 1.0), source=Source.REST)
    assert store.version(MINUTE) > before


def test_version_of_a_folder_that_is_as_it_was_looks_at_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CandleStore(tmp_path)
    store.merge(MINUTE, oracle(60), source=Source.REST)
    os.utime(folder(store), (1, 1))
    version = store.version(MINUTE)
    monkeypatch.setattr(Shelf, "files", lambda _: pytest.fail("it looked"))
    assert store.version(MINUTE) == version


def _parts() -> dict[str, slice]:
    return {
        "before": slice(0, 1000),
        "middle": slice(1000, 2000),
        "hole": slice(2000, 2500),
        "after": slice(2500, 5000),
        "same": slice(1500, 1600),
    }


def test_what_the_exchange_tells_beside_is_kept_and_filled_in_later(tmp_path: Path) -> None:
    candles, store = oracle(50), CandleStore(tmp_path)
    numbers = np.arange(50, dtype=np.float64)
    flow = Flow(numbers, numbers + 1, numbers + 2, numbers + 3)
    store.merge(MINUTE, candles, source=Source.STREAM)
    assert np.isnan(store.read(MINUTE, start=None, end=None, with_flow=True).flow.trades).all()  # type: ignore[union-attr]
    merged = store.merge(MINUTE, replace(candles, flow=flow).take(slice(10, 50)), source=Source.FILE)
    assert (merged.added, merged.unchanged, merged.is_append) == (0, 40, True)
    for reader in (store, CandleStore(tmp_path)):
        found = reader.read(MINUTE, start=None, end=None, with_flow=True)
        assert found.flow is not None
        assert np.isnan(found.flow.trades[:10]).all()
        assert found.flow.taker_buy_quote[10:].tolist() == (numbers[10:] + 3).tolist()
        assert stored(reader).flow is None
        assert same(found, candles)
    assert store.edit(MINUTE) == 0


def test_coverage_counts_and_names_gaps_within_and_between_files(tmp_path: Path) -> None:
    candles, store = oracle(45 * 1440), CandleStore(tmp_path)
    keep = np.ones(len(candles), np.bool_)
    holes = ((5, 6), (1430, 1450), (20_000, 43_000), (64_000, 64_001))
    for low, high in holes:
        keep[low:high] = False
    store.merge(MINUTE, candles.take(keep), source=Source.ARCHIVE)
    times = candles.open_time
    expected = [Gap(int(times[low]), int(times[high])) for low, high in holes]
    for reader in (store, CandleStore(tmp_path)):
        coverage = reader.coverage(MINUTE)
        assert coverage is not None
        assert (coverage.first, coverage.last, coverage.count) == (times[0], times[-1], keep.sum())
        assert list(coverage.gaps) == expected
    store.merge(MINUTE, candles, source=Source.ARCHIVE)
    assert store.coverage(MINUTE).gaps == ()  # type: ignore[union-attr]


def test_coverage_of_a_known_store_opens_no_month(tmp_path: Path) -> None:
    CandleStore(tmp_path).merge(MINUTE, oracle(100 * 1440), source=Source.ARCHIVE)
    store = CandleStore(tmp_path)
    for month in folder(store).glob("????-??.parquet"):
        status = month.stat()
        with month.open("r+b") as file:  # to every look but into it the same file
            file.write(bytes(status.st_size))
        os.utime(month, ns=(status.st_atime_ns, status.st_mtime_ns))
    coverage = store.coverage(MINUTE)
    assert coverage is not None
    assert coverage.count == 144_000
    assert store.set_aside() == []


def test_digest_tells_contents_apart_and_nothing_else(tmp_path: Path) -> None:
    candles = oracle(3000)
    one, other = CandleStore(tmp_path / "a"), CandleStore(tmp_path / "b")
    one.merge(MINUTE, candles, source=Source.ARCHIVE)
    for low in range(0, 3000, 500):
        other.merge(MINUTE, candles.take(slice(low, low + 500)), source=Source.STREAM)
    start, end = int(candles.open_time[10]), int(candles.open_time[2990])
    digest = one.digest(MINUTE, start=start, end=end)
    assert digest == other.digest(MINUTE, start=start, end=end)
    assert digest != one.digest(MINUTE, start=start, end=end - STEP)
    other.merge(MINUTE, with_close(candles, 1500, 50.0), source=Source.REST)
    assert digest != other.digest(MINUTE, start=start, end=end)
    assert one.digest(MINUTE, start=start - STEP * 100, end=start - STEP * 50) == one.digest(MINUTE, start=0, end=1)


@pytest.mark.parametrize("times", [[1_700_000_040_001], [-60_000], [1_700_000_040_000_000], [4_102_444_800_000]])
def test_times_that_cannot_be_are_refused(tmp_path: Path, times: list[int]) -> None:
    one = np.ones(1)
    store = CandleStore(tmp_path)
    with pytest.raises(InvalidCandlesError, match="times"):
        store.merge(MINUTE, Candles(np.array(times), one, one, one, one, one), source=Source.REST)
    assert store.series() == []


def test_the_newest_day_stands_apart_until_it_is_over(tmp_path: Path) -> None:
    start = Timeframe.D1.ceil(1_700_000_000_000)
    candles, store = oracle(4 * 1440, start=start), CandleStore(tmp_path)
    names = set()
    for low in range(0, 4 * 1440, 60):
        store.merge(MINUTE, candles.take(slice(low, low + 60)), source=Source.STREAM)
        files = [path.name for path in folder(store).glob("*.parquet")]
        names.update(files)
        assert len(files) <= 3
    assert sorted(names) == [
        "2023-11-15.parquet",
        "2023-11-16.parquet",
        "2023-11-17.parquet",
        "2023-11-18.parquet",
        "2023-11.parquet",
    ]
    assert same(stored(store), candles)
    store.clear_up()
    assert sorted(path.name for path in folder(store).glob("*.parquet")) == ["2023-11-18.parquet", "2023-11.parquet"]
    assert same(stored(CandleStore(tmp_path)), candles)


def test_days_that_go_into_their_month_leave_the_memory(tmp_path: Path) -> None:
    store, candles = CandleStore(tmp_path), oracle(5000)
    for low in range(0, len(candles), 500):
        store.merge(MINUTE, candles.take(slice(low, low + 500)), source=Source.STREAM)
    store.clear_up()
    (day,) = folder(store).glob("????-??-??.parquet")
    assert store.cache.bytes == 10 * 8 * pq.read_metadata(day).num_rows
    assert same(stored(store), candles)
