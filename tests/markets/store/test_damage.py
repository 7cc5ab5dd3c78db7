"""Files that are damaged, foreign, of another version or gone are found, put away, and never served."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from markets.candles import COLUMNS, Candles, Gap
from markets.errors import StoreError
from markets.series import SeriesKey
from markets.store import CandleStore, Source, files
from markets.store.layout import MANIFEST
from tests.markets.store.disks import MINUTE, everything, folder, leftovers, oracle, same

FULL = os.environ.get("SMC_FULL") == "1"


def filled(root: Path, n: int = 3000) -> tuple[CandleStore, Candles]:
    """Return a new view of a store of a month file (2023-11) and a day file (2023-11-17), and its candles."""
    candles = oracle(n)
    CandleStore(root).merge(MINUTE, candles, source=Source.ARCHIVE)
    return CandleStore(root), candles


@pytest.mark.parametrize("name", ["2023-11.parquet", "2023-11-17.parquet"])
def test_store_bitflip_detected(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(6)
    store, candles = filled(tmp_path)
    path = folder(store) / name
    sound = path.read_bytes()
    for place in rng.integers(0, len(sound) * 8, 1000 if FULL else 100).tolist():
        damaged = bytearray(sound)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        (problem,) = store.verify().problems
        assert problem.file == name, f"bit {place}"
        with pytest.raises(StoreError):
            files.decode(bytes(damaged), MINUTE)
    # And what comes of it: a gap, a file put away, and the same candles once they are fetched again.
    path.write_bytes(damaged)
    store = CandleStore(tmp_path)
    found = everything(store)
    assert 0 < len(found) < len(candles)
    assert np.isin(found.open_time, candles.open_time).all()
    assert store.edit(MINUTE) == CandleStore(tmp_path).edit(MINUTE) == 1
    assert len(store.set_aside()) == 1
    (grave,) = (tmp_path / "quarantine" / "candles" / "BTCUSDT" / "1m").iterdir()
    assert grave.read_bytes() == damaged
    (problem,) = store.verify().problems
    assert "in the quarantine" in problem.reason
    assert store.merge(MINUTE, candles, source=Source.REST).added == len(candles) - len(found)
    assert same(everything(CandleStore(tmp_path)), candles)
    assert store.verify().problems == ()


@pytest.mark.parametrize("size", [0, 3, 8, 100, 5000])
def test_a_file_cut_short_is_put_away_wherever_it_is_met(tmp_path: Path, size: int) -> None:
    for number, meet in enumerate(_WAYS):
        store, candles = filled(tmp_path / str(number))
        path = folder(store) / "2023-11.parquet"
        path.write_bytes(path.read_bytes()[:size])
        meet(store, candles)
        assert not path.exists() or files.decode(path.read_bytes(), MINUTE)
        assert len(store.set_aside()) == 1
        coverage = store.coverage(MINUTE)
        assert coverage is not None
        assert coverage.first > candles.open_time[0] or coverage.count == len(candles)


def _merge_all(store: CandleStore, candles: Candles) -> None:
    merged = store.merge(MINUTE, candles, source=Source.STREAM)
    assert merged.added == 2986
    assert not merged.is_append


_WAYS = (
    lambda store, candles: store.read(MINUTE, start=None, end=None),
    lambda store, candles: store.newest(MINUTE, 2500),
    lambda store, candles: store.coverage(MINUTE),
    lambda store, candles: store.clear_up(),
    _merge_all,
)


def test_a_gap_left_by_damage_is_told_so_that_it_is_fetched_again(tmp_path: Path) -> None:
    candles = oracle(70 * 1440)
    CandleStore(tmp_path).merge(MINUTE, candles, source=Source.ARCHIVE)
    store = CandleStore(tmp_path)
    path = folder(store) / "2023-12.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    coverage = store.coverage(MINUTE)
    assert coverage is not None
    assert coverage.gaps == (Gap(1_701_388_800_000, 1_704_067_200_000),)
    gap = candles.between(*coverage.gaps[0])
    assert store.merge(MINUTE, gap, source=Source.ARCHIVE).added == 31 * 1440
    assert same(everything(store), candles)


def test_damage_met_in_the_midst_of_a_merge_costs_only_what_was_damaged(tmp_path: Path) -> None:
    candles = oracle(40 * 1440)
    store = CandleStore(tmp_path)
    store.merge(MINUTE, candles.take(slice(0, None, 2)), source=Source.ARCHIVE)
    store = CandleStore(tmp_path)
    path = folder(store) / "2023-12.parquet"
    damaged = bytearray(path.read_bytes())
    damaged[5000] ^= 4
    # As large and as old as before: nobody can know before it is read.
    seen = path.stat()
    path.write_bytes(damaged)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    merged = store.merge(MINUTE, candles, source=Source.ARCHIVE)
    assert merged.added > 20 * 1440
    assert merged.added + merged.unchanged == len(candles)
    assert not merged.is_append
    assert same(everything(CandleStore(tmp_path)), candles)
    assert store.verify().problems == ()


@pytest.mark.parametrize(
    "columns",
    [
        {"open_time": pa.array([1, 2], pa.int32()), "open": [1.0, 2.0]},
        {"date": pa.array([1, 2], pa.timestamp("ns")), "open": ["1", "2"]},
        {"open_time": [1_699_999_980_000], **{name: [1.0] for name in COLUMNS[1:]}},
    ],
)
def test_schema_guard(tmp_path: Path, columns: dict[str, list[object]], caplog: pytest.LogCaptureFixture) -> None:
    store, candles = filled(tmp_path)
    path = folder(store) / "2023-10.parquet"
    pq.write_table(pa.table(columns), path)
    (problem,) = store.verify().problems
    for name in columns:
        assert name in problem.reason
    assert "import_candles" in problem.reason
    assert same(everything(store), candles)
    assert not path.exists()
    assert "quarantine" in caplog.text


def test_a_file_of_another_series_is_not_taken_for_this_one(tmp_path: Path) -> None:
    store, candles = filled(tmp_path)
    other = SeriesKey.of("ETHUSDT", "1m")
    store.merge(other, oracle(100), source=Source.REST)
    (folder(store, other) / "2023-11-14.parquet").rename(folder(store) / "2023-12.parquet")
    (problem,) = store.verify(MINUTE).problems
    assert problem.reason == "it holds ETHUSDT:1m, not BTCUSDT:1m"
    assert same(everything(store), candles)


def test_a_file_under_another_month_s_name_is_put_away(tmp_path: Path) -> None:
    store, candles = filled(tmp_path)
    (folder(store) / "2023-12.parquet").write_bytes((folder(store) / "2023-11.parquet").read_bytes())
    (problem,) = store.verify().problems
    assert problem.reason == "its candles are not of the time its name says"
    assert same(everything(store), candles)


def test_store_version_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, candles = filled(tmp_path)
    monkeypatch.setattr(files, "VERSION", 2)
    later, _ = files.encode(MINUTE, candles.first(2986), edit=0, sequence=9)
    monkeypatch.undo()
    (folder(store) / "2023-11.parquet").write_bytes(later)
    for reader in (CandleStore(tmp_path), CandleStore(tmp_path)):
        with pytest.raises(StoreError, match=r"2023-11\.parquet cannot be used: it is of format 2, "):
            everything(reader)
        with pytest.raises(StoreError, match="format 2"):
            reader.merge(MINUTE, oracle(3001), source=Source.REST)
        (problem,) = reader.verify().problems
        assert "format 2" in problem.reason
    # A later version can read it: it stays.
    assert (folder(store) / "2023-11.parquet").exists()


def test_a_file_that_went_missing_or_was_put_back_is_told(tmp_path: Path) -> None:
    store, candles = filled(tmp_path)
    path = folder(store) / "2023-11.parquet"
    before = path.read_bytes()
    store.merge(MINUTE, Candles.of([candles.candle(0)._replace(volume=77.0)]), source=Source.REST)
    path.write_bytes(before)
    (problem,) = store.verify().problems
    assert problem.reason == "it is not the version that was written last"
    path.unlink()
    (problem,) = store.verify().problems
    assert (problem.file, problem.reason) == ("2023-11.parquet", "it is missing")
    store.merge(MINUTE, candles, source=Source.REST)
    assert store.verify().problems == ()


def test_unlisted_parquet_ignored(tmp_path: Path) -> None:
    """S37: a file that the store did not write is told, left alone, and not even opened."""
    store, candles = filled(tmp_path)
    (folder(store) / "copy of 2023-11.parquet").write_bytes(b"x")
    (folder(store) / "2023-13.parquet").write_bytes(b"x")
    assert {problem.file for problem in store.verify().problems} == {"2023-13.parquet", "copy of 2023-11.parquet"}
    assert same(everything(store), candles)
    assert store.set_aside() == []


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"format": 1}', None])
def test_a_damaged_manifest_costs_nothing(tmp_path: Path, damage: bytes | None) -> None:
    store, candles = filled(tmp_path)
    store.merge(MINUTE, Candles.of([candles.candle(0)._replace(volume=77.0)]), source=Source.REST)
    edit, coverage = store.edit(MINUTE), store.coverage(MINUTE)
    path = folder(store) / MANIFEST
    if damage is None:
        path.write_bytes(path.read_bytes().replace(b'"edit": 1', b'"edit": 0'))
    else:
        path.write_bytes(damage)
    store = CandleStore(tmp_path)
    assert store.coverage(MINUTE) == coverage
    assert store.edit(MINUTE) == edit
    assert store.verify().problems == ()
    assert store.clear_up().adopted == 1
    assert path.stat().st_size > 100
    assert store.clear_up().adopted == 0
    assert store.edit(MINUTE) == edit


def test_tmp_sweep(tmp_path: Path) -> None:
    store, candles = filled(tmp_path)
    (folder(store) / ".2023-11.parquet.0123456789ab.tmp").write_bytes(b"half")
    (folder(store) / ".manifest.json.0123456789ab.tmp").write_bytes(b"half")
    assert same(everything(store), candles)
    assert store.verify().problems == ()
    assert store.clear_up().swept == 2
    assert leftovers(tmp_path) == []
    assert same(everything(store), candles)


def test_damage_that_cannot_be_moved_away_is_passed_over(tmp_path: Path) -> None:
    _, candles = filled(tmp_path)
    (tmp_path / "quarantine").write_text("in the way")
    path = folder(CandleStore(tmp_path)) / "2023-11.parquet"
    path.write_bytes(path.read_bytes()[:500])
    store = CandleStore(tmp_path)
    assert same(everything(store), candles.take(slice(2986, None)))
    assert path.stat().st_size == 500
    store.merge(MINUTE, candles, source=Source.REST)
    assert same(everything(CandleStore(tmp_path)), candles)
