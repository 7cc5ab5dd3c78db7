"""Every state that a power cut may leave of a series of disk operations."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

from tests.markets.store.disks import SECTOR, Operation


class _Pending(NamedTuple):
    """A change of names that is not safe before its folder is synced; ``inode`` None takes the name away."""

    names: tuple[tuple[Path, int | None], ...]


class PowerCut:
    """A disk that promises only what POSIX does.

    Of a file's bytes what was synced is safe; of the rest any may be there: none, some, zeros for the last. A file that
    was cut may be as long as before, until it is synced.
    Of a folder's changes those before its last sync are safe; of those after, any subset.
    """

    def __init__(self, files: dict[Path, bytes]) -> None:
        self._names = {path: at for at, path in enumerate(files)}
        self._written = dict(enumerate(files.values()))
        self._synced = dict(self._written)
        self._safe = dict(self._names)
        self._pending: list[_Pending] = []

    def apply(self, operation: Operation) -> None:
        path = operation.path
        if operation.kind == "open":
            self._names[path] = inode = len(self._written)
            self._written[inode] = b""
            self._pending.append(_Pending(((path, inode),)))
        elif operation.kind == "write":
            self._written[self._names[path]] += operation.data
        elif operation.kind == "truncate":
            inode = self._names[path]
            self._written[inode] = self._written[inode][: operation.size]
        elif operation.kind == "fsync":
            self._synced[self._names[path]] = self._written[self._names[path]]
        elif operation.kind == "replace":
            assert operation.target is not None
            self._names[operation.target] = inode = self._names.pop(path)
            self._pending.append(_Pending(((path, None), (operation.target, inode))))
        elif operation.kind == "unlink":
            del self._names[path]
            self._pending.append(_Pending(((path, None),)))
        else:
            self._safe, self._pending = dict(self._names), []

    def states(self) -> Iterator[dict[Path, bytes]]:
        """Yield what the disk may hold when the power goes now."""
        for choice in product((False, True), repeat=len(self._pending)):
            names: dict[Path, int | None] = dict(self._safe)
            for pending, is_there in zip(self._pending, choice, strict=True):
                names.update(pending.names if is_there else ())
            there = {path: inode for path, inode in names.items() if inode is not None}
            for contents in product(*(self._contents(inode) for inode in there.values())):
                yield dict(zip(there, contents, strict=True))

    def _contents(self, inode: int) -> list[bytes]:
        written, synced = self._written[inode], self._synced.get(inode, b"")
        if synced == written:
            return [written]
        safe = len(synced) if written.startswith(synced) else 0
        half = safe + (len(written) - safe) // 2
        if half - safe > SECTOR:
            half = half // SECTOR * SECTOR
        half_zero = written[:half] + bytes(len(written) - half)
        return list(dict.fromkeys([synced, written[:safe], written[:half], half_zero, written]))
