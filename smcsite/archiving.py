"""One file with everything that is needed to move to an empty machine: written, checked and unpacked.

It is a tar archive whose first member, ``digests.json``, names the SHA-256 of every other. The database comes first,
then signals, then candles, so that no signal is of a candle that the archive lacks. Secrets stay behind: whoever reads
the file can neither sign as the site nor go on with somebody's session.
"""

import errno
import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction

from markets.errors import ConflictError, CorruptFileError, InvalidInputError
from markets.series import SeriesKey
from markets.store.disk import TEMPORARY
from markets.store.locks import SeriesLock
from signals.log.generations import series_lock
from smcsite.version import VERSION

Report = Callable[[float, str], None]

_DIGESTS = "digests.json"
_DATABASE, _ROWS = "database.sqlite3", "database.json"
_CHUNK = 1024 * 1024
# The command itself leaves these in an empty folder: a log, machine code.
_MADE_BY_STARTS = ("var", "numba")
# What another start makes anew, or what names this machine.
_LEFT_OUT = (TEMPORARY, ".lock", ".breaker")
_ROW_KINDS_LEFT_OUT = ("contenttypes", "auth.permission", "sessions", "admin.logentry")
_TABLES_LEFT_OUT = ("django_session", "django_admin_log")


@dataclass(frozen=True, slots=True)
class Archived:
    """What was written or unpacked."""

    files: int
    size: int


def _silent(fraction: float, stage: str) -> None:
    """Tell nobody."""


def write_archive(path: Path, report: Report = _silent) -> Archived:
    """Write everything into ``path``, readable by its owner alone; the service may run meanwhile.

    ``report`` is told the fraction done and the stage.
    Raises ``ConflictError`` when something is there already.
    """
    if path.exists():
        raise ConflictError(f"{path} is there already")
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=TEMPORARY, dir=path.parent) as scratch:
        try:
            members = list(_collected(Path(scratch), report))
            _write(temporary, members, report)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    report(1.0, "done")
    return Archived(len(members), path.stat().st_size)


def _write(path: Path, members: list[tuple[str, Path]], report: Report) -> None:
    digests = {}
    for number, (name, file) in enumerate(members):
        report(0.4 + 0.3 * number / len(members), "making digests")
        digests[name] = _digest(file)
    told = json.dumps({"version": VERSION, "digests": digests}, indent=1).encode()
    with _created(path, 0o600) as handle:
        with tarfile.open(fileobj=handle, mode="w", format=tarfile.PAX_FORMAT) as archive:
            archive.addfile(_member(_DIGESTS, len(told)), io.BytesIO(told))
            for number, (name, file) in enumerate(members):
                report(0.7 + 0.3 * number / len(members), f"writing {number:,} of {len(members):,} files")
                with file.open("rb") as content:
                    archive.addfile(_member(name, file.stat().st_size), content)
        handle.flush()
        os.fsync(handle.fileno())


def _created(path: Path, mode: int) -> BinaryIO:
    """Open a new file that has this mode from its first byte on."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb")


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o640
    return member


def _collected(scratch: Path, report: Report) -> Iterator[tuple[str, Path]]:
    """Copy what has to stay still while it is read, and yield each member's name and file."""
    report(0.0, "copying the database")
    yield _database_copy(scratch)
    root: Path = settings.DATA_ROOT
    folders = [(kind, folder) for kind in ("signals", "candles") for folder in sorted((root / kind).glob("*/*"))]
    for number, (kind, folder) in enumerate(folders):
        report(0.05 + 0.35 * number / len(folders), f"copying {kind} of {folder.parent.name} {folder.name}")
        yield from _folder_copy(root, kind, folder, scratch)
    for name in ("backtests", "analyses"):
        yield from _links(root, root / name, "data", scratch)
    yield from _links(settings.REPORTS_ROOT, settings.REPORTS_ROOT, "reports", scratch)


def _database_copy(scratch: Path) -> tuple[str, Path]:
    if connection.vendor == "sqlite":
        copy = scratch / _DATABASE
        name = str(settings.DATABASES["default"]["NAME"])
        with closing(sqlite3.connect(name, timeout=30)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            _empty(target)
        return _DATABASE, copy
    copy = scratch / _ROWS
    with copy.open("w") as rows, transaction.atomic(), connection.cursor() as cursor:
        # Every table as of one moment, so that no row is there without the one it points to.
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        call_command("dumpdata", exclude=_ROW_KINDS_LEFT_OUT, natural_foreign=True, stdout=rows, verbosity=0)
    return _ROWS, copy


def _empty(database: sqlite3.Connection) -> None:
    """Take out of a copy what is left out, its bytes too."""
    database.execute("PRAGMA secure_delete = ON")
    known = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table in known.intersection(_TABLES_LEFT_OUT):
        database.execute(f"DELETE FROM {table}")  # noqa: S608 - ours
    database.commit()


def _folder_copy(root: Path, kind: str, folder: Path, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Copy a series' files while nobody writes to it. A hard link would do, were a journal not appended to."""
    with ExitStack() as held:
        if kind == "candles":
            held.enter_context(SeriesLock(folder))
        else:
            held.enter_context(series_lock(root, SeriesKey.of(folder.parent.name, folder.name)))
        for file in _files(folder):
            copy = scratch / kind / file.relative_to(root / kind)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    yield from (
        (f"data/{kind}/{each.relative_to(scratch / kind)}", each)
        for each in _files(scratch / kind / folder.relative_to(root / kind))
    )


def _links(root: Path, folder: Path, prefix: str, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Hold on to files that are only ever replaced whole or removed, which may happen while they are read."""
    for file in _files(folder):
        name = f"{prefix}/{file.relative_to(root)}"
        kept = scratch / "kept" / name
        kept.parent.mkdir(parents=True, exist_ok=True)
        try:
            _link(file, kept)
        except FileNotFoundError:
            continue  # removed meanwhile
        yield name, kept


def _link(file: Path, kept: Path) -> None:
    try:
        kept.hardlink_to(file)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(file, kept)  # the backup is written to another disk


def _files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part in str(path.relative_to(folder)) for part in _LEFT_OUT)
    )


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def unpack_archive(path: Path, report: Report = _silent) -> Archived:
    """Unpack ``path`` into the empty data folder of the settings; ``report`` is told the fraction done and the stage.

    Raises
    ------
    ConflictError
        The data folder holds something already.
    InvalidInputError
        The archive's database is of a kind that DATABASE_URL does not name. Nothing is left behind.
    CorruptFileError
        The file is no such archive, or something in it was altered. Nothing is left behind.
    """
    root: Path = settings.DATA_ROOT
    held = [each.name for each in root.glob("*") if each.name not in _MADE_BY_STARTS] if root.exists() else []
    if held:
        raise ConflictError(f"{root} must be empty, it holds {', '.join(sorted(held)[:3])}")
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".restore.", suffix=TEMPORARY, dir=root) as scratch:
        count = _unpack(path, Path(scratch), report)
        report(0.95, "putting in place")
        # The rows first: a database that refuses them leaves the folder as empty as it was.
        _put_rows_in_place(Path(scratch))
        _put_files_in_place(Path(scratch), root)
    report(1.0, "done")
    return Archived(count, path.stat().st_size)


def _unpack(path: Path, scratch: Path, report: Report) -> int:
    size = max(1, path.stat().st_size)
    try:
        with tarfile.open(path, "r:") as archive:
            digests = _digests_of(archive, path)
            _check_database(digests)
            for member in archive:
                report(0.95 * member.offset / size, "unpacking")
                _unpack_member(archive, member, digests, scratch)
    except (tarfile.TarError, EOFError, KeyError, ValueError) as error:
        raise CorruptFileError(f"{path} is no backup of this service, or is damaged: {error}") from error
    missing = [name for name in digests if not (scratch / name).is_file()]
    if missing:
        raise CorruptFileError(f"{path} lacks {missing[0]}")
    return len(digests)


def _digests_of(archive: tarfile.TarFile, path: Path) -> dict[str, str]:
    first = archive.next()
    content = archive.extractfile(first) if first is not None and first.name == _DIGESTS else None
    if content is None:
        raise CorruptFileError(f"{path} is no backup of this service")
    found: dict[str, str] = json.load(content)["digests"]
    return found


def _check_database(names: Container[str]) -> None:
    """Refuse, before anything is unpacked, a database that the settings have no place for."""
    if _DATABASE in names and connection.vendor != "sqlite":
        raise InvalidInputError("the backup holds an SQLite database; unset DATABASE_URL to restore it")


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, digests: dict[str, str], scratch: Path) -> None:
    if member.name == _DIGESTS:
        return
    content = archive.extractfile(member)
    parts = PurePosixPath(member.name).parts
    if content is None or not member.isfile() or member.name not in digests or ".." in parts or parts[0] == "/":
        raise CorruptFileError(f"{member.name} does not belong into a backup")
    target = scratch / member.name
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    digest = hashlib.sha256()
    with _created(target, 0o640) as handle:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            handle.write(chunk)
    if digest.hexdigest() != digests[member.name]:
        raise CorruptFileError(f"{member.name} was altered: its digest differs")


def _put_files_in_place(scratch: Path, root: Path) -> None:
    for source, target in ((scratch / "data", root), (scratch / "reports", settings.REPORTS_ROOT)):
        for file in sorted(path for path in source.rglob("*") if path.is_file()) if source.exists() else ():
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            _move(file, place)


def _move(file: Path, place: Path) -> None:
    """Put a file in its place at once, which may be on another disk."""
    try:
        file.replace(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy = place.with_name(f".{place.name}{TEMPORARY}")
        shutil.copy(file, copy)
        copy.replace(place)


def _put_rows_in_place(scratch: Path) -> None:
    connection.close()
    if (scratch / _DATABASE).is_file():
        _move(scratch / _DATABASE, Path(str(settings.DATABASES["default"]["NAME"])))
    else:
        call_command("migrate", interactive=False, verbosity=0)
        call_command("loaddata", str(scratch / _ROWS), verbosity=0)
