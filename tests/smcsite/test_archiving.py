"""A backup holds everything needed to move; one that was altered is not unpacked."""

import errno
import hashlib
import io
import json
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import load_command_class

from markets.series import SeriesKey, Timeframe
from markets.store import CandleStore
from markets.store.locks import SeriesLock
from signals.log import LogView, SignalLog
from signals.log.generations import current_folder
from signals.log.journal import JournalReader, status_of
from smcsite.archiving import unpacking
from smcsite.env import BASE_DIR
from tests.environment import service_variables
from tests.waiting import eventually

pytestmark = pytest.mark.processes

# As tests.smcsite.busy has them.
SERIES = SeriesKey("KEPTUSDT", Timeframe.M15)
HISTORY, ROUND = 3_000, 4
CANARY = "no-backup-may-hold-this"
# Of each table what a row is; sessions and the log of the admin are not moved.
TABLES = {
    "auth_user": "id, username, password, date_joined",
    "markets_job": "id, kind, state, note, spec, spec_digest, created_at",
    "markets_backfill": 'job_ptr_id, symbol, timeframe, start, "end"',
}


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made while the site was at work, and the folder of that site as it went on."""

    file: Path
    folder: Path
    rounds: int  # that had ended when it began
    told: str  # how far it was


def variables(folder: Path) -> dict[str, str]:
    return service_variables(
        folder / "data",
        REPORTS_DIR=str(folder / "reports"),
        # As in the image: the commands themselves make it.
        NUMBA_CACHE_DIR=str(folder / "data" / "numba"),
    )


def manage(folder: Path, *arguments: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=BASE_DIR, env=variables(folder) | changes, capture_output=True, text=True, timeout=180, check=False
    )


@dataclass(frozen=True, slots=True)
class Refusing:
    """Runs a command on a folder in this process, for one that is refused needs no process of its own."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, folder: Path, name: str, file: Path) -> str:
        """Return the line that tells why."""
        self.monkeypatch.setattr(settings, "DATA_ROOT", folder / "data")
        self.monkeypatch.setattr(settings, "REPORTS_ROOT", folder / "reports")
        command = load_command_class("smcsite", name)
        with pytest.raises(SystemExit) as ended:
            command.run_from_argv(["manage.py", name, str(file)])
        told = self.capsys.readouterr().err
        assert ended.value.code == 1
        assert told.count("\n") == 1
        return told


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refusing:
    return Refusing(monkeypatch, capsys)


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> Backup:
    """A backup of a folder in which candles, signals, jobs and users come in meanwhile.

    Somebody reads the database all the while, so the newest rows are not in its main file yet.
    """
    folder = tmp_path_factory.mktemp("old")
    (folder / "reports/KEPTUSDT").mkdir(parents=True)
    (folder / "reports/KEPTUSDT/1.csv").write_text("trade\n1\n")
    rounds = folder / "rounds.txt"
    with rounds.open("wb") as output:
        work = subprocess.Popen(
            [sys.executable, "-m", "tests.smcsite.busy"], cwd=BASE_DIR, env=variables(folder), stdout=output,
            stdin=subprocess.PIPE,
        )  # fmt: skip

    def count() -> int:
        assert work.poll() is None
        return len(rounds.read_text().split())

    try:
        eventually(lambda: count() >= 1, seconds=120)
        with closing(sqlite3.connect(folder / "data/db.sqlite3", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            seen = reader.execute("SELECT count(*) FROM auth_user").fetchone()[0]
            eventually(lambda: count() >= seen + 3, seconds=60)
            (folder / "data/candles/KEPTUSDT/15m/.half.tmp").write_text("left by a kill")
            (folder / "reports/.older.smc.tmp/kept").mkdir(parents=True)
            (folder / "reports/.older.smc.tmp/kept/1.csv").write_text("left by a kill")
            (folder / "data/var/secret.key").write_text(CANARY)
            with closing(sqlite3.connect(folder / "data/db.sqlite3", timeout=30)) as writer, writer:
                writer.execute("INSERT INTO django_session VALUES (?, ?, '2100-01-01')", (f"session-{CANARY}", CANARY))
            before = count()
            written = manage(folder, "backup", str(folder / "all.smc"))
        assert written.returncode == 0, written.stderr
        eventually(lambda: count() > before, seconds=60)
        work.communicate(b"enough", timeout=60)
    finally:
        work.kill()
        work.wait()
    return Backup(folder / "all.smc", folder, before, written.stderr)


def test_backup_restore_roundtrip(backup: Backup, tmp_path: Path) -> None:
    """P23: up to its moment all is there, equal by digest; what came later is not."""
    assert backup.file.stat().st_mode & 0o777 == 0o600
    restored = manage(tmp_path, "restore", str(backup.file))
    assert restored.returncode == 0, restored.stderr
    assert (backup.told, restored.stderr) == ("backup 100% done\n", "restore 100% done\n")
    old, new = CandleStore(backup.folder / "data"), CandleStore(tmp_path / "data")
    end = (new.last_time(SERIES) or 0) + 1
    assert new.digest(SERIES, start=None, end=None) == old.digest(SERIES, start=None, end=end)
    times = new.read(SERIES, start=None, end=None).open_time
    assert len(times) >= HISTORY + ROUND * backup.rounds
    assert new.verify().problems == ()
    then = opened(tmp_path).through
    assert times[HISTORY + ROUND * backup.rounds - 1] <= then < end
    assert torn_bytes(tmp_path) == 0
    assert signals_digest(opened(tmp_path), then) == signals_digest(opened(backup.folder), then)
    for table, columns in TABLES.items():
        rows = rows_of(tmp_path, table, columns)
        assert len(rows) >= backup.rounds
        assert digest_of(rows) == digest_of(rows_of(backup.folder, table, columns)[: len(rows)])
    assert (tmp_path / "reports/KEPTUSDT/1.csv").read_text() == "trade\n1\n"
    assert not list((tmp_path / "data").rglob("*.tmp*"))
    assert not list((tmp_path / "reports").rglob("*.tmp*"))


def test_a_file_is_put_in_its_place_on_another_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "from").write_text("new")
    (tmp_path / "to").write_text("old")
    replace = Path.replace

    def across(self: Path, target: Path) -> Path:
        if self.name == "from":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", across)
    unpacking._move(tmp_path / "from", tmp_path / "to")
    assert (tmp_path / "to").read_text() == "new"
    assert {path.name for path in tmp_path.iterdir()} == {"from", "to"}


def test_a_backup_holds_no_secrets(backup: Backup) -> None:
    """S45: neither the key nor a session goes along, not even as the bytes of a deleted row."""
    assert CANARY.encode() in (backup.folder / "data/var/secret.key").read_bytes()
    assert CANARY.encode() not in backup.file.read_bytes()
    with tarfile.open(backup.file) as archive:
        assert not [name for name in archive.getnames() if "var" in name]


def test_what_a_backup_makes_meanwhile_is_named_temporary(backup: Backup, tmp_path: Path) -> None:
    command = [sys.executable, "manage.py", "backup", str(tmp_path / "all.smc")]
    with SeriesLock(backup.folder / "data/candles/KEPTUSDT/15m"):
        work = subprocess.Popen(command, cwd=BASE_DIR, env=variables(backup.folder), stdout=subprocess.DEVNULL)
        try:
            eventually(lambda: names_in(tmp_path), seconds=60)
            assert [name for name in names_in(tmp_path) if not name.endswith(".tmp")] == []
        except BaseException:
            work.kill()
            work.wait()
            raise
    assert work.wait(timeout=60) == 0
    assert names_in(tmp_path) == {"all.smc"}


def opened(folder: Path) -> LogView:
    view = SignalLog(folder / "data").view(SERIES)
    assert view is not None
    return view


def torn_bytes(folder: Path) -> int:
    """Return how much of the journal is behind its last whole frame."""
    found = current_folder(folder / "data", SERIES)
    assert found is not None
    journal = JournalReader(found)
    journal.new_frames()
    return status_of(found)[1] - journal.position


def signals_digest(view: LogView, then: int) -> str:
    """Return the digest of all signals and marks that were known at a moment."""
    told = [
        (row.id, row.confirm_time, row.level, row.top, row.bottom, row.strength)
        for number in view.months()
        for row in view.told(view.month(number), slice(None))
        if row.confirm_time <= then
    ]
    logged = view.marks_after(-1)
    marks = sorted(logged[logged["time"] <= then].tolist())
    assert len(told) > 100
    assert len(marks) > 100
    return hashlib.sha256(repr((told, marks)).encode()).hexdigest()


def digest_of(rows: list[tuple[object, ...]]) -> str:
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def rows_of(folder: Path, table: str, columns: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "data/db.sqlite3", timeout=20)) as database:
        return database.execute(f"SELECT {columns} FROM {table} ORDER BY 1").fetchall()  # noqa: S608 - ours


def test_a_folder_that_holds_something_is_refused(backup: Backup, tmp_path: Path, refused: Refusing) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/notes.txt").write_text("mine")
    assert "must be empty" in refused(tmp_path, "restore", backup.file)
    assert (tmp_path / "data/notes.txt").read_text() == "mine"


@pytest.mark.parametrize("place", [0.35, 0.97])
def test_backup_tampered_rejected(backup: Backup, tmp_path: Path, place: float, refused: Refusing) -> None:
    """S45: an altered byte is found, and nothing is unpacked."""
    altered = bytearray(backup.file.read_bytes())
    at = next(n for n in range(int(place * len(altered)), len(altered)) if altered[n])
    altered[at] ^= 1
    (tmp_path / "altered.smc").write_bytes(altered)
    refused(tmp_path, "restore", tmp_path / "altered.smc")
    assert not (tmp_path / "data/candles").exists()
    assert not (tmp_path / "data/db.sqlite3").exists()


NOWHERE = "postgres://smc:smc@127.0.0.1:9/smc"  # the discard port: nothing answers


def test_a_restore_that_was_refused_works_after_its_hint(backup: Backup, tmp_path: Path) -> None:
    refused = manage(tmp_path, "restore", str(backup.file), DATABASE_URL=NOWHERE)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "unset DATABASE_URL" in refused.stderr
    assert names_in(tmp_path / "data") <= {"var", "numba"}
    restored = manage(tmp_path, "restore", str(backup.file))
    assert restored.returncode == 0, restored.stderr
    assert {"candles", "signals", "db.sqlite3"} < names_in(tmp_path / "data")


def test_rows_that_find_no_database_leave_the_folder_empty(tmp_path: Path) -> None:
    contents = {"database.json": b"[]", "data/candles/X/15m/2024-01.parquet": b"candles"}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    with tarfile.open(tmp_path / "rows.smc", "w") as archive:
        for name, content in {"digests.json": json.dumps({"digests": digests}).encode(), **contents}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    refused = manage(tmp_path, "restore", str(tmp_path / "rows.smc"), DATABASE_URL=NOWHERE)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "the database refuses" in refused.stderr
    assert names_in(tmp_path / "data") <= {"var", "numba"}


def names_in(folder: Path) -> set[str]:
    return {each.name for each in folder.glob("*")}


def test_a_backup_never_writes_over_a_file(backup: Backup, refused: Refusing) -> None:
    before = backup.file.read_bytes()
    assert "is there already" in refused(backup.folder, "backup", backup.file)
    assert backup.file.read_bytes() == before
