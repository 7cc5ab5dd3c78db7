"""The files read last, decoded; an entry serves only the very version of the file it was read from."""

import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from markets.store.disk import Identity
from markets.store.files import Sheet

_COLUMN_BYTES = 8


class _Entry(NamedTuple):
    identity: Identity
    sheet: Sheet
    read_at: float
    size: int


class SheetCache:
    """Least recently used first out, above ``max_bytes``; an entry older than ``seconds`` is read and checked anew."""

    def __init__(self, *, max_bytes: int, seconds: float) -> None:
        self._max_bytes, self._seconds = max_bytes, seconds
        self._entries: OrderedDict[Path, _Entry] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0

    def get(self, path: Path, identity: Identity, *, with_flow: bool) -> Sheet | None:
        with self._lock:
            entry = self._entries.get(path)
            if (
                entry is None
                or entry.identity != identity
                or time.monotonic() - entry.read_at > self._seconds
                or (with_flow and entry.sheet.candles.flow is None)
            ):
                return None
            self._entries.move_to_end(path)
            return entry.sheet

    def put(self, path: Path, identity: Identity, sheet: Sheet) -> None:
        columns = 6 if sheet.candles.flow is None else 10
        size = len(sheet.candles) * columns * _COLUMN_BYTES
        with self._lock:
            self._drop(path)
            self._entries[path] = _Entry(identity, sheet, time.monotonic(), size)
            self.bytes += size
            while self.bytes > self._max_bytes and len(self._entries) > 1:
                self._drop(next(iter(self._entries)))

    def drop(self, path: Path) -> None:
        """Forget a file."""
        with self._lock:
            self._drop(path)

    def _drop(self, path: Path) -> None:
        entry = self._entries.pop(path, None)
        if entry is not None:
            self.bytes -= entry.size
