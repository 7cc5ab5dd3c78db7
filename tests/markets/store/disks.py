"""Disks that fail, record, or die at a chosen moment, and the states a crash may leave."""

import errno
import os
import signal
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from markets.candles import Candles
from markets.series import SeriesKey
from markets.store import CandleStore
from markets.store.disk import Disk
from markets.store.layout import folder_of
from tests.factories import walk

MINUTE = SeriesKey.of("BTCUSDT", "1m")
SEED = 20_261_125
SECTOR = 512


def oracle(n: int, *, start: int = 1_700_000_040_000) -> Candles:
    """Return the candles every test of durability stores; any part of them can be checked against this."""
    return walk(SEED, n, start=start)


def same(one: Candles, other: Candles) -> bool:
    names = ("open_time", "open", "high", "low", "close", "volume")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def everything(store: CandleStore, series: SeriesKey = MINUTE) -> Candles:
    return store.read(series, start=None, end=None)


def folder(store: CandleStore, series: SeriesKey = MINUTE) -> Path:
    return folder_of(store.root, series)


def python(text: str, *arguments: object) -> list[str]:
    """Return the command that runs an indented text as a program."""
    return [sys.executable, "-c", textwrap.dedent(text), *map(str, arguments)]


def leftovers(root: Path) -> list[str]:
    return [path.name for path in root.rglob("*.tmp")]


@dataclass(frozen=True)
class Operation:
    """One call of ``Disk``, with what it was given."""

    kind: str
    path: Path
    target: Path | None = None
    data: bytes = b""
    size: int = 0


def in_a_fork(action: Callable[[], Any]) -> int:
    """Do ``action`` in a process of its own; return how that ended: 0, 1 after an error, or minus the signal."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class RecordingDisk(Disk):
    """Writes down what is done, by file and in order."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._paths: dict[int, Path] = {}

    def open_new(self, path: Path) -> int:
        handle = super().open_new(path)
        self._paths[handle] = path
        self.operations.append(Operation("open", path))
        return handle

    def open_end(self, path: Path) -> int:
        handle = super().open_end(path)
        self._paths[handle] = path
        return handle

    def truncate(self, handle: int, size: int) -> None:
        self.operations.append(Operation("truncate", self._paths[handle], size=size))
        super().truncate(handle, size)

    def write(self, handle: int, data: memoryview) -> int:
        self.operations.append(Operation("write", self._paths[handle], data=bytes(data)))
        return super().write(handle, data)

    def fsync(self, handle: int) -> None:
        self.operations.append(Operation("fsync", self._paths[handle]))
        super().fsync(handle)

    def replace(self, source: Path, target: Path) -> None:
        self.operations.append(Operation("replace", source, target))
        super().replace(source, target)

    def unlink(self, path: Path) -> None:
        # Not all that are to go are there.
        super().unlink(path)
        self.operations.append(Operation("unlink", path))

    def fsync_folder(self, folder: Path) -> None:
        self.operations.append(Operation("fsync_folder", folder))
        super().fsync_folder(folder)


class StepDisk(Disk):
    """Calls ``happen`` instead of its ``at``-th operation, counted from 1.

    Writes go out in pieces, one a step; what is no longer than a sector, one half after the other.
    """

    def __init__(self, at: int, *, piece: int = SECTOR) -> None:
        self.at, self.steps, self.met, self._piece = at, 0, "", piece

    def happen(self) -> None:
        raise NotImplementedError

    def _step(self, kind: str) -> None:
        self.steps += 1
        if self.steps == self.at:
            self.met = kind
            self.happen()

    def open_new(self, path: Path) -> int:
        self._step("open_new")
        return super().open_new(path)

    def open_end(self, path: Path) -> int:
        self._step("open_end")
        return super().open_end(path)

    def truncate(self, handle: int, size: int) -> None:
        self._step("truncate")
        super().truncate(handle, size)

    def write(self, handle: int, data: memoryview) -> int:
        self._step("write")
        return super().write(handle, data[: self._piece if len(data) > SECTOR else max(1, len(data) // 2)])

    def fsync(self, handle: int) -> None:
        self._step("fsync")
        super().fsync(handle)

    def replace(self, source: Path, target: Path) -> None:
        self._step("replace")
        super().replace(source, target)

    def unlink(self, path: Path) -> None:
        self._step("unlink")
        super().unlink(path)

    def fsync_folder(self, folder: Path) -> None:
        self._step("fsync_folder")
        super().fsync_folder(folder)


class DyingDisk(StepDisk):
    """Kills its process, as ``kill -9`` does."""

    def happen(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class FailingDisk(StepDisk):
    """Fails with an error of the system."""

    def __init__(self, at: int, number: int = errno.ENOSPC) -> None:
        super().__init__(at)
        self.number = number

    def happen(self) -> None:
        raise OSError(self.number, os.strerror(self.number))


class FullDisk(Disk):
    """Has as much space as it is told."""

    def __init__(self) -> None:
        self.free = 10**12

    def free_bytes(self, folder: Path) -> int:
        return self.free
