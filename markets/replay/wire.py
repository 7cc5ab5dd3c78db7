"""The WebSocket below ASGI: frames made once for all clients, Binance's limits, and ways to fail that ASGI hides."""

import socket
import struct
import time
from collections import deque
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

MESSAGES_A_SECOND = 5
_BACKLOG_BYTES = 64 * 1024 * 1024  # a client that reads nothing is let go of before memory suffers


def text_frame(payload: bytes) -> bytes:
    """Return the bytes of one unmasked text frame: equal for every client, so made once."""
    return _frame(b"\x81", payload)


def binary_frame(payload: bytes) -> bytes:
    return _frame(b"\x82", payload)


def _frame(kind: bytes, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return kind + bytes([size]) + payload
    if size < 65_536:
        return kind + b"\x7e" + struct.pack("!H", size) + payload
    return kind + b"\x7f" + struct.pack("!Q", size) + payload


def _reset(transport: Any) -> None:
    """End a connection with a TCP reset."""
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class RequestWire(HttpToolsProtocol):
    """One client's HTTP connection. Applications find it as ``scope["extensions"]["wire"]``."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"wire": self}  # type: ignore[dict-item]

    def reset(self) -> None:
        _reset(self.transport)

    def hang_up(self) -> None:
        """End the connection after what was sent, in the middle of an answer or not."""
        self.transport.close()


class Wire(WebSocketsSansIOProtocol):
    """One client's socket. The endpoint finds it as ``websocket.scope["extensions"]["wire"]``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.messages_a_second = MESSAGES_A_SECOND
        self.is_frozen = False
        self._received: deque[float] = deque()

    @property
    def is_open(self) -> bool:
        return self.handshake_complete and not (self.close_sent or self.disconnected or self.transport.is_closing())

    def write(self, frames: bytes) -> None:
        """Send ready frames; what a frozen socket should send is lost."""
        if not self.is_open or self.is_frozen:
            return
        if self.transport.get_write_buffer_size() > _BACKLOG_BYTES:
            self.reset()
            return
        self.transport.write(frames)

    def freeze(self, part: bytes = b"") -> None:
        """From now on say nothing at all, not even pong; ``part`` is the half frame that is said last."""
        if part:
            self.write(part)
        self.is_frozen = True
        self.stop_keepalive()

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        _reset(self.transport)

    def hang_up(self) -> None:
        """End the connection without a close frame."""
        self.transport.close()

    def close_with(self, code: int, reason: str) -> None:
        """Send a close frame, and end the connection when the client answered it or two seconds passed."""
        if not self.is_open:
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(2.0, self.transport.close)

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            self.scope["extensions"]["wire"] = self  # type: ignore[assignment]

    def handle_text(self, event: Frame) -> None:
        if self._may_speak():
            super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        if self._may_speak():
            super().handle_bytes(event)

    def handle_ping(self) -> None:
        pong = b"".join(self.conn.data_to_send())
        if self._may_speak() and not self.is_frozen:
            self.transport.write(pong)

    def handle_pong(self, event: Frame) -> None:
        if self._may_speak():
            super().handle_pong(event)

    def _may_speak(self) -> bool:
        """Count a message of the client, whatever its kind; too many within a second end the connection."""
        now = time.monotonic()
        while self._received and self._received[0] <= now - 1.0:
            self._received.popleft()
        self._received.append(now)
        if len(self._received) <= self.messages_a_second:
            return True
        self.close_with(1008, "Too many requests")
        return False
