"""One writer a series, over threads and processes alike."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from markets.errors import StoreError
from markets.store.disk import FILE_MODE
from markets.store.layout import LOCK

_PATIENCE_SECONDS = 30.0
_PAUSE_SECONDS = 0.002


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the series of ``folder`` alone. The kernel lets go when the holder dies, so nothing is ever left locked."""
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        _wait(handle, folder)
        yield
    finally:
        os.close(handle)


def _wait(handle: int, folder: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StoreError(f"{folder} is held by another process for {_PATIENCE_SECONDS:.0f} s") from None
            time.sleep(_PAUSE_SECONDS)
        else:
            return
