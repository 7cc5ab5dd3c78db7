"""Live candles stand in a journal beside their file for a while, and are stored as well as any there."""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from markets.candles import Candles, Flow, Gap
from markets.errors import OvertakenError
from markets.series import SeriesKey
from markets.store import CandleStore, Source, files
from markets.store import shelf as shelf_module
from markets.store.disk import Disk, append, empty
from markets.store.journal import ROW_BYTES, pack
from markets.store.shelf import Shelf
from tests.factories import walk
from tests.markets.store.disks import MINUTE, SEED, everything, folder, oracle, same

HOUR = SeriesKey.of("BTCUSDT", "1h")
FILED, STORED = 50, 55
DAY = "2023-11-14"


def filed(root: Path, name: str = DAY) -> Candles:
    """Return what the Parquet file alone holds."""
    data = (folder(CandleStore(root)) / f"{name}.parquet").read_bytes()
    return files.decode(data, MINUTE).candles


def journal(root: Path, name: str = DAY) -> Path:
    return folder(CandleStore(root)) / f".{name}.journal"


def live(store: CandleStore, candles: Candles, start: int, stop: int, series: SeriesKey = MINUTE) -> None:
    """Let candles close one after the other."""
    for at in range(start, stop):
        assert store.merge(series, candles.take(slice(at, at + 1)), source=Source.STREAM).added == 1


@pytest.fixture
def candles(tmp_path: Path) -> Candles:
    """All candles of the test; those up to ``FILED`` are in a file, those up to ``STORED`` in its journal."""
    whole = oracle(200)
    CandleStore(tmp_path).merge(MINUTE, whole.first(FILED), source=Source.ARCHIVE)
    live(CandleStore(tmp_path), whole, FILED, STORED)
    return whole


def test_candles_in_a_journal_are_read_with_those_in_the_file(tmp_path: Path, candles: Candles) -> None:
    store = CandleStore(tmp_path)
    assert same(filed(tmp_path), candles.first(FILED))
    assert journal(tmp_path).stat().st_size == (STORED - FILED) * ROW_BYTES
    assert same(everything(store), candles.first(STORED))
    assert same(store.newest(MINUTE, 3), candles.take(slice(STORED - 3, STORED)))
    assert store.last_time(MINUTE) == candles.open_time[STORED - 1]
    coverage = store.coverage(MINUTE)
    assert coverage is not None
    assert (coverage.count, coverage.gaps) == (STORED, ())
    assert store.verify().problems == ()
    assert store.verify().candles == STORED


def test_what_the_exchange_tells_beside_the_prices_is_kept_in_a_journal_too(tmp_path: Path) -> None:
    whole = oracle(60)
    flow = Flow(*np.random.default_rng(SEED).uniform(1, 9, (4, 60)))
    store = CandleStore(tmp_path)
    store.merge(MINUTE, whole.with_flow(flow).first(50), source=Source.ARCHIVE)
    live(store, whole.with_flow(flow), 50, 55)
    live(store, whole, 55, 56)
    for _ in range(2):
        found = CandleStore(tmp_path).read(MINUTE, start=None, end=None, with_flow=True)
        assert found.flow is not None
        assert np.array_equal(found.flow.trades[:55], flow.trades[:55])
        assert np.isnan(found.flow.trades[55])
        store.fold(MINUTE)


def test_a_fold_writes_the_file_and_changes_nothing_that_is_read(tmp_path: Path, candles: Candles) -> None:
    store, reader = CandleStore(tmp_path), CandleStore(tmp_path)
    before = reader.version(MINUTE)
    store.fold(MINUTE)
    assert journal(tmp_path).stat().st_size == 0
    assert same(filed(tmp_path), candles.first(STORED))
    assert same(everything(reader), candles.first(STORED))
    assert reader.version(MINUTE) == before
    written = (folder(store) / f"{DAY}.parquet").stat().st_ino
    store.fold(MINUTE)
    assert (folder(store) / f"{DAY}.parquet").stat().st_ino == written
    live(store, candles, STORED, STORED + 2)
    assert same(everything(reader), candles.first(STORED + 2))


def test_a_store_that_knew_the_series_sees_each_candle_that_another_appends(tmp_path: Path, candles: Candles) -> None:
    writer, reader = CandleStore(tmp_path), CandleStore(tmp_path)
    # A folder that was quiet for long is trusted to be as it was; an append does not change the folder.
    os.utime(folder(reader), (1_700_000_000, 1_700_000_000))
    for at in range(STORED, STORED + 20):
        seen = reader.version(MINUTE)
        assert reader.version(MINUTE) == seen
        live(writer, candles, at, at + 1)
        assert reader.version(MINUTE) == (int(candles.open_time[at]), seen[1])
        assert reader.last_time(MINUTE) == candles.open_time[at]


def test_a_file_read_before_its_journal_was_emptied_hides_no_candle_that_comes_next(
    tmp_path: Path, candles: Candles
) -> None:
    """Its journal is as long again with the next candle as it was with the one that the file has by now."""
    writer, reader = CandleStore(tmp_path), CandleStore(tmp_path)
    writer.fold(MINUTE)
    live(writer, candles, STORED, STORED + 1)
    entry = journal(tmp_path).read_bytes()
    writer.fold(MINUTE)
    journal(tmp_path).write_bytes(entry)
    assert same(everything(reader), candles.first(STORED + 1))
    journal(tmp_path).write_bytes(b"")
    live(CandleStore(tmp_path), candles, STORED + 1, STORED + 2)
    assert journal(tmp_path).stat().st_size == len(entry)
    assert same(everything(reader), candles.first(STORED + 2))


class _WatchedDisk(Disk):
    """Calls ``look`` before and after whatever changes the disk."""

    look: Callable[[], None]

    def _looked(self, change: Callable[..., Any], *arguments: Any) -> Any:
        self.look()
        try:
            return change(*arguments)
        finally:
            self.look()

    def replace(self, source: Path, target: Path) -> None:
        self._looked(super().replace, source, target)

    def truncate(self, handle: int, size: int) -> None:
        self._looked(super().truncate, handle, size)

    def unlink(self, path: Path) -> None:
        self._looked(super().unlink, path)


def test_whoever_reads_during_a_fold_or_a_merge_of_days_sees_every_candle(tmp_path: Path) -> None:
    series = SeriesKey.of("BTCUSDT", "15m")
    whole = walk(SEED, 400, timeframe=series.timeframe, start=1_700_006_400_000)
    disk, looks = _WatchedDisk(), 0
    store, knowing = CandleStore(tmp_path, disk=disk), CandleStore(tmp_path)

    def shelf() -> Shelf:
        return CandleStore(tmp_path)._shelf(series)

    def look() -> None:
        nonlocal looks
        looks += 1
        for reader in (CandleStore(tmp_path), knowing):
            found = everything(reader, series)
            assert same(found, whole.first(len(found)))
            assert len(found) >= stored
            assert len(reader.newest(series, 5)) == min(5, len(found))
        # One who has listed the files before this change, and reads them only now.
        with contextlib.suppress(FileNotFoundError):
            late = shelf().read(files_before, start=None, end=None, with_flow=False)
            assert len(late) >= known_before

    disk.look, stored, files_before, known_before = lambda: None, 0, {}, 0
    for at in range(0, 400, 4):
        files_before, known_before = shelf().files(), stored
        disk.look = look
        store.merge(series, whole.take(slice(at, at + 4)), source=Source.STREAM)
        stored = at + 4
        if at == 40:
            store.fold(series)
    assert looks > 20


def test_no_month_is_written_while_a_live_candle_is_stored(tmp_path: Path) -> None:
    series = SeriesKey.of("BTCUSDT", "15m")
    whole, store = walk(SEED, 300, timeframe=series.timeframe, start=1_700_006_400_000), CandleStore(tmp_path)
    for at in range(190):
        store.merge(series, whole.take(slice(at, at + 1)), source=Source.STREAM)
        assert not list(folder(store, series).glob("????-??.parquet"))
    store.fold(series)
    months = list(folder(store, series).glob("????-??.parquet"))
    assert [each.name for each in months] == ["2023-11.parquet"]
    assert same(everything(CandleStore(tmp_path), series), whole.first(190))


@pytest.mark.parametrize("name", ["_lengths", "identity", "read_journal", "read"])
def test_a_fold_between_any_two_looks_at_the_disk_hides_no_candle(
    tmp_path: Path, candles: Candles, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    writer, reader = CandleStore(tmp_path), CandleStore(tmp_path)
    look_at = getattr(shelf_module, name)
    stored = STORED

    def looked_at(*arguments: Any) -> Any:
        with monkeypatch.context() as undone:
            undone.setattr(shelf_module, name, look_at)
            writer.fold(MINUTE)
            found = look_at(*arguments)
            live(writer, candles, stored, stored + 1)
            writer.fold(MINUTE)
        return found

    for stored in range(STORED, STORED + 20, 2):
        # What it knows of the file as it was before, with nothing in its journal, must not serve it now.
        writer.fold(MINUTE)
        everything(reader)
        live(writer, candles, stored, stored + 1)
        stored += 1  # noqa: PLW2901
        with monkeypatch.context() as patch:
            patch.setattr(shelf_module, name, looked_at)
            assert len(everything(reader)) >= stored


@pytest.mark.parametrize("source", [Source.REST, Source.ARCHIVE])
def test_a_correction_of_a_candle_in_a_journal_is_what_is_read_from_then_on(
    tmp_path: Path, candles: Candles, source: Source
) -> None:
    store, old = CandleStore(tmp_path), journal(tmp_path).read_bytes()
    changed = candles.candle(STORED - 2)._replace(volume=7.5)
    merged = store.merge(MINUTE, Candles.of([changed]), source=source)
    assert [(each.before, each.after) for each in merged.revised] == [(candles.candle(STORED - 2), changed)]
    assert store.edit(MINUTE) == 1
    # A power cut may bring back what was taken out of a journal.
    journal(tmp_path).write_bytes(old)
    for each in (store, CandleStore(tmp_path)):
        assert everything(each).candle(STORED - 2) == changed
        assert len(everything(each)) == STORED
        live(each, candles, STORED, STORED + 1)
        assert len(everything(each)) == STORED + 1
        shutil.rmtree(folder(store))
        each.merge(MINUTE, Candles.of([*candles.first(STORED - 2), changed]), source=Source.REST)
        live(each, candles, STORED - 1, STORED)


def test_a_stream_never_changes_a_candle_in_a_journal(tmp_path: Path, candles: Candles) -> None:
    store = CandleStore(tmp_path)
    changed = candles.candle(STORED - 2)._replace(volume=7.5)
    assert store.merge(MINUTE, Candles.of([changed]), source=Source.STREAM).unchanged == 1
    assert same(everything(store), candles.first(STORED))


def test_only_what_a_stream_tells_goes_into_a_journal(tmp_path: Path) -> None:
    whole, store = oracle(10), CandleStore(tmp_path)
    for at, source in enumerate((Source.FILE, Source.REST, Source.ARCHIVE, Source.FILE, Source.REST)):
        store.merge(MINUTE, whole.take(slice(at, at + 1)), source=source)
    assert not journal(tmp_path).exists()
    # Out of order it cannot stand there: the file has to be written anew.
    store.merge(MINUTE, whole.take(slice(7, 8)), source=Source.STREAM)
    store.merge(MINUTE, whole.take(slice(6, 7)), source=Source.STREAM)
    assert same(filed(tmp_path), whole.take(np.array([0, 1, 2, 3, 4, 6, 7])))
    assert journal(tmp_path).stat().st_size == 0


def test_a_journal_of_a_month_is_counted_with_its_month(tmp_path: Path) -> None:
    whole, store = walk(SEED, 200, timeframe=HOUR.timeframe), CandleStore(tmp_path)
    store.merge(HOUR, whole.first(100), source=Source.ARCHIVE)
    live(store, whole, 100, 104, HOUR)
    for each in (store, CandleStore(tmp_path)):
        coverage = each.coverage(HOUR)
        assert coverage is not None
        assert (coverage.count, coverage.last) == (104, whole.open_time[103])
    store.fold(HOUR)
    assert store.verify().problems == ()
    manifest = (folder(store, HOUR) / ".manifest.json").read_text()
    assert '"rows": 104' in manifest


def test_a_changed_bit_in_a_journal_is_never_served_and_costs_what_stands_behind_it(
    tmp_path: Path, candles: Candles
) -> None:
    rng, sound = np.random.default_rng(8), journal(tmp_path).read_bytes()
    for place in rng.integers(0, len(sound) * 8, 200).tolist():
        damaged = bytearray(sound)
        damaged[place // 8] ^= 1 << place % 8
        journal(tmp_path).write_bytes(damaged)
        found = everything(CandleStore(tmp_path))
        whole_rows = place // 8 // ROW_BYTES
        assert same(found, candles.first(FILED + whole_rows)), f"bit {place}"
    (problem,) = CandleStore(tmp_path).verify().problems
    assert (problem.file, problem.reason) == (f"{DAY}.parquet", "the journal beside it ends in what is no candle")
    # The next who writes keeps what is sound; the rest is missing, told so, and fetched again.
    store, lost = CandleStore(tmp_path), FILED + whole_rows
    assert not store.merge(MINUTE, candles.take(slice(STORED, STORED + 1)), source=Source.STREAM).is_append
    coverage = store.coverage(MINUTE)
    assert coverage is not None
    assert coverage.gaps == (Gap(int(candles.open_time[lost]), int(candles.open_time[STORED])),)
    assert store.edit(MINUTE) == 1
    assert store.merge(MINUTE, candles.first(STORED), source=Source.REST).added == STORED - lost
    assert same(everything(CandleStore(tmp_path)), candles.first(STORED + 1))
    assert store.verify().problems == ()


def test_a_journal_cut_at_any_byte_keeps_its_whole_candles_and_goes_on(tmp_path: Path, candles: Candles) -> None:
    sound = journal(tmp_path).read_bytes()
    for size in range(0, len(sound), 7):
        root = tmp_path / f"cut{size}"
        shutil.copytree(tmp_path / "candles", root / "candles")
        journal(root).write_bytes(sound[:size])
        whole_rows = FILED + size // ROW_BYTES
        store = CandleStore(root)
        assert same(everything(store), candles.first(whole_rows))
        live(store, candles, whole_rows, whole_rows + 3)
        assert same(everything(CandleStore(root)), candles.first(whole_rows + 3))
        assert CandleStore(root).verify().problems == ()
        shutil.rmtree(root)


def test_recovery_writes_journals_into_their_files_and_removes_them(tmp_path: Path, candles: Candles) -> None:
    place = folder(CandleStore(tmp_path))
    shutil.copy(journal(tmp_path), place / ".2023-11-20.journal")
    store = CandleStore(tmp_path)
    # A journal without its file is nobody's.
    assert same(everything(store), candles.first(STORED))
    store.clear_up()
    assert list(place.glob(".*.journal")) == []
    assert same(filed(tmp_path), candles.first(STORED))
    assert same(everything(store), candles.first(STORED))
    live(store, candles, STORED, STORED + 2)
    assert same(everything(CandleStore(tmp_path)), candles.first(STORED + 2))


def test_what_a_writer_added_that_was_late_to_notice_it_lost_its_lock_is_read_once(
    tmp_path: Path, candles: Candles
) -> None:
    with journal(tmp_path).open("ab") as file:
        file.write(pack(candles.take(slice(STORED - 2, STORED))))
        file.write(pack(candles.take(slice(STORED, STORED + 1))))
    assert same(everything(CandleStore(tmp_path)), candles.first(STORED + 1))
    live(CandleStore(tmp_path), candles, STORED + 1, STORED + 2)
    assert same(everything(CandleStore(tmp_path)), candles.first(STORED + 2))


def test_nothing_is_appended_to_a_journal_that_another_writes_to(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one and another")
    with pytest.raises(OvertakenError, match="another process writes to"):
        append(Disk(), path, b"more", at=3, confirm=lambda: None)
    empty(Disk(), path, at=3, confirm=lambda: None)
    assert path.read_bytes() == b"one and another"


def test_the_journal_of_a_damaged_file_goes_with_it_and_all_is_fetched_again(tmp_path: Path, candles: Candles) -> None:
    path = folder(CandleStore(tmp_path)) / f"{DAY}.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    store = CandleStore(tmp_path)
    assert len(everything(store)) == 0
    assert len(store.set_aside()) == 1
    assert not journal(tmp_path).exists()
    assert store.merge(MINUTE, candles.first(STORED), source=Source.REST).added == STORED
    assert same(everything(CandleStore(tmp_path)), candles.first(STORED))
    assert store.verify().problems == ()
