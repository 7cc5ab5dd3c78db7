"""Every touch of the disk: a file is replaced whole and durably, and read through one handle."""

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from markets.errors import OvertakenError, StoreError, StoreFullError

FILE_MODE, FOLDER_MODE = 0o640, 0o750
TEMPORARY = ".tmp"

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Identity(NamedTuple):
    """What tells one version of a file, and of the journal beside it, from every other.

    While the file stays, its journal only grows, so ``journal``, its length in bytes, is enough.
    """

    inode: int
    size: int
    mtime_ns: int
    journal: int = 0

    @property
    def of_file(self) -> "Identity":
        """The identity of the file alone."""
        return self._replace(journal=0) if self.journal else self


class Disk:
    """The operations a commit is made of, one method each, so that a test can fail or record any of them."""

    def open_new(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)

    def open_end(self, path: Path) -> int:
        """Open a file that there is, to write at its end."""
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def write(self, handle: int, data: memoryview) -> int:
        return os.write(handle, data)

    def truncate(self, handle: int, size: int) -> None:
        os.ftruncate(handle, size)

    def fsync(self, handle: int) -> None:
        os.fsync(handle)

    def replace(self, source: Path, target: Path) -> None:
        source.replace(target)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def fsync_folder(self, folder: Path) -> None:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def free_bytes(self, folder: Path) -> int:
        """Return how much an ordinary user may still write to the disk of ``folder``."""
        stats = os.statvfs(folder)
        return stats.f_bavail * stats.f_frsize


def commit(
    disk: Disk, path: Path, data: bytes | memoryview, *, confirm: Callable[[], None], is_durable: bool = True
) -> Identity:
    """Make ``data`` the content of ``path``: afterwards, and after any crash, the file is the old or the new one.

    The order is fixed: new file, write, fsync, rename over the old one, fsync the folder. Only then may anyone be
    told. ``confirm`` is called before the rename and may raise to stop it. ``is_durable=False`` leaves out the
    folder, for files that can be made anew from others.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY}")
    with translated(path):
        handle = disk.open_new(temporary)
        try:
            try:
                _write_all(disk, handle, data)
                # The kernel's clock ticks in milliseconds; an identity needs a time that no other version has.
                os.utime(handle, ns=(now := time.time_ns(), now))
                disk.fsync(handle)
                status = os.fstat(handle)
            finally:
                os.close(handle)
            confirm()
            disk.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        if is_durable:
            disk.fsync_folder(path.parent)
    return Identity(status.st_ino, status.st_size, status.st_mtime_ns)


def replace_file(path: Path, data: bytes | memoryview, *, is_durable: bool = True) -> None:
    """``commit``, for a file that nobody else writes."""
    commit(Disk(), path, data, confirm=lambda: None, is_durable=is_durable)


def append(disk: Disk, path: Path, data: bytes, *, at: int, confirm: Callable[[], None]) -> None:
    """Add ``data`` to the end of ``path``, which is ``at`` bytes long; it is on the disk for good when this returns.

    An error of the disk leaves the file as long as it was. ``confirm`` is called before the first write and after the
    last, and may raise: what was written by then is another's to keep.
    """
    with translated(path):
        try:
            handle, is_new = disk.open_end(path), False
        except FileNotFoundError:
            handle, is_new = disk.open_new(path), True
        try:
            confirm()
            if os.fstat(handle).st_size != at:
                raise OvertakenError(f"another process writes to {path}")
            try:
                _write_all(disk, handle, data)
                disk.fsync(handle)
            except OSError:
                with contextlib.suppress(OSError, OvertakenError):
                    confirm()
                    disk.truncate(handle, at)
                raise
            confirm()
        finally:
            os.close(handle)
        if is_new:
            disk.fsync_folder(path.parent)


def empty(disk: Disk, path: Path, *, at: int, confirm: Callable[[], None]) -> None:
    """Take away all that stands in ``path``, when it is still ``at`` bytes long. It may come back with a power cut."""
    with translated(path):
        handle = disk.open_end(path)
        try:
            confirm()
            if os.fstat(handle).st_size == at:
                disk.truncate(handle, 0)
        finally:
            os.close(handle)


def make_folder(disk: Disk, folder: Path) -> None:
    """Make a folder and those above it, durably."""
    if folder.is_dir():
        return
    make_folder(disk, folder.parent)
    with translated(folder):
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        disk.fsync_folder(folder.parent)


def read(path: Path) -> tuple[bytes, Identity]:
    """Return the content and the identity of one version of the file, whoever replaces it meanwhile."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            return file.read(), Identity(status.st_ino, status.st_size, status.st_mtime_ns)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(f"cannot read {path} as user {os.getuid()}: {error.strerror}") from error


def identity(path: Path | str, journal: int = 0) -> Identity:
    status = os.stat(path)  # noqa: PTH116  # asked for each file of a series at each read, mostly with a text
    return Identity(status.st_ino, status.st_size, status.st_mtime_ns, journal)


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what the system says of ``path`` into an error of ours."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFullError(f"disk full: cannot write {path}; writes stop, reads go on") from error
        raise StoreError(f"cannot write {path} as user {os.getuid()}: {error.strerror}") from error


def _write_all(disk: Disk, handle: int, data: bytes | memoryview) -> None:
    left = memoryview(data)
    while left:
        left = left[disk.write(handle, left) :]
