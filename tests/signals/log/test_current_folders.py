"""Which generation of a log is current, asked by who has asked before."""

import os
from pathlib import Path

from markets.series import SeriesKey, Timeframe
from signals.log.generations import CurrentFolders, Generation, series_folder

SERIES = SeriesKey("BTCUSDT", Timeframe.M15)


def generation(root: Path, revision: int) -> Path:
    folder = series_folder(root, SERIES) / str(Generation(1, ("0" * 8, "1" * 8), revision))
    folder.mkdir(parents=True)
    return folder


def test_each_generation_is_seen_as_soon_as_it_is_there(tmp_path: Path) -> None:
    folders = CurrentFolders(tmp_path)
    assert folders.of(SERIES) is None
    for revision in range(4):
        newest = generation(tmp_path, revision)
        assert folders.of(SERIES) == newest
        if revision % 2:  # a folder that has been quiet is remembered, one that has just changed is not
            os.utime(newest.parent, (1_700_000_000 + revision,) * 2)
            assert folders.of(SERIES) == newest
    newest.rmdir()
    assert folders.of(SERIES) == newest.with_name(newest.name.replace("-r3", "-r2"))
    newest.with_name(newest.name.replace("-r3", "-r2")).rename(tmp_path / "elsewhere")
    assert str(folders.of(SERIES)).endswith("-r1")


def test_what_was_remembered_of_a_quiet_folder_is_not_looked_for_again(tmp_path: Path) -> None:
    folders, first = CurrentFolders(tmp_path), generation(tmp_path, 0)
    quiet = (1_700_000_000, 1_700_000_000)
    os.utime(first.parent, quiet)
    assert folders.of(SERIES) == first
    generation(tmp_path, 1)
    os.utime(first.parent, quiet)  # as no file system does: a change without a new time
    assert folders.of(SERIES) == first
    folders.forget(SERIES)
    assert str(folders.of(SERIES)).endswith("-r1")
