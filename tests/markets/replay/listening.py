"""A plain client of the streams, for tests that look at frames as they come."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import websocket

from tests.replaying import Replay


class Client:
    """One connection. ``recv`` returns parsed JSON."""

    def __init__(self, url: str) -> None:
        self.socket = websocket.create_connection(url, timeout=10, skip_utf8_validation=True)

    def recv(self) -> Any:
        text = self.socket.recv()
        if not text:
            raise websocket.WebSocketConnectionClosedException("the connection was closed")
        return json.loads(text)

    def send(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def ask(self, **message: Any) -> Any:
        """Send a control message and return its answer, which comes among data."""
        self.send(**message)
        return self.next(lambda told: "id" in told)

    def next(self, wanted: Callable[[Any], bool]) -> Any:
        """Return the first message that is wanted."""
        while not wanted(told := self.recv()):
            pass
        return told

    def closed(self, count: int) -> list[Any]:
        """Return the klines of the next closing frames."""
        found: list[Any] = []
        while len(found) < count:
            kline = self.recv()["k"]
            if kline["x"]:
                found.append(kline)
        return found

    def collect(self, count: int) -> list[Any]:
        return [self.recv() for _ in range(count)]

    def pong(self) -> bool:
        """Wait for the answer to a ping; an error when nothing comes."""
        while self.socket.recv_data(control_frame=True)[0] != websocket.ABNF.OPCODE_PONG:
            pass
        return True

    def end(self) -> int | None:
        """Wait for the end of the connection and return its close code, None when there was none."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            opcode, data = self.socket.recv_data(control_frame=True)
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(data[:2]) if len(data) >= 2 else None
        raise AssertionError("the connection goes on")


@contextmanager
def listening(exchange: Replay, path: str = "/ws/btcusdt@kline_1m") -> Iterator[Client]:
    client = Client(f"{exchange.ws_url}{path}")
    try:
        yield client
    finally:
        client.socket.shutdown()  # type: ignore[no-untyped-call]
