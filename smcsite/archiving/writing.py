"""Writing an archive: what moves meanwhile is copied or held first, then all goes into one file."""

import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction

from markets.errors import ConflictError
from markets.series import SeriesKey
from markets.store.disk import TEMPORARY
from markets.store.locks import SeriesLock
from signals.log.generations import series_lock
from smcsite.archiving.members import DATABASE, DIGESTS, ROWS, Archived, Report, created
from smcsite.version import VERSION

# What another start makes anew, or what names this machine.
_LEFT_OUT = (TEMPORARY, ".lock", ".breaker")
_ROW_KINDS_LEFT_OUT = ("contenttypes", "auth.permission", "sessions", "admin.logentry")
_TABLES_LEFT_OUT = ("django_session", "django_admin_log")


def write_archive(path: Path, report: Report = lambda fraction, stage: None) -> Archived:
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
    with created(path, 0o600) as handle:
        with tarfile.open(fileobj=handle, mode="w", format=tarfile.PAX_FORMAT) as archive:
            archive.addfile(_member(DIGESTS, len(told)), io.BytesIO(told))
            for number, (name, file) in enumerate(members):
                report(0.7 + 0.3 * number / len(members), f"writing {number:,} of {len(members):,} files")
                with file.open("rb") as content:
                    archive.addfile(_member(name, file.stat().st_size), content)
        handle.flush()
        os.fsync(handle.fileno())


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
        copy = scratch / DATABASE
        name = str(settings.DATABASES["default"]["NAME"])
        with closing(sqlite3.connect(name, timeout=30)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            _empty(target)
        return DATABASE, copy
    copy = scratch / ROWS
    with copy.open("w") as rows, transaction.atomic(), connection.cursor() as cursor:
        # Every table as of one moment, so that no row is there without the one it points to.
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        call_command("dumpdata", exclude=_ROW_KINDS_LEFT_OUT, natural_foreign=True, stdout=rows, verbosity=0)
    return ROWS, copy


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
