"""A disk that is full, failing or not to be written to changes nothing that is stored, and is told as what it is."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from markets.candles import Candles
from markets.errors import StoreError, StoreFullError
from markets.store import CandleStore, Source
from markets.store.disk import Disk
from tests.markets.store.disks import (
    MINUTE,
    FailingDisk,
    FullDisk,
    RecordingDisk,
    everything,
    folder,
    leftovers,
    oracle,
    python,
    same,
)

_NEW_FILE = ["open_new", "write", "fsync", "replace", "fsync_folder"]
_NEW_JOURNAL = ["open_end", "open_new", "write", "fsync", "fsync_folder"]
_OLD_JOURNAL = ["open_end", "write", "fsync"]


@pytest.mark.parametrize(
    ("source", "journaled", "steps"),
    [
        pytest.param(Source.REST, 0, _NEW_FILE, id="file"),
        pytest.param(Source.REST, 3, [*_NEW_FILE, "open_end", "truncate"], id="file and journal"),
        pytest.param(Source.STREAM, 0, _NEW_JOURNAL, id="new journal"),
        pytest.param(Source.STREAM, 3, _OLD_JOURNAL, id="journal"),
    ],
)
def test_store_enospc_every_offset(tmp_path: Path, source: Source, journaled: int, steps: list[str]) -> None:
    candles = oracle(200)
    old = CandleStore(tmp_path / "old")
    old.merge(MINUTE, candles.first(199 - journaled), source=Source.ARCHIVE)
    for index in range(199 - journaled, 199):
        old.merge(MINUTE, candles.take(slice(index, index + 1)), source=Source.STREAM)
    met = []
    for at in range(1, 1000):
        root = tmp_path / "full"
        shutil.copytree(tmp_path / "old", root)
        disk = FailingDisk(at, errno.ENOSPC)
        store = CandleStore(root, disk=disk)
        if disk_was_full := _merge_on(store, candles.take(slice(199, 200)), source):
            assert str(folder(store)) in disk_was_full
            assert leftovers(root) == []
            # Only the last step comes after what makes the candle seen.
            seen = 200 if disk.met == "fsync_folder" else 199
            assert same(everything(store), candles.first(seen))
            assert same(everything(CandleStore(root)), candles.first(seen))
            # There is space again.
            assert not _merge_on(store, candles.take(slice(199, 200)), source)
        assert same(everything(CandleStore(root)), candles)
        shutil.rmtree(root)
        if not disk.met:
            break
        met.append(disk.met)
    assert [kind for at, kind in enumerate(met) if kind not in met[:at]] == steps
    assert met.count("write") >= 8


def _merge_on(store: CandleStore, candles: Candles, source: Source) -> str:
    """Return how the store says that the disk is full, nothing when it is not."""
    try:
        store.merge(MINUTE, candles, source=source)
    except StoreFullError as error:
        return str(error)
    return ""


def test_a_disk_that_is_really_full_loses_nothing_and_goes_on_when_there_is_space(tmp_path: Path) -> None:
    text = """
        import sys
        from pathlib import Path
        from markets.errors import StoreFullError
        from markets.store import CandleStore, Source
        from tests.markets.store.disks import MINUTE, leftovers, oracle, same

        root = Path(sys.argv[1])
        ballast = root / "ballast"
        ballast.write_bytes(bytes(300_000))
        store, candles, stored = CandleStore(root, reserve_bytes=0), oracle(60_000), 0
        try:
            while True:
                store.merge(MINUTE, candles.take(slice(stored, stored + 700)), source=Source.STREAM)
                stored += 700
        except StoreFullError as error:
            assert "disk full" in str(error)
        assert stored > 700
        assert not leftovers(root)
        assert same(CandleStore(root).read(MINUTE, start=None, end=None), candles.first(stored))
        assert store.verify().problems == ()
        ballast.unlink()
        store.merge(MINUTE, candles.take(slice(stored, stored + 700)), source=Source.STREAM)
        assert same(store.read(MINUTE, start=None, end=None), candles.first(stored + 700))
        print("survived", stored)
    """
    assert "survived" in _on_a_small_disk(tmp_path, "size=1m", text)


def test_ro_data_dir(tmp_path: Path) -> None:
    text = """
        import sys
        from pathlib import Path
        from markets.errors import StoreError
        from markets.store import CandleStore

        try:
            CandleStore(Path(sys.argv[1]) / "data").clear_up()
        except StoreError as error:
            print(error)
    """
    told = _on_a_small_disk(tmp_path, "size=1m,ro", text)
    assert f"cannot write {tmp_path}/disk/data as user 0: Read-only file system" in told


def _on_a_small_disk(tmp_path: Path, options: str, text: str) -> str:
    """Run Python with a small disk of its own mounted at its first argument."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = f"mount -t tmpfs -o {options} tmpfs {place}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here; the failing disk above covers it")
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", *python(text, place)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_writes_stop_at_the_reserve_and_reads_go_on(tmp_path: Path) -> None:
    disk = FullDisk()
    store = CandleStore(tmp_path, disk=disk)
    store.merge(MINUTE, oracle(2000), source=Source.REST)
    disk.free = 128 * 1024 * 1024
    with pytest.raises(StoreFullError, match="disk full: less than 128 MB free"):
        store.merge(MINUTE, oracle(2001), source=Source.REST)
    assert store.has_space()
    assert same(everything(CandleStore(tmp_path)), oracle(2000))
    assert not list(folder(store).glob("*.tmp"))
    disk.free -= 1
    assert not store.has_space()
    disk.free += 10_000_000
    assert store.merge(MINUTE, oracle(2001), source=Source.REST).added == 1


class _DeafDisk(RecordingDisk):
    """Fails once where it is told to, with an error of the hardware."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def _fail(self, where: str) -> None:
        if self.where == where:
            self.where = ""
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def fsync(self, handle: int) -> None:
        self._fail("file")
        super().fsync(handle)

    def fsync_folder(self, folder: Path) -> None:
        self._fail("folder")
        super().fsync_folder(folder)


@pytest.mark.parametrize("where", ["file", "folder"])
def test_fsync_eio_not_acked(tmp_path: Path, where: str) -> None:
    candles = oracle(50)
    CandleStore(tmp_path).merge(MINUTE, candles.first(49), source=Source.STREAM)
    disk = _DeafDisk(where)
    store = CandleStore(tmp_path, disk=disk)
    with pytest.raises(StoreError, match="Input/output error"):
        store.merge(MINUTE, candles, source=Source.STREAM)
    assert leftovers(tmp_path) == []
    # A second fsync would say yes to what the first one lost. Everything is written again, also what is seen already.
    del disk.operations[:]
    store.merge(MINUTE, candles, source=Source.STREAM)
    assert [each.kind for each in disk.operations][-4:] == ["write", "fsync", "replace", "fsync_folder"]
    assert same(everything(CandleStore(tmp_path)), candles)


def test_modes(tmp_path: Path) -> None:
    """S46: files are for their owner and group only, whatever the umask."""
    before = os.umask(0)
    try:
        store = CandleStore(tmp_path / "data", disk=Disk())
        store.merge(MINUTE, oracle(3000), source=Source.REST)
    finally:
        os.umask(before)
    for path in (tmp_path / "data").rglob("*"):
        assert path.stat().st_mode & 0o7777 == (0o750 if path.is_dir() else 0o640)
