"""The faults of frames: what is sent instead of, beside, before or after what the market says."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from markets.replay.book import Book
from markets.replay.faults import Fault, Faults
from markets.replay.frames import Frame, frame_of
from markets.replay.market import Row
from markets.replay.scripted import revised
from markets.replay.verbs import Place
from markets.series import SeriesKey

_DAY = 86_400_000


class Later(Protocol):
    """What the faults need of the feed."""

    def at(self, moment: int, action: Callable[[], None]) -> None: ...

    def send(self, frame: Frame) -> None: ...


class FrameFaults:
    """Decides what becomes of each frame. Faults act in the order of ``_STEPS``."""

    def __init__(self, faults: Faults, book: Book, feed: Later) -> None:
        self._faults = faults
        self._book = book
        self._feed = feed
        self._held: dict[SeriesKey, tuple[int, str, list[Frame]]] = {}

    def __call__(self, frame: Frame) -> list[Frame]:
        """Return the frames to send in place of ``frame``."""
        if not self._faults.has(Place.FRAME) and not self._held:
            return [frame]
        if self._strike("mute", frame):
            return []
        if frame.is_closed:
            self._revise(frame)
            if self._strike("omit_close", frame):
                return []
            fault = self._strike("late_close", frame)
            if fault is not None:
                self._feed.at(self._after(fault["seconds"]), lambda: self._feed.send(frame))
                return []
        frames = [frame]
        for verb, step in _STEPS.items():
            fault = self._strike(verb, frame)
            if fault is not None:
                frames = step(self, fault, frames)
        return self._reordered(frame, frames)

    def revise(self, series: SeriesKey, fault: Fault, open_time: int) -> None:
        """Give a candle another value, told from some seconds after its close on."""
        row = self._book.closed(series, open_time)
        if row is None:
            return
        new = revised(row, fault["change"], self._book.market.listings[series.symbol])
        close = open_time + series.timeframe.milliseconds
        since = max(close + round(fault["seconds"] * 1000), self._book.clock.now())
        self._book.market.revise(series, new, since=since)
        if fault["where"] == "stream":
            self._feed.at(since, lambda: self._feed.send(self._closing(series, new)))

    def _closing(self, series: SeriesKey, row: Row) -> Frame:
        return frame_of(series, row, event_time=self._book.told_time(), is_closed=True)

    def _revise(self, frame: Frame) -> None:
        for fault in self._faults.standing("revise", series=frame.series):
            if fault["open_time"] is None and self._faults.count(fault):
                self.revise(frame.series, fault, frame.row.open_time)

    def _strike(self, verb: str, frame: Frame) -> Fault | None:
        for fault in self._faults.standing(verb, series=frame.series):
            if _is_of(fault.arguments.get("which", "all"), frame) and self._faults.count(fault):
                return fault
        return None

    def _after(self, seconds: float) -> int:
        return self._book.clock.now() + round(seconds * 1000)

    def _reordered(self, frame: Frame, frames: list[Frame]) -> list[Frame]:
        """Hold a frame back until so many later ones of its series and kind are sent."""
        fault = None if frame.series in self._held else self._strike("reorder", frame)
        if fault is not None:
            self._held[frame.series] = (int(fault["by"]), fault["which"], frames)
            return []
        left, which, held = self._held.get(frame.series, (0, "all", []))
        if not held or not _is_of(which, frame):
            return frames
        if left > 1:
            self._held[frame.series] = (left - 1, which, held)
            return frames
        del self._held[frame.series]
        return [*frames, *held]

    def _repeat(self, fault: Fault, frames: list[Frame]) -> list[Frame]:
        return frames * (1 + int(fault["times"]))

    def _burst(self, fault: Fault, frames: list[Frame]) -> list[Frame]:
        return frames * int(fault["times"])

    def _bad_number(self, fault: Fault, frames: list[Frame]) -> list[Frame]:
        return [frame.with_kline(**{fault["field"]: fault["value"]}) for frame in frames]

    def _bad_ohlc(self, fault: Fault, frames: list[Frame]) -> list[Frame]:
        return [frame.with_kline(h=frame.event["k"]["l"], l=f"{frame.row.high * 1.01:.8f}") for frame in frames]

    def _offset(self, fault: Fault, frames: list[Frame]) -> list[Frame]:
        return [_moved(frame, round(fault["seconds"] * 1000)) for frame in frames]

    def _future(self, fault: Fault, frames: list[Frame]) -> list[Frame]:
        ahead = round(fault["days"] * _DAY) // frames[0].series.timeframe.milliseconds
        moved = _moved(frames[0], max(1, ahead) * frames[0].series.timeframe.milliseconds)
        return [*frames, replace(moved.with_kline(x=True), is_closed=True)]

    def _old_bar(self, fault: Fault, frames: list[Frame]) -> list[Frame]:
        series, row = frames[0].series, frames[0].row
        old = self._book.closed(series, row.open_time - int(fault["candles"]) * series.timeframe.milliseconds)
        return frames if old is None else [*frames, self._closing(series, old)]

    def _corrupt(self, fault: Fault, frames: list[Frame]) -> list[Frame]:
        return [replace(frame, spoil=_flipped) for frame in frames]

    def _truncate(self, fault: Fault, frames: list[Frame]) -> list[Frame]:
        return [replace(frame, spoil=_halved) for frame in frames]


_STEPS: Mapping[str, Callable[[FrameFaults, Fault, list[Frame]], list[Frame]]] = {
    "bad_number": FrameFaults._bad_number,
    "bad_ohlc": FrameFaults._bad_ohlc,
    "offset": FrameFaults._offset,
    "future": FrameFaults._future,
    "old_bar": FrameFaults._old_bar,
    "corrupt": FrameFaults._corrupt,
    "truncate": FrameFaults._truncate,
    "dup": FrameFaults._repeat,
    "burst": FrameFaults._burst,
}


def _is_of(which: str, frame: Frame) -> bool:
    return which in ("all", "closed" if frame.is_closed else "forming")


def _moved(frame: Frame, milliseconds: int) -> Frame:
    kline = frame.event["k"]
    return frame.with_kline(t=kline["t"] + milliseconds, T=kline["T"] + milliseconds)


def _flipped(text: bytes) -> bytes:
    """Change some bytes of a text, which stays ASCII."""
    spoiled = bytearray(text)
    for at in range(7, len(spoiled), 23):
        spoiled[at] = 0x21 + (spoiled[at] * 7 + at) % 90
    return bytes(spoiled)


def _halved(text: bytes) -> bytes:
    return text[: len(text) // 2]
