"""A writer that finds a series as its process left it looks less; whatever happened in between, it misses nothing."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from markets.candles import Candle, Candles
from markets.store import CandleStore, Source
from markets.store.layout import LOCK
from tests.markets.store.disks import MINUTE, SEED, everything, folder, oracle, same


def told(store: CandleStore, candles: Candles, start: int, stop: int | None = None) -> int:
    """Let a stream tell candles; return how many were new."""
    part = candles.take(slice(start, start + 1 if stop is None else stop))
    return store.merge(MINUTE, part, source=Source.STREAM).added


@pytest.mark.parametrize("run", range(4))
def test_two_stores_that_take_turns_lose_nothing_of_each_other(tmp_path: Path, run: int) -> None:
    """Any order of appends, corrections, folds, tidying and older candles, over two midnights."""
    seed = SEED + run
    print("seed", seed)
    rng = np.random.default_rng(seed)
    whole = oracle(3_000)
    stores = [CandleStore(tmp_path), CandleStore(tmp_path)]
    expected: dict[int, Candle] = {}
    at = 1_400

    def merge(store: CandleStore, candles: Candles, source: Source) -> None:
        merged = store.merge(MINUTE, candles, source=source)
        expected.update((each.open_time, each) for each in candles)
        assert merged.edit == store.edit(MINUTE) == CandleStore(tmp_path).edit(MINUTE)

    merge(stores[0], whole.take(slice(1_300, at)), Source.ARCHIVE)
    for _ in range(120):
        store = stores[rng.integers(2)]
        chance = rng.random()
        if chance < 0.7:
            count = int(rng.choice([1, 1, 1, 40]))
            merge(store, whole.take(slice(at, at + count)), Source.STREAM)
            at += count
        elif chance < 0.8:
            place = int(rng.integers(1_300, at))
            revised = Candles.of([whole.candle(place)._replace(volume=float(rng.random()))])
            merge(store, revised, Source.REST)
        elif chance < 0.85:
            low = int(rng.integers(0, 1_300))
            older = whole.take(slice(low, low + 20))
            merge(store, Candles.of(each for each in older if each.open_time not in expected), Source.REST)
        elif chance < 0.95:
            store.fold(MINUTE)
        else:
            store.clear_up()
        assert same(everything(stores[rng.integers(2)]), Candles.of(expected[time] for time in sorted(expected)))
    assert CandleStore(tmp_path).verify().problems == ()


def _remove_newest_file(place: Path) -> None:
    max(place.glob("*.parquet")).unlink()


def _remove_journal(place: Path) -> None:
    next(place.glob(".*.journal")).unlink()


def _cut_journal(place: Path) -> None:
    journal = next(place.glob(".*.journal"))
    journal.write_bytes(journal.read_bytes()[:-5])


def _damage_newest_file(place: Path) -> None:
    newest = max(place.glob("*.parquet"))
    newest.write_bytes(newest.read_bytes()[:-40] + bytes(40))


def _remove_folder(place: Path) -> None:
    for path in place.iterdir():
        path.unlink()
    place.rmdir()


@pytest.mark.parametrize(
    ("by_hand", "kept"),
    [
        pytest.param(lambda _: None, slice(0, 61), id="nothing"),
        pytest.param(_remove_newest_file, slice(60, 61), id="newest file removed"),
        pytest.param(_remove_journal, [*range(50), 60], id="journal removed"),
        pytest.param(_cut_journal, [*range(59), 60], id="journal cut"),
        pytest.param(_damage_newest_file, slice(60, 61), id="newest file damaged"),
        pytest.param(_remove_folder, slice(60, 61), id="folder removed"),
    ],
)
def test_what_a_hand_did_between_two_live_candles_is_seen_by_the_second(
    tmp_path: Path, by_hand: Callable[[Path], None], kept: slice | list[int]
) -> None:
    candles, store = oracle(61), CandleStore(tmp_path)
    store.merge(MINUTE, candles.first(50), source=Source.ARCHIVE)
    assert told(store, candles, 50, 60) == 10
    by_hand(folder(store))
    assert told(store, candles, 60) == 1
    left = candles.take(kept if isinstance(kept, slice) else np.array(kept))
    assert same(everything(store), left)
    assert same(everything(CandleStore(tmp_path)), left)
    assert store.verify().problems == ()


def test_a_month_put_there_by_hand_is_seen_by_the_next_live_candle(tmp_path: Path) -> None:
    candles, store, other = oracle(61), CandleStore(tmp_path / "here"), CandleStore(tmp_path / "other")
    store.merge(MINUTE, candles.first(50), source=Source.ARCHIVE)
    assert told(store, candles, 50, 60) == 10
    corrected = Candles.of(each._replace(volume=each.volume + 1) for each in candles)
    later = corrected.candle(0)._replace(open_time=int(corrected.open_time[0]) + 40 * 86_400_000)
    # The newest day has a file of its own, until the next one has begun.
    other.merge(MINUTE, corrected, source=Source.ARCHIVE)
    other.merge(MINUTE, Candles.of([later]), source=Source.ARCHIVE)
    other.clear_up()
    month = min(folder(other).glob("*.parquet"))
    (folder(store) / month.name).write_bytes(month.read_bytes())
    assert told(store, candles, 60) == 0


def test_a_clock_that_stands_still_hides_no_other_writer(tmp_path: Path) -> None:
    candles, store, other = oracle(3_000), CandleStore(tmp_path), CandleStore(tmp_path)
    store.merge(MINUTE, candles.first(2_000), source=Source.ARCHIVE)
    assert told(store, candles, 2_000) == 1
    stood_at = folder(store).stat().st_mtime_ns
    revised = Candles.of([candles.candle(3)._replace(volume=7.0)])
    edit = other.merge(MINUTE, revised, source=Source.REST).edit
    # As where a file system's clock ticks in seconds.
    os.utime(folder(store), ns=(stood_at, stood_at))
    assert store.merge(MINUTE, candles.take(slice(2_001, 2_002)), source=Source.STREAM).edit == edit


def test_a_live_candle_that_finds_all_as_it_was_left_lists_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candles, store = oracle(80), CandleStore(tmp_path)
    store.merge(MINUTE, candles.first(60), source=Source.ARCHIVE)
    listed: list[str] = []
    list_folder = os.listdir

    def note(path: str) -> list[str]:
        listed.append(path)
        return list_folder(path)

    monkeypatch.setattr(os, "listdir", note)
    for at in range(60, 70):
        told(store, candles, at)
    assert listed == []
    # Whoever held the series meanwhile gave its lock another sign.
    told(CandleStore(tmp_path), candles, 70)
    listed.clear()
    told(store, candles, 71)
    assert listed
    sign = (folder(store) / LOCK).stat().st_mtime_ns
    told(store, candles, 72)
    assert (folder(store) / LOCK).stat().st_mtime_ns != sign
