"""Unpacking an archive into an empty data folder: every member is checked before anything is put in its place."""

import errno
import hashlib
import json
import shutil
import tarfile
import tempfile
from collections.abc import Container
from pathlib import Path, PurePosixPath

from django.conf import settings
from django.core.management import call_command
from django.db import connection

from markets.errors import ConflictError, CorruptFileError, InvalidInputError
from markets.store.disk import TEMPORARY
from smcsite.archiving.members import DATABASE, DIGESTS, ROWS, Archived, Report, created

_CHUNK = 1024 * 1024
# The command itself leaves these in an empty folder: a log, machine code.
_MADE_BY_STARTS = ("var", "numba")


def unpack_archive(path: Path, report: Report = lambda fraction, stage: None) -> Archived:
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
    content = archive.extractfile(first) if first is not None and first.name == DIGESTS else None
    if content is None:
        raise CorruptFileError(f"{path} is no backup of this service")
    found: dict[str, str] = json.load(content)["digests"]
    return found


def _check_database(names: Container[str]) -> None:
    """Refuse, before anything is unpacked, a database that the settings have no place for."""
    if DATABASE in names and connection.vendor != "sqlite":
        raise InvalidInputError("the backup holds an SQLite database; unset DATABASE_URL to restore it")


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, digests: dict[str, str], scratch: Path) -> None:
    if member.name == DIGESTS:
        return
    content = archive.extractfile(member)
    parts = PurePosixPath(member.name).parts
    if content is None or not member.isfile() or member.name not in digests or ".." in parts or parts[0] == "/":
        raise CorruptFileError(f"{member.name} does not belong into a backup")
    target = scratch / member.name
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    digest = hashlib.sha256()
    with created(target, 0o640) as handle:
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
    if (scratch / DATABASE).is_file():
        _move(scratch / DATABASE, Path(str(settings.DATABASES["default"]["NAME"])))
    else:
        call_command("migrate", interactive=False, verbosity=0)
        call_command("loaddata", str(scratch / ROWS), verbosity=0)
