"""One writer a series, over threads and processes alike."""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from markets.errors import OvertakenError, StoreError
from markets.store.disk import FILE_MODE, translated
from markets.store.layout import LOCK

_PATIENCE_SECONDS = 30.0
# A holder says that it is alive with each file it writes, which takes milliseconds.
_DEAD_AFTER_SECONDS = 8.0
_PAUSE_SECONDS = 0.002
_BREAKER = f"{LOCK}.breaker"
_SIGN_SECONDS = 1.0


class Sign(NamedTuple):
    """A sign of life: the lock's file and the time it was given, in ns. No two holders leave equal ones."""

    inode: int
    time: int


class SeriesLock:
    """Holds the series of a folder alone, as a context manager.

    The kernel lets go when the holder dies. A holder that was stopped, or hangs in a disk, is robbed of the lock after
    some seconds without a sign of life; it notices in ``confirm``, which a commit calls last before its rename.

    ``former`` is the sign that was there when it was taken, ``sign`` the one that is left when it is let go: who finds
    the sign it left knows that nobody held the series meanwhile.
    """

    def __init__(
        self,
        folder: Path,
        *,
        patience_seconds: float = _PATIENCE_SECONDS,
        dead_after_seconds: float = _DEAD_AFTER_SECONDS,
    ) -> None:
        self._path, self._breaker = folder / LOCK, folder / _BREAKER
        self._patience_seconds, self._dead_after_seconds = patience_seconds, dead_after_seconds
        self._handle = -1
        self.former = self.sign = Sign(0, 0)

    def __enter__(self) -> Self:
        began = time.monotonic()
        while not self._try():
            waited = time.monotonic() - began
            if waited > self._patience_seconds:
                raise StoreError(f"{self._path.parent} is held by another process for {self._patience_seconds:.0f} s")
            # Not at once: who has just got the lock needs a moment to give its sign.
            if waited > min(1.0, self._dead_after_seconds):
                self._break_when_dead()
            time.sleep(_PAUSE_SECONDS)
        self.former = self.sign
        self._give_sign()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)

    def confirm(self) -> None:
        """Give a sign of life; raise ``OvertakenError`` when another process has taken the series over."""
        if not self._is_current():
            raise OvertakenError(f"another process took {self._path.parent} over while this one stood still")
        if time.time_ns() - self.sign.time > _SIGN_SECONDS * 1e9:
            self._give_sign()

    def _give_sign(self) -> None:
        # The kernel's own clock ticks in milliseconds, in which two may have held the lock.
        now = time.time_ns()
        os.utime(self._handle, ns=(now, now))
        self.sign = Sign(self.sign.inode, now)

    def _try(self) -> bool:
        with translated(self._path):
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._handle)
            return False
        if self._is_current():
            return True
        os.close(self._handle)
        return False

    def _is_current(self) -> bool:
        """Look whether the lock that is held is the one that counts, and at its sign."""
        held = os.fstat(self._handle)
        self.sign = Sign(held.st_ino, held.st_mtime_ns)
        try:
            return os.path.samestat(held, os.stat(self._path))  # noqa: PTH116  # several times a candle
        except FileNotFoundError:
            return False

    def _break_when_dead(self) -> None:
        """Put a new lock in the place of one whose holder gives no sign of life."""
        try:
            if time.time() - self._path.stat().st_mtime < self._dead_after_seconds:
                return
        except FileNotFoundError:
            return
        breaker = os.open(self._breaker, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            # One at a time, and each looks again: else two could break one after the other and both hold it.
            fcntl.flock(breaker, fcntl.LOCK_EX)
            if time.time() - self._path.stat().st_mtime >= self._dead_after_seconds:
                self._path.unlink()
        except FileNotFoundError:
            return
        finally:
            os.close(breaker)
