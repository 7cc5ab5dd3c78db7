"""The faults of connections: who is cut off, frozen or shut out, and when."""

import struct
from collections.abc import Callable
from itertools import islice

import orjson

from markets.replay.book import Book
from markets.replay.faults import Fault, Faults
from markets.replay.feed import Feed
from markets.replay.frame_faults import FrameFaults
from markets.replay.frames import Frame
from markets.replay.garbage import garbage
from markets.replay.streams import Connection, Payload
from markets.replay.verbs import VERBS, Place
from markets.series import SeriesKey

_HOUR = 3_600_000
_CUTS = [name for name, verb in VERBS.items() if verb.place is Place.CONNECTION]


class Director:
    """Carries out what is scripted for connections, the open ones and those to come."""

    def __init__(self, book: Book, feed: Feed, faults: Faults) -> None:
        self.connections: set[Connection] = set()
        self.connections_made = 0
        self._book = book
        self._feed = feed
        self._faults = faults
        self._frames = FrameFaults(faults, book, feed)
        feed.script = self._frames
        feed.after_frame = self._after_frame
        faults.listeners.append(self._on_change)

    def admit(self, connection: Connection) -> bool:
        """Take in a new connection; False when it is closed at once."""
        self.connections.add(connection)
        self.connections_made += 1
        self._set_limits(connection)
        fault = self._faults.strike("accept_close")
        if fault is not None:
            connection.wire.close_with(int(fault["code"]), "")
        return fault is None

    def dismiss(self, connection: Connection) -> None:
        self.connections.discard(connection)

    def _on_change(self, fault: Fault) -> None:
        """Hear of a fault that was added, or ended."""
        if fault.left != 0 and fault.begin > self._book.clock.now():
            self._feed.at(fault.begin, lambda: self._begin(fault))
        else:
            self._begin(fault)

    def _begin(self, fault: Fault) -> None:
        if fault.place is Place.SETTING:
            for connection in self.connections:
                self._set_limits(connection)
        elif fault.left == 0:
            for connection in self.connections:
                connection.is_stalled &= fault.verb != "stall"
        elif fault.verb == "revise" and fault["open_time"] is not None:
            self._revise(fault)
        elif fault.place in (Place.CONNECTION, Place.EXTRA) and fault.every is None and self._faults.count(fault):
            for connection in self._concerned(fault):
                self._act(fault, connection)

    def _after_frame(self, frame: Frame) -> None:
        if not self._faults.has(Place.CONNECTION):
            return
        for fault in self._faults.standing(*_CUTS, series=frame.series):
            if fault.every is not None and self._faults.count(fault):
                for connection in self._concerned(fault):
                    self._act(fault, connection)

    def _concerned(self, fault: Fault) -> list[Connection]:
        if fault.symbol is None and fault.timeframe is None:
            return list(self.connections)
        return [each for each in self.connections if any(map(fault.concerns, each.series))]

    def _act(self, fault: Fault, connection: Connection) -> None:
        actions: dict[str, Callable[[], None]] = {
            "rst": connection.wire.reset,
            "drop": connection.wire.hang_up,
            "close": lambda: connection.wire.close_with(int(fault["code"]), str(fault["reason"])),
            "freeze": lambda: connection.wire.freeze(_half_frame() if fault["mid_frame"] else b""),
            "stall": lambda: setattr(connection, "is_stalled", True),
            "server_shutdown": lambda: self._announce(connection, fault["seconds"]),
            "garbage": lambda: self._litter(connection, fault),
        }
        actions[fault.verb]()

    def _announce(self, connection: Connection, seconds: float) -> None:
        event = {"e": "serverShutdown", "E": self._book.told_time()}
        connection.send(Payload.of("!serverShutdown", orjson.dumps(event)))
        end = self._book.clock.now() + round(seconds * 1000)
        self._feed.at(end, lambda: connection.wire.close_with(1001, "server shutdown"))

    def _litter(self, connection: Connection, fault: Fault) -> None:
        for frame in islice(garbage(fault["kind"], seed=int(fault["seed"])), int(fault["frames"])):
            connection.wire.write(frame)

    def _revise(self, fault: Fault) -> None:
        for symbol in self._book.symbols():
            for timeframe in self._book.market.timeframes(symbol):
                series = SeriesKey.of(symbol, timeframe)
                if fault.concerns(series) and series.timeframe.floor(fault["open_time"]) == fault["open_time"]:
                    self._frames.revise(series, fault, fault["open_time"])
        self._faults.count(fault)

    def _set_limits(self, connection: Connection) -> None:
        """Apply the settings that hold now: messages a second, and when the connection has lived long enough."""
        connection.wire.messages_a_second = int(self._faults.setting("limits", "messages"))
        end = connection.opened_at + round(self._faults.setting("lifetime", "hours") * _HOUR)
        self._feed.at(end, lambda: self._expire(connection))

    def _expire(self, connection: Connection) -> None:
        """End a connection that is old enough by the setting of this moment, which may be another than before."""
        age = self._book.clock.now() - connection.opened_at
        if connection in self.connections and age >= self._faults.setting("lifetime", "hours") * _HOUR:
            connection.wire.close_with(1001, "disconnected after its lifetime")


def _half_frame() -> bytes:
    """Return the begin of a text frame of 500 bytes that does not go on."""
    return b"\x81\x7e" + struct.pack("!H", 500) + b'{"stream":"btcusdt@kline_1m","data":{"e":"kl'
