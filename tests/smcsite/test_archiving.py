"""A backup holds everything needed to move; one that was altered is not unpacked."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from markets.selectors import SeriesCoverage
from markets.series import SeriesKey, Timeframe
from markets.store import CandleStore, Source
from smcsite.env import BASE_DIR
from tests import environment
from tests.factories import walk

pytestmark = pytest.mark.processes

SERIES = SeriesKey.of("KEPTUSDT", "15m")


def manage(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    variables = {
        **os.environ,
        **environment.test_variables(),
        "DATA_DIR": str(folder / "data"),
        "REPORTS_DIR": str(folder / "reports"),
    }
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=BASE_DIR, env=variables, capture_output=True, text=True, timeout=180, check=False
    )


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of a folder with a user, candles and a report."""
    folder = tmp_path_factory.mktemp("old")
    assert manage(folder, "migrate", "--verbosity", "0").returncode == 0
    with closing(sqlite3.connect(folder / "data/db.sqlite3")) as rows, rows:
        rows.execute(
            "INSERT INTO auth_user (username, password, is_staff, is_superuser, is_active, first_name, last_name,"
            " email, date_joined) VALUES ('ada', 'x', 1, 0, 1, '', '', '', '2026-01-01')"
        )
    CandleStore(folder / "data").merge(SERIES, walk(8, 3_000, timeframe=Timeframe.M15), source=Source.FILE)
    (folder / "reports/KEPTUSDT").mkdir(parents=True)
    (folder / "reports/KEPTUSDT/1.csv").write_text("trade\n1\n")
    (folder / "data/candles/KEPTUSDT/15m/.half.tmp").write_text("left by a kill")
    written = manage(folder, "backup", str(folder / "all.smc"))
    assert written.returncode == 0, written.stderr
    return folder / "all.smc"


def test_what_is_restored_equals_what_was_backed_up(backup: Path, tmp_path: Path) -> None:
    assert backup.stat().st_mode & 0o777 == 0o600
    restored = manage(tmp_path, "restore", str(backup))
    assert restored.returncode == 0, restored.stderr
    old, new = CandleStore(backup.parent / "data"), CandleStore(tmp_path / "data")
    assert new.digest(SERIES, start=None, end=None) == old.digest(SERIES, start=None, end=None)
    assert SeriesCoverage(SERIES, new.coverage(SERIES)) == SeriesCoverage(SERIES, old.coverage(SERIES))
    assert new.verify().problems == ()
    assert (tmp_path / "reports/KEPTUSDT/1.csv").read_text() == "trade\n1\n"
    assert not list((tmp_path / "data").rglob("*.tmp*"))
    key = Path("data/var/secret.key")
    if (backup.parent / key).exists():
        assert (tmp_path / key).read_bytes() == (backup.parent / key).read_bytes()
    with closing(sqlite3.connect(tmp_path / "data/db.sqlite3")) as rows:
        assert rows.execute("SELECT username FROM auth_user").fetchall() == [("ada",)]


def test_a_folder_that_holds_something_is_refused(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/notes.txt").write_text("mine")
    refused = manage(tmp_path, "restore", str(backup))
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "must be empty" in refused.stderr
    assert (tmp_path / "data/notes.txt").read_text() == "mine"


@pytest.mark.parametrize("place", [0.35, 0.97])
def test_an_altered_byte_is_found_and_nothing_is_unpacked(backup: Path, tmp_path: Path, place: float) -> None:
    altered = bytearray(backup.read_bytes())
    at = next(n for n in range(int(place * len(altered)), len(altered)) if altered[n])
    altered[at] ^= 1
    (tmp_path / "altered.smc").write_bytes(altered)
    refused = manage(tmp_path, "restore", str(tmp_path / "altered.smc"))
    assert refused.returncode == 1, refused.stdout
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "data/candles").exists()
    assert not (tmp_path / "data/db.sqlite3").exists()


def test_a_backup_never_writes_over_a_file(backup: Path) -> None:
    before = backup.read_bytes()
    refused = manage(backup.parent, "backup", str(backup))
    assert refused.returncode == 1
    assert "is there already" in refused.stderr
    assert backup.read_bytes() == before
