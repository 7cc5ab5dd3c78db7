"""The fence around the data folder: whoever led before the present leader writes nothing any more."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from markets.errors import FencedError

_PATIENCE_SECONDS = 3.0


class Fence:
    """A number in a file beside the data, which each leader raises when it begins.

    The lease in Redis elects, but a process that was stopped does not notice that it has lost it. So each write
    happens while the number is held still and is ours. The file lies where the writes go: a leader that is cut off
    from Redis, and only from that, goes on until another one has begun.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.epoch = 0

    def take(self) -> int:
        """Begin to lead: raise the number and return it. Waits a while for a write under way.

        A leader that was stopped amid a write holds the file for as long as that lasts. The number is raised all the
        same then: that one write is of a kind that may be done twice.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o640)
        try:
            self._lock_patiently(descriptor)
            # Time in ms, so that a folder that is restored or new is never behind what Redis remembers.
            self.epoch = max(_number(os.pread(descriptor, 32, 0)) + 1, time.time_ns() // 1_000_000)
            os.pwrite(descriptor, str(self.epoch).encode(), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return self.epoch

    def check(self) -> None:
        """Raise ``FencedError`` when another leader has begun."""
        try:
            found = _number(self._path.read_bytes())
        except FileNotFoundError:
            found = 0
        self._require_ours(found)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Let the block write as leader; nobody takes over meanwhile."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CREAT, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            self._require_ours(_number(os.pread(descriptor, 32, 0)))
            yield
        finally:
            os.close(descriptor)

    def _require_ours(self, found: int) -> None:
        if found > self.epoch:
            raise FencedError(f"another stream worker leads since epoch {found}")

    def _lock_patiently(self, descriptor: int) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.02)
            else:
                return


def _number(text: bytes) -> int:
    return int(text) if text.strip().isdigit() else 0
