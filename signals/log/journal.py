"""The journal: the newest candles' facts, appended frame by frame, until they are merged into the month files.

A journal opens with where it begins: the candle up to which the month files are complete, and the detectors'
states after it. Each frame holds the facts of the candles after ``since`` up to ``through``, and a checksum.
A torn or foreign tail ends the journal. Frames follow from the candles, so two writers that append the same
candles do no harm: a reader drops what it has. One rename replaces a journal, which is what commits a merge.
"""

import json
import os
import struct
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from markets.errors import CorruptFileError
from markets.store.disk import replace_file
from signals.engine.layout import RecordArray
from signals.log.rows import LOGGED, MARKED

NAME = "journal.log"
_MAGIC = b"SMCLOG01"
_HEAD = struct.Struct("<8sII")  # magic, length and checksum of the JSON that follows
_FRAME = struct.Struct("<IIqqqIII")  # length, checksum; since, through, edit, candles' checksum, signals, marks


@dataclass(frozen=True, slots=True)
class Opening:
    """How a journal begins. ``base`` is the open time of the last candle whose facts are in the month files.

    ``first`` is the open time of the first candle of all, ``edit`` the store's edit number, ``checksum`` that of
    all candles folded so far, ``bars`` how many they were; ``state_sizes`` the lengths of the detectors' states.
    """

    base: int
    first: int
    bars: int
    edit: int
    checksum: int
    state_sizes: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The facts of the candles with ``since`` < open time <= ``through``, in the log's order."""

    since: int
    through: int
    edit: int
    checksum: int
    signals: RecordArray
    marks: RecordArray

    def after(self, time: int) -> "Frame":
        """Return the part of the frame that is later than ``time``."""
        if self.since >= time:
            return self
        return Frame(
            time,
            self.through,
            self.edit,
            self.checksum,
            self.signals[self.signals["confirm_time"] > time],
            self.marks[self.marks["time"] > time],
        )


def no_facts() -> tuple[RecordArray, RecordArray]:
    signals: RecordArray = np.empty(0, LOGGED)
    marks: RecordArray = np.empty(0, MARKED)
    return signals, marks


def write_journal(folder: Path, opening: Opening, states: tuple[bytes, bytes]) -> None:
    """Begin a new journal in place of the old one."""
    head = json.dumps(asdict(opening)).encode()
    data = _HEAD.pack(_MAGIC, len(head), zlib.crc32(head)) + head + states[0] + states[1]
    replace_file(folder / NAME, data, is_durable=False)


def pack(frame: Frame) -> bytes:
    """Return a frame as bytes."""
    body = frame.signals.tobytes() + frame.marks.tobytes()
    counts = (frame.since, frame.through, frame.edit, frame.checksum, len(frame.signals), len(frame.marks))
    unchecked = _FRAME.pack(len(body), 0, *counts)
    return _FRAME.pack(len(body), zlib.crc32(body, zlib.crc32(unchecked)), *counts) + body


def append(folder: Path, frame: Frame) -> tuple[int, int]:
    """Add a frame to the journal in ``folder``; return its ``status_of`` after that.

    It is not handed to the disk at once: what a power cut takes is folded again from the candles.
    """
    handle = os.open(f"{folder}/{NAME}", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        left = pack(frame)
        while left:
            left = left[os.write(handle, left) :]
        status = os.fstat(handle)
        return status.st_ino, status.st_size
    finally:
        os.close(handle)


class JournalReader:
    """Reads a journal, and later what was appended since. ``inode`` says which file it is: a merge replaces it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        with self._path.open("rb") as file:
            self.inode = os.fstat(file.fileno()).st_ino
            self.opening = _read_opening(file, self._path)
            self._states_at = file.tell()
        self.frames_at = self._states_at + sum(self.opening.state_sizes)
        self.position = self.frames_at
        self.through = self.opening.base

    def states(self) -> tuple[bytes, bytes]:
        """Return the detectors' states after the base."""
        first, second = self.opening.state_sizes
        content = self._read(self._states_at, first + second)
        return content[:first], content[first:]

    def new_frames(self) -> list[Frame]:
        """Return the frames since the last call, up to the first that is not whole."""
        content, at, frames = self._read(self.position, -1), 0, []
        while (frame := _parse(content, at)) is not None and frame.since <= self.through:
            at += _FRAME.size + frame.signals.nbytes + frame.marks.nbytes
            # A frame without candles tells that the store was edited and the log still holds.
            if frame.through > self.through or frame.since == self.through:
                frames.append(frame.after(self.through))
                self.through = frame.through
        self.position += at
        return frames

    def _read(self, start: int, size: int) -> bytes:
        """Read from the file this reader began with; nothing when another took its place."""
        with self._path.open("rb") as file:
            if os.fstat(file.fileno()).st_ino != self.inode:
                return b""
            file.seek(start)
            return file.read(size)


def _read_opening(file: BinaryIO, path: Path) -> Opening:
    fixed = file.read(_HEAD.size)
    if len(fixed) < _HEAD.size or not fixed.startswith(_MAGIC):
        raise CorruptFileError(f"{path} is not a journal")
    _, length, checksum = _HEAD.unpack(fixed)
    head = file.read(length)
    if zlib.crc32(head) != checksum:
        raise CorruptFileError(f"{path} is damaged at its beginning")
    values: dict[str, Any] = json.loads(head)
    return Opening(**{**values, "state_sizes": tuple(values["state_sizes"])})


def _parse(content: bytes, at: int) -> Frame | None:
    if len(content) - at < _FRAME.size:
        return None
    length, checksum, since, through, edit, candles, signals, marks = _FRAME.unpack_from(content, at)
    body = content[at + _FRAME.size : at + _FRAME.size + length]
    unchecked = _FRAME.pack(length, 0, since, through, edit, candles, signals, marks)
    if len(body) < length or zlib.crc32(body, zlib.crc32(unchecked)) != checksum:
        return None
    split = signals * LOGGED.itemsize
    return Frame(
        since, through, edit, candles, np.frombuffer(body[:split], LOGGED), np.frombuffer(body[split:], MARKED)
    )


def status_of(folder: Path) -> tuple[int, int]:
    """Return inode and size of the journal in ``folder``: equal values, equal content."""
    status = os.stat(f"{folder}/{NAME}")  # noqa: PTH116  # paths cost twice as much, and every question asks
    return status.st_ino, status.st_size
