"""What was acknowledged survives kill, power cut and disk errors; what was not leaves no trace."""

import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from markets.candles import Candles
from markets.series import SeriesKey
from markets.store import CandleStore, Source
from markets.store.disk import Disk
from tests.factories import walk
from tests.markets.store.crash_states import PowerCut
from tests.markets.store.disks import (
    SEED,
    DyingDisk,
    RecordingDisk,
    everything,
    folder,
    in_a_fork,
    leftovers,
    python,
    same,
)

FULL = os.environ.get("SMC_FULL") == "1"
KILLS = 500 if FULL else 40
QUARTER = SeriesKey.of("BTCUSDT", "15m")
# From Python 3.12 on, forking beside threads warns; the children here only read and write files.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def test_store_kill9_500(tmp_path: Path) -> None:
    # Candles of 15 minutes, so that days end and are merged into months while it goes on.
    rng = np.random.default_rng(9)
    candles = walk(SEED, 60_000, timeframe=QUARTER.timeframe)
    stored = 0
    for _ in range(KILLS):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _append_until_killed(tmp_path, candles, begin=stored, pipe=writer)
        os.close(writer)
        told = os.read(reader, 8)  # it has begun
        time.sleep(rng.uniform(0.0, 0.04))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(reader, "rb") as pipe:
            told += pipe.read()
        acknowledged = int.from_bytes(told[-8:], "little")

        store = CandleStore(tmp_path)
        is_recovered = rng.random() < 0.5
        if is_recovered:
            store.clear_up()
            assert leftovers(tmp_path) == []
        # Days that were merged into their month a moment ago may stand in both until somebody clears up.
        reasons = {problem.reason.partition(" ")[2] for problem in store.verify().problems}
        assert reasons <= (set() if is_recovered else {"candles stand in two files"})
        found = everything(store, QUARTER)
        assert acknowledged < len(found) <= acknowledged + 2, f"seed 9: acknowledged {acknowledged}"
        assert same(found, candles.first(len(found)))
        stored = len(found)
    assert stored > KILLS


def _append_until_killed(root: Path, candles: Candles, *, begin: int, pipe: int) -> None:
    try:
        store = CandleStore(root)
        for at in range(begin, len(candles)):
            store.merge(QUARTER, candles.take(slice(at, at + 1)), source=Source.STREAM)
            os.write(pipe, at.to_bytes(8, "little"))
    finally:
        os._exit(1)


def _days(root: Path) -> Candles:
    """Store the end of one day and a bit of the next, each in a file, and return the candles of three days.

    The last two of 100 stand in the journal of the second.
    """
    candles = walk(SEED, 3 * 96, timeframe=QUARTER.timeframe, start=1_700_006_400_000)
    store = CandleStore(root)
    store.merge(QUARTER, candles.first(90), source=Source.ARCHIVE)
    store.merge(QUARTER, candles.take(slice(90, 98)), source=Source.STREAM)
    store.merge(QUARTER, candles.take(slice(98, 100)), source=Source.STREAM)
    return candles


# What to do from there: one candle, so many that a day is merged away, some that are stored already.
_ACTIONS = {
    "append": (slice(100, 101), Source.REST),
    "tidy": (slice(100, 210), Source.REST),
    "overlap": (slice(80, 105), Source.REST),
    "live": (slice(100, 103), Source.STREAM),
    "fold": (slice(100, 100), Source.STREAM),
}


@pytest.mark.parametrize("action", list(_ACTIONS))
def test_a_kill_at_any_step_leaves_the_old_or_the_new(tmp_path: Path, action: str) -> None:
    candles = _days(tmp_path / "old")
    rows, source = _ACTIONS[action]
    old, new = candles.first(100), candles.first(rows.stop)

    def act(store: CandleStore) -> None:
        store.merge(QUARTER, candles.take(rows), source=source)
        store.fold(QUARTER)

    for at in range(1, 1000):
        root = tmp_path / "crashed"
        shutil.copytree(tmp_path / "old", root)
        ended = in_a_fork(lambda: act(CandleStore(root, disk=DyingDisk(at, piece=1 << 16))))  # noqa: B023
        store = CandleStore(root)
        found = everything(store, QUARTER)
        assert len(old) <= len(found) <= len(new)
        assert same(found, new.first(len(found)))
        # One who writes before anyone clears up corrects the one place a candle is read from.
        shutil.copytree(root, tmp_path / "hasty")
        corrected = Candles.of(each._replace(volume=each.volume + 1) for each in new)
        CandleStore(tmp_path / "hasty").merge(QUARTER, corrected, source=Source.REST)
        assert same(everything(CandleStore(tmp_path / "hasty"), QUARTER), corrected)
        shutil.rmtree(tmp_path / "hasty")
        store.clear_up()
        assert leftovers(root) == []
        assert store.verify().problems == ()
        act(store)
        assert same(everything(CandleStore(root), QUARTER), new)
        shutil.rmtree(root)
        if ended == 0:
            assert at > 5
            return
        assert ended == -signal.SIGKILL
    pytest.fail("it never ended")


def test_store_crash_states_enumerated(tmp_path: Path) -> None:
    candles = _days(tmp_path / "live")
    root = folder(CandleStore(tmp_path / "live"), QUARTER)
    cut = PowerCut({path.relative_to(root): path.read_bytes() for path in root.iterdir()})
    disk = RecordingDisk()
    store = CandleStore(tmp_path / "live", disk=disk)
    # Appends within a day, a journal written into its file and begun again, one into the next that merges days away:
    # (operations by then, candles by then).
    acknowledged = [(0, 100)]
    for high in (101, 101, 103, 210):
        if high == acknowledged[-1][1]:
            store.fold(QUARTER)
        store.merge(QUARTER, candles.take(slice(acknowledged[-1][1], high)), source=Source.STREAM)
        acknowledged.append((len(disk.operations), high))

    seen: set[object] = set()
    for done in range(len(disk.operations) + 1):
        if done:
            operation = disk.operations[done - 1]
            target = operation.target.relative_to(root) if operation.target is not None else None
            path = operation.path.relative_to(root) if operation.path != root else operation.path
            cut.apply(replace(operation, path=path, target=target))
        safe = max(high for by_then, high in acknowledged if by_then <= done)
        following = min(high for by_then, high in acknowledged if by_then >= done)
        for state in cut.states():
            key = (frozenset(state.items()), safe, following)
            if key not in seen:
                _check_state(tmp_path / "state", state, candles, safe=safe, following=following)
                seen.add(key)
    assert len(seen) > 100, len(seen)


class _HastyDisk(Disk):
    """Has no power cut to fear, and no time."""

    def fsync(self, handle: int) -> None:
        pass

    def fsync_folder(self, folder: Path) -> None:
        pass


def _check_state(root: Path, state: dict[Path, bytes], candles: Candles, *, safe: int, following: int) -> None:
    place = folder(CandleStore(root), QUARTER)
    place.mkdir(parents=True)
    for path, data in state.items():
        (place / path).write_bytes(data)
    store = CandleStore(root, disk=_HastyDisk())
    found = everything(store, QUARTER)
    assert safe <= len(found) <= following
    assert same(found, candles.first(len(found)))
    left = store.clear_up()
    assert left.quarantined == 0
    assert leftovers(root) == []
    assert store.verify().problems == ()
    assert same(everything(store, QUARTER), found)
    shutil.rmtree(root)


_APPEND = """
    import os, sys
    from pathlib import Path
    from markets.store import CandleStore, Source
    from tests.markets.store.disks import MINUTE, oracle

    store, candles = CandleStore(Path(sys.argv[1])), oracle(103)
    store.merge(MINUTE, candles.first(1), source=Source.STREAM)
    for at in range(1, 103):
        store.merge(MINUTE, candles.take(slice(at, at + 1)), source=Source.STREAM)
        os.write(1, b"acknowledged")
"""


def test_store_fsync_order_strace(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    calls = "openat,write,fsync,fdatasync,rename,renameat,renameat2"
    command = ["strace", "-f", "-y", "-qq", "-s", "32", "-e", f"trace={calls}", "-o", str(tmp_path / "trace")]
    run = subprocess.run([*command, *python(_APPEND, tmp_path / "data")], capture_output=True, text=True, check=False)
    if "ptrace" in run.stderr.lower():
        pytest.skip("tracing is not allowed here")
    assert run.returncode == 0, run.stderr
    place = re.escape(str(folder(CandleStore(tmp_path / "data"))))
    kinds = {
        "write": rf"write\(\d+<{place}/\.[^>]*\.parquet\.[^>]*tmp>",
        "sync": rf"fsync\(\d+<{place}/\.[^>]*\.parquet\.[^>]*tmp>",
        "rename": r'rename[^(]*\(.*\.parquet\.\w+\.tmp", .*\.parquet"',
        "append": rf"write\(\d+<{place}/\.[^>]*\.journal>",
        "sync journal": rf"fsync\(\d+<{place}/\.[^>]*\.journal>",
        "sync folder": rf"fsync\(\d+<{place}>",
        "told": r'write\(1<[^>]*>, "acknowledged"',
    }
    order = []
    for line in (tmp_path / "trace").read_text().splitlines():
        order += [kind for kind, pattern in kinds.items() if re.search(pattern, line)]
    commits = [" ".join(each.split()) for each in ", ".join(order).split("told")[:-1]]
    assert len(commits) == 102
    file, row = "write, sync, rename, sync folder", "append, sync journal"
    # The first candle makes the file, the second the journal; both are durable before their folder knows them.
    assert commits[0] == f"{file}, {row}, sync folder,"
    # When the journal is long, the file is written anew.
    assert set(commits[1:]) == {f", {row},", f", {file},"}
    assert commits.count(f", {file},") == 1
