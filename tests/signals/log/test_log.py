"""The log against the engine: however it was written, interrupted and read, it says what the candles say."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from markets.candles import Candles, join
from markets.errors import CorruptFileError
from markets.store import CandleStore, Source
from signals.engine import Params
from signals.log import SeriesLog, SignalLog, folding, generations
from signals.log.generations import current_folder, live_params, retired_folder, series_folder
from signals.log.journal import NAME, JournalReader, pack
from tests.factories import nasty_walk, real_candles, walk
from tests.signals.logging import FULL, SERIES, assert_tells, logged, stored, view_of, writer


def one_by_one(log: SeriesLog, store: CandleStore, candles: Candles, *, step: int = 1) -> None:
    for at in range(0, len(candles), step):
        part = candles.take(slice(at, at + step))
        log.advance(part, edit=store.merge(SERIES, part, source=Source.STREAM).edit)


def as_anyone_reads(files: Iterable[Path]) -> pd.DataFrame:
    return pd.concat(pd.read_parquet(file) for file in files)  # noqa: TID251  # without our code


def two_months(n: int) -> Candles:
    """A walk of minutes across the end of a month."""
    return walk(7, n, start=1_701_388_800_000 - n // 2 * 60_000)


@pytest.mark.parametrize("seed", range(4))
def test_a_log_written_in_any_pieces_says_what_the_batch_says(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    candles = nasty_walk(seed, 900) if seed % 2 else two_months(900)
    first = int(rng.integers(0, 400))
    store = stored(tmp_path, candles.first(first))
    log, reader, at = writer(tmp_path, store), SignalLog(tmp_path), first
    log.catch_up()
    while at < len(candles):
        part = candles.take(slice(at, at + int(rng.integers(1, 60))))
        log.advance(part, edit=store.merge(SERIES, part, source=Source.STREAM).edit)
        at += len(part)
        if rng.random() < 0.2:
            log.merge()
        if rng.random() < 0.2:
            log = writer(tmp_path, store)
        if rng.random() < 0.5:
            followed = reader.view(SERIES)
            assert followed is not None
            assert_tells(followed, candles.first(at))
    assert_tells(view_of(tmp_path), candles)


def test_a_long_fold_goes_to_the_month_files_at_once(tmp_path: Path) -> None:
    candles = two_months(6_000)
    store = stored(tmp_path, candles.first(100))
    log = writer(tmp_path, store)
    log.catch_up()
    store.merge(SERIES, candles, source=Source.FILE)
    log.catch_up()
    view = view_of(tmp_path)
    assert view.base == view.through
    assert_tells(view, candles)


def test_the_journal_is_merged_when_it_is_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "_MERGE_FRAMES", 50)
    candles = two_months(230)
    store = stored(tmp_path, candles.first(100))
    one_by_one(writer(tmp_path, store), store, candles.take(slice(100, None)))
    view = view_of(tmp_path)
    assert (view.through - view.base) // 60_000 < 50
    assert_tells(view, candles)


def test_the_journal_is_merged_in_a_quiet_moment_when_that_was_long_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candles = two_months(130)
    store, base = stored(tmp_path, candles.first(100)), candles.open_time[99]
    log = writer(tmp_path, store)
    log.catch_up()
    one_by_one(log, store, candles.take(slice(100, None)))
    log.merge_when_due()
    assert view_of(tmp_path).base == base
    monkeypatch.setattr(folding, "_MERGE_SECONDS", 0.0)
    log.merge_when_due()
    assert view_of(tmp_path).base == candles.open_time[-1]
    assert_tells(view_of(tmp_path), candles)


def test_a_restart_reads_only_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    candles = two_months(3_000)
    store = stored(tmp_path, candles.first(2_900))
    writer(tmp_path, store).catch_up()
    store.merge(SERIES, candles, source=Source.FILE)
    asked = []
    real = CandleStore.read

    def read(self: CandleStore, *args: object, **kwargs: object) -> Candles:
        answer = real(self, *args, **kwargs)  # type: ignore[arg-type]
        asked.append(len(answer))
        return answer

    monkeypatch.setattr(CandleStore, "read", read)
    frame = writer(tmp_path, store).catch_up()
    assert frame is not None
    assert frame.since == candles.open_time[2_899]
    assert sum(asked) == 100
    monkeypatch.undo()
    assert_tells(view_of(tmp_path), candles)


def test_a_journal_torn_at_any_byte_is_mended(tmp_path: Path) -> None:
    candles = walk(3, 260)
    store = stored(tmp_path, candles.first(200))
    log = writer(tmp_path, store)
    log.catch_up()
    one_by_one(log, store, candles.take(slice(200, None)), step=20)
    folder = current_folder(tmp_path, SERIES)
    assert folder is not None
    whole = (folder / NAME).read_bytes()
    frames_at = JournalReader(folder).frames_at
    for size in [*range(frames_at, len(whole), 331 if not FULL else 13), len(whole) - 1]:
        (folder / NAME).write_bytes(whole[:size])
        torn = view_of(tmp_path)
        assert_tells(torn, candles.between(None, torn.through + 1))
        writer(tmp_path, store).catch_up()
        assert_tells(view_of(tmp_path), candles)


def test_a_damaged_journal_or_state_is_built_anew(tmp_path: Path) -> None:
    candles = walk(3, 300)
    store = stored(tmp_path, candles)
    writer(tmp_path, store).catch_up()
    for revision, place in enumerate((3, 40, 2_000), start=1):
        folder = current_folder(tmp_path, SERIES)
        assert folder is not None
        content = bytearray((folder / NAME).read_bytes())
        content[place] ^= 4
        (folder / NAME).write_bytes(content)
        log = writer(tmp_path, store)
        log.catch_up()
        assert log.generation.revision == revision
        assert_tells(view_of(tmp_path), candles)


class _KilledError(Exception):
    """Stands for the end of the process: nothing after it is done."""


def killed_at(step: int, patch: pytest.MonkeyPatch) -> None:
    """Let the process end just before its ``step``-th renaming of a file or folder."""
    real, done = Path.rename, []

    def rename(self: Path, target: Path) -> Path:
        done.append(self)
        if len(done) == step:
            raise _KilledError
        return real(self, target)

    patch.setattr(Path, "replace", rename)
    patch.setattr(Path, "rename", rename)


def test_an_end_at_any_step_of_a_merge_or_a_rebuild_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candles = two_months(700)
    revised = candles.candle(300)._replace(close=candles.candle(300).open)
    for step in range(1, 40):
        root = tmp_path / str(step)
        store = stored(root, candles.first(400))
        log = writer(root, store)
        log.catch_up()
        one_by_one(log, store, candles.take(slice(400, 600)), step=50)
        is_killed = False
        with monkeypatch.context() as patch:
            killed_at(step, patch)
            try:
                log.merge()
                store.merge(SERIES, Candles.of([revised]), source=Source.REST)
                one_by_one(log, store, candles.take(slice(600, 700)), step=100)
            except _KilledError:
                is_killed = True
        view = SignalLog(root).view(SERIES)
        if view is not None and view.edit == store.edit(SERIES):
            assert_tells(view, store.read(SERIES, start=None, end=view.through + 1))
        again = writer(root)
        again.catch_up()
        assert_tells(view_of(root), store.read(SERIES, start=None, end=None))
        again.merge()
        assert_tells(view_of(root), store.read(SERIES, start=None, end=None))
        if not is_killed:
            assert step > 6
            return
    pytest.fail("the work has more steps than this test tries")


def test_two_writers_in_turns_write_one_log(tmp_path: Path) -> None:
    candles = two_months(250)
    store = stored(tmp_path, candles.first(100))
    writers = [writer(tmp_path), writer(tmp_path)]
    for at in range(100, 250):
        part = candles.take(slice(at, at + 1))
        edit = store.merge(SERIES, part, source=Source.STREAM).edit
        writers[at // 7 % 2].advance(part, edit=edit)
        if at % 50 == 0:
            writers[0].merge()
        if at % 3 == 0:
            writers[1].advance(part, edit=edit)
    assert_tells(view_of(tmp_path), candles)


def journal_of(root: Path, candles: Candles, *, step: int) -> bytes:
    """Return a journal whose frames after the first 200 candles hold ``step`` candles each."""
    store = stored(root, candles.first(200))
    log = writer(root, store)
    log.catch_up()
    one_by_one(log, store, candles.take(slice(200, None)), step=step)
    folder = current_folder(root, SERIES)
    assert folder is not None
    return (folder / NAME).read_bytes()


def frames_of(root: Path, candles: Candles, *, step: int) -> tuple[bytes, list[bytes]]:
    """Return a journal's beginning, and its frames."""
    whole = journal_of(root, candles, step=step)
    folder = current_folder(root, SERIES)
    assert folder is not None
    reader = JournalReader(folder)
    return whole[: reader.frames_at], [pack(frame) for frame in reader.new_frames()]


def test_frames_that_two_writers_appended_at_once_are_read_once(tmp_path: Path) -> None:
    """As when a writer that was stopped in the middle of its work goes on after another took its lock over."""
    candles = walk(5, 300)
    _, long = frames_of(tmp_path / "other", candles, step=45)
    beginning, short = frames_of(tmp_path, candles, step=30)
    folder = current_folder(tmp_path, SERIES)
    assert folder is not None
    for order in (
        [short[0], *short, *long],
        [short[0], long[0], *short[1:], *long],
        [long[0], short[0], short[1], long[0], long[1], *short],
    ):
        (folder / NAME).write_bytes(beginning + b"".join(order))
        assert_tells(view_of(tmp_path), candles)
        writer(tmp_path).catch_up()
        assert_tells(view_of(tmp_path), candles)


def test_a_frame_that_does_not_follow_ends_the_journal(tmp_path: Path) -> None:
    candles = walk(5, 300)
    beginning, frames = frames_of(tmp_path, candles, step=20)
    folder = current_folder(tmp_path, SERIES)
    assert folder is not None
    (folder / NAME).write_bytes(beginning + frames[0] + frames[2])
    assert_tells(view_of(tmp_path), candles.first(220))
    writer(tmp_path).catch_up()
    assert_tells(view_of(tmp_path), candles)


def test_a_changed_candle_makes_a_new_revision_and_leaves_the_old_one_readable(tmp_path: Path) -> None:
    candles = two_months(500)
    store = stored(tmp_path, candles)
    log = writer(tmp_path, store)
    log.catch_up()
    old = current_folder(tmp_path, SERIES)
    before = logged(view_of(tmp_path))
    candle = candles.candle(250)
    store.merge(SERIES, Candles.of([candle._replace(high=candle.high * 1.01)]), source=Source.REST)
    assert log.catch_up() is None
    assert log.generation.revision == 1
    assert_tells(view_of(tmp_path), store.read(SERIES, start=None, end=None))
    assert old is not None
    retired = retired_folder(tmp_path, SERIES) / old.name
    assert len(as_anyone_reads(retired.glob("signals-*.parquet"))) == len(before[0])
    assert [each.name for each in series_folder(tmp_path, SERIES).iterdir() if each.is_dir()] == [str(log.generation)]


def test_a_missing_candle_that_turns_up_is_a_revision(tmp_path: Path) -> None:
    candles = walk(11, 400)
    hole = join([candles.first(150), candles.take(slice(170, None))])
    store = stored(tmp_path, hole)
    log = writer(tmp_path, store)
    log.catch_up()
    store.merge(SERIES, candles.take(slice(150, 170)), source=Source.FILE)
    log.catch_up()
    assert log.generation.revision == 1
    assert_tells(view_of(tmp_path), candles)


def test_an_edit_after_the_last_candle_judged_is_no_revision(tmp_path: Path) -> None:
    candles = walk(11, 400)
    store = stored(tmp_path, candles.first(300))
    log = writer(tmp_path, store)
    log.catch_up()
    store.merge(SERIES, candles.take(slice(350, 400)), source=Source.FILE)
    store.merge(SERIES, candles.take(slice(300, 350)), source=Source.FILE)
    log.catch_up()
    assert log.generation.revision == 0
    assert view_of(tmp_path).edit == store.edit(SERIES)
    assert_tells(view_of(tmp_path), candles)


def test_only_some_retired_revisions_are_kept(tmp_path: Path) -> None:
    candles = walk(2, 120)
    store = stored(tmp_path, candles)
    log = writer(tmp_path, store)
    log.catch_up()
    for at in range(6):
        candle = candles.candle(50 + at)
        store.merge(SERIES, Candles.of([candle._replace(high=candle.high * 1.01)]), source=Source.REST)
        log.catch_up()
    assert log.generation.revision == 6
    kept = {each.name.rpartition("-")[2] for each in retired_folder(tmp_path, SERIES).iterdir()}
    assert kept == {"r3", "r4", "r5"}


def test_params_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F59: other parameters, or another detector, start a new log; the old one stays readable."""
    candles = two_months(400)
    store = stored(tmp_path, candles)
    writer(tmp_path, store).catch_up()
    other = (Params(swing_length=3), live_params()[1])
    log = SeriesLog(SERIES, store=store, root=tmp_path, params=other)
    log.catch_up()
    rows = as_anyone_reads(series_folder(tmp_path, SERIES).rglob("signals-*.parquet"))
    assert set(rows["params"]) == {params.digest for params in other}
    monkeypatch.setattr(generations, "DETECTOR_VERSION", 2)
    log = SeriesLog(SERIES, store=store, root=tmp_path, params=other)
    log.catch_up()
    rows = as_anyone_reads(series_folder(tmp_path, SERIES).rglob("signals-*.parquet"))
    assert set(rows["detector_version"]) == {2}
    retired = list(retired_folder(tmp_path, SERIES).rglob("signals-*.parquet"))
    assert {file.parent.name[:2] for file in retired} == {"v1"}
    assert len({file.parent.name for file in retired}) == 2
    assert len(as_anyone_reads(retired))


def test_anyone_can_read_the_files_and_finds_no_row_twice(tmp_path: Path) -> None:
    candles = two_months(900)
    store = stored(tmp_path, candles.first(500))
    log = writer(tmp_path, store)
    log.catch_up()
    one_by_one(log, store, candles.take(slice(500, None)), step=50)
    log.merge()
    files = sorted((tmp_path / "signals").rglob("*.parquet"))
    assert [file.name for file in files] == [
        "marks-2023-11.parquet", "marks-2023-12.parquet", "signals-2023-11.parquet", "signals-2023-12.parquet",
    ]  # fmt: skip
    signals = as_anyone_reads(files[2:])
    marks = as_anyone_reads(files[:2])
    assert not signals.duplicated(["scale", "kind", "direction", "event_time", "ref_time"]).any()
    assert not marks.duplicated(["scale", "number", "mark"]).any()
    found, made = logged(view_of(tmp_path))
    assert len(signals) == len(found)
    assert len(marks) == len(made)
    joined = marks.merge(signals, on=["symbol", "timeframe", "scale", "number"], validate="many_to_one")
    assert len(joined) == len(marks)
    assert (joined["time"] > joined["confirm_time"]).all()
    assert set(signals["symbol"]) == {"BTCUSDT"}
    months = pd.to_datetime(signals["confirm_time"], unit="ms").dt.strftime("%Y-%m")
    assert set(months) == {"2023-11", "2023-12"}


@pytest.mark.parametrize("what", ["signals", "marks"])
def test_a_flipped_bit_of_a_month_file_is_found_and_the_log_built_anew(tmp_path: Path, what: str) -> None:
    candles = two_months(900)
    store = stored(tmp_path, candles)
    for seed in range(200 if FULL else 12):
        writer(tmp_path, store).catch_up()
        folder = current_folder(tmp_path, SERIES)
        assert folder is not None
        file = folder / f"{what}-2023-11.parquet"
        content = bytearray(file.read_bytes())
        rng = np.random.default_rng(seed)
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        file.write_bytes(content)
        try:
            assert_tells(view_of(tmp_path), candles)
        except CorruptFileError:
            assert not folder.exists()
    writer(tmp_path, store).catch_up()
    assert_tells(view_of(tmp_path), candles)


def test_a_year_of_real_candles_makes_one_log(tmp_path: Path) -> None:
    candles = real_candles("EURUSD-15m-2022-10_2023-10")
    store = stored(tmp_path, candles)
    writer(tmp_path, store).catch_up()
    view = view_of(tmp_path)
    assert_tells(view, candles)
    assert len(view.months()) == 13
    assert not list((tmp_path / "signals.tmp").iterdir())


def test_nothing_stored_makes_no_log(tmp_path: Path) -> None:
    log = writer(tmp_path)
    assert log.catch_up() is None
    assert log.through is None
    assert SignalLog(tmp_path).view(SERIES) is None
